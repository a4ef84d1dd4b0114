// MissingReader asks a TTreeReader for a branch that no tree here has.

#include <TH1F.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>

class MissingReader : public TSelector {
public:
   TTreeReader fReader;                                       //!
   TTreeReaderArray<Float_t> fPt = {fReader, "Tau_pt_typo"};  //!
   TH1F *fHist = nullptr;                                     //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override { fOutput->Add(fHist = new TH1F("pt", "pt", 10, 0, 100)); }
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override
   {
      fReader.SetLocalEntry(entry);
      for (Float_t pt : fPt)
         fHist->Fill(pt);
      return kTRUE;
   }
   ClassDefOverride(MissingReader, 0);
};
