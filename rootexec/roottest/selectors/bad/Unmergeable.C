// Unmergeable has an output object whose class has no Merge, beside one that merges. It takes its time, so
// that several nodes get to work on few entries.

#include <TH1F.h>
#include <TMacro.h>
#include <TSelector.h>
#include <TSystem.h>

class Unmergeable : public TSelector {
public:
   TH1F *fHist = nullptr;   //!
   TMacro *fNote = nullptr; //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override
   {
      fOutput->Add(fHist = new TH1F("entries", "entries", 10, 0, 10000));
      fOutput->Add(fNote = new TMacro("note", "no Merge here"));
   }
   Bool_t Process(Long64_t entry) override
   {
      fHist->Fill(entry);
      if (entry % 20 == 0)
         gSystem->Sleep(1);
      return kTRUE;
   }
   ClassDefOverride(Unmergeable, 0);
};
