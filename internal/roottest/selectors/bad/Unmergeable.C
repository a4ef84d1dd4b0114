// Unmergeable has an output object whose class has no Merge, beside one that merges.

#include <TH1F.h>
#include <TNamed.h>
#include <TSelector.h>

class Unmergeable : public TSelector {
public:
   TH1F *fHist = nullptr;   //!
   TNamed *fNote = nullptr; //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override
   {
      fOutput->Add(fHist = new TH1F("entries", "entries", 10, 0, 10000));
      fOutput->Add(fNote = new TNamed("note", "no Merge here"));
   }
   Bool_t Process(Long64_t entry) override
   {
      fHist->Fill(entry);
      return kTRUE;
   }
   ClassDefOverride(Unmergeable, 0);
};
