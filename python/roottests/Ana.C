// The selector of the tests of sessions in Python: what goes wrong in it, and where, is up to its option.
#include <TCanvas.h>
#include <TGraph.h>
#include <TH1D.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

#include <fstream>
#include <memory>
#include <stdexcept>

class Ana : public TSelector {
  TTreeReader reader;                               //!
  TTreeReaderValue<ULong64_t> event{reader, "event"}; //!
  TTreeReaderValue<Float_t> met{reader, "MET_pt"};    //!
  std::unique_ptr<TTreeReaderValue<Double_t>> w;      //! of a friend
  TH1D *h = nullptr;           //!
  TProfile *p = nullptr;       //!
  TGraph *g = nullptr;         //!
  TParameter<Long64_t> *n = nullptr; //!

 public:
  Int_t Version() const override { return 2; }
  void Begin(TTree *) override { // what it puts here is on the nodes
    if (TString(GetOption()) == "begin") fInput->Add(new TNamed("by_begin", "42"));
  }
  void SlaveBegin(TTree *) override {
    fOutput->Add(h = new TH1D("h", ";MET", 50, 0, 100));
    h->Sumw2();
    fOutput->Add(p = new TProfile("p", "", 7, 0, 7));
    g = new TGraph; // has a Merge, and no Add
    g->SetName("g");
    fOutput->Add(g);
    fOutput->Add(n = new TParameter<Long64_t>("n", 0, '+'));
    const TObject *of = fInput ? fInput->FindObject("by_begin") : nullptr;
    fOutput->Add(new TNamed("seen", of ? of->GetTitle() : "nothing"));
  }
  void Init(TTree *t) override {
    if (TString(GetOption()) == "friend" && !w) w = std::make_unique<TTreeReaderValue<Double_t>>(reader, "w");
    reader.SetTree(t);
  }
  Bool_t Process(Long64_t entry) override {
    const TString option(GetOption());
    reader.SetLocalEntry(entry);
    if (option == "throw" && *event == 4000) throw std::runtime_error("no event for me");
    if (option.BeginsWith("wait")) { // says that it runs, and does so for ever
      std::ofstream(option(5, option.Length()).Data()) << "here";
      for (;;)
        gSystem->Sleep(100);
    }
    const double weight = w ? **w : 1;
    h->Fill(*met, weight);
    p->Fill(weight, *met);
    if (*event % 1000 == 0) g->SetPoint(g->GetN(), static_cast<double>(*event), *met);
    n->SetVal(n->GetVal() + 1);
    return kTRUE;
  }
  void Terminate() override {
    if (TString(GetOption()) != "draw") return;
    auto *c = new TCanvas("canvas_of_ana", "", 200, 200);
    fOutput->FindObject("h")->Draw();
    c->Update();
  }
  ClassDefOverride(Ana, 0);
};
