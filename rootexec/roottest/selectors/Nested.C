// Nested keeps histograms in a list of its own and leaves them in the current directory, as one may: a
// worker that opens and closes files must not have a file's directory current in SlaveBegin, or ROOT
// deletes them with it. Its list holds a list in turn.

#include <TH1F.h>
#include <TList.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>

class Nested : public TSelector {
public:
   TTreeReader fReader;                                       //!
   TTreeReaderArray<Float_t> fPt = {fReader, "Muon_pt"};      //!
   TTreeReaderArray<Float_t> fEta = {fReader, "Muon_eta"};    //!
   TH1F *fCount = nullptr;                                    //!
   TProfile *fMean = nullptr;                                 //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override
   {
      auto *outer = new TList, *inner = new TList;
      outer->SetName("outer");
      inner->SetName("inner");
      outer->Add(fCount = new TH1F("count", "muons", 10, 0, 10));
      inner->Add(fMean = new TProfile("mean", "mean pt against eta", 24, -2.4, 2.4));
      outer->Add(inner);
      fOutput->Add(outer);
   }
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override
   {
      fReader.SetLocalEntry(entry);
      fCount->Fill(fPt.GetSize());
      for (std::size_t i = 0; i < fPt.GetSize(); ++i)
         fMean->Fill(fEta[i], fPt[i]);
      return kTRUE;
   }
   ClassDefOverride(Nested, 0);
};
