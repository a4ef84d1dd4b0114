// Begun does in Begin what selectors of old do there: it books its histogram, which the workers have to fill, since
// its version is 0, and it opens the file into which Terminate writes.
#include <TFile.h>
#include <TH1.h>
#include <TSelector.h>
#include <TTree.h>

class Begun : public TSelector {
 public:
  TTree *fChain = nullptr;
  TFile *fFile = nullptr;
  TH1D *fEntries = nullptr;

  Begun(TTree * = nullptr) {}
  void Begin(TTree *) override {
    fFile = new TFile("begun.root", "RECREATE");
    fEntries = new TH1D("entries", "", 10, 0, 10);
    fEntries->SetDirectory(nullptr);
    fOutput->Add(fEntries);
  }
  void Init(TTree *tree) override { fChain = tree; }
  Bool_t ProcessCut(Long64_t entry) override { return entry % 2 == 0; }
  void ProcessFill(Long64_t entry) override { fEntries->Fill(entry % 10); }
  void Terminate() override {
    fEntries = static_cast<TH1D *>(fOutput->FindObject("entries"));
    fEntries->Write();
    fFile->Close();
  }
  ClassDefOverride(Begun, 0);
};
