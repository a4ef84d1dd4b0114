// Args fills what SETUP() of the package args has found, and puts lists of entries into the output.
#include <TEntryList.h>
#include <TEnv.h>
#include <TEventList.h>
#include <TH1.h>
#include <TList.h>
#include <TSelector.h>

class Args : public TSelector {
public:
   TH1D *fSeen = nullptr;
   TEntryList *fEntries = nullptr;
   TEventList *fEvents = nullptr;

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override
   {
      fOutput->Add(fSeen = new TH1D("seen", "", 10, 0, 10));
      fOutput->Add(fEntries = new TEntryList("list", "", "ev", "some.root"));
      fOutput->Add(fEvents = new TEventList("events"));
   }
   Bool_t Process(Long64_t entry) override
   {
      fSeen->Fill(gEnv->GetValue("Test.Seen", 0));
      fEntries->Enter(entry);
      fEvents->Enter(entry);
      return kTRUE;
   }

   ClassDefOverride(Args, 0);
};
