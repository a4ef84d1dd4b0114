// MissingAddress sets the address of a branch that no tree here has, beside one that is there.

#include <TBranch.h>
#include <TH1F.h>
#include <TSelector.h>
#include <TTree.h>

class MissingAddress : public TSelector {
public:
   Float_t met = 0;
   Float_t missing = -1;
   TBranch *b_met = nullptr;     //!
   TBranch *b_missing = nullptr; //!
   TH1F *fHist = nullptr;        //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override { fOutput->Add(fHist = new TH1F("met", "met", 10, 0, 100)); }
   void Init(TTree *tree) override
   {
      if (!tree)
         return;
      tree->SetBranchAddress("MET_pt", &met, &b_met);
      tree->SetBranchAddress("MET_typo", &missing, &b_missing);
   }
   Bool_t Process(Long64_t entry) override
   {
      b_met->GetEntry(entry);
      b_missing->GetEntry(entry);
      fHist->Fill(met + missing);
      return kTRUE;
   }
   ClassDefOverride(MissingAddress, 0);
};
