// Histograms whose axes find their limits, get labels, or are given; what a member that lies makes of them before it
// hands them in is the option of its generations.
#include <TArrayD.h>
#include <TH1D.h>
#include <THashList.h>
#include <TList.h>
#include <TObjString.h>
#include <TSelector.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>
#include <cmath>
#include <cstdio>

class Forged : public TSelector {
 public:
   TTreeReader fReader;                               //!
   TTreeReaderValue<ULong64_t> fEvent{fReader, "event"};  //!
   TH1D *fAuto = nullptr, *fFixed = nullptr, *fNames = nullptr;

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override
   {
      fAuto = new TH1D("found", "", 100, 0, 0);
      fFixed = new TH1D("fixed", "", 100, 0, 100);
      fNames = new TH1D("names", "", 4, 0, 4);
      fNames->SetCanExtend(TH1::kAllAxes);
      for (TH1D *h : {fAuto, fFixed, fNames})
         fOutput->Add(h);
   }
   void Init(TTree *tree) override { fReader.SetTree(tree); }
   Bool_t Process(Long64_t entry) override
   {
      fReader.SetLocalEntry(entry);
      if (TString(GetOption()) == "abort") Abort("of the rest", kAbortFile);
      fAuto->Fill(*fEvent % 977);
      fFixed->Fill(*fEvent % 100);
      fNames->Fill(Form("name%d", static_cast<int>(*fEvent % 7)), 1);
      SetStatus(GetStatus() + 1);
      return kTRUE;
   }
   void SlaveTerminate() override
   {
      const TString lie = GetOption();
      if (lie == "same") fAuto->GetXaxis()->SetLimits(0, 2000); // as all may do
      if (lie == "odd") fAuto->GetXaxis()->SetLimits(0, 2000);
      if (lie == "odd bins") fAuto->SetBins(7, 0, 2000);
      if (lie == "huge") {
         for (TH1D *h : {fAuto, fFixed})
            h->GetXaxis()->SetLimits(-1e308, 1e308);
      }
      if (lie == "wide") fFixed->GetXaxis()->SetLimits(0, 1e200);
      if (lie == "nan") {
         for (TH1D *h : {fAuto, fFixed})
            h->GetXaxis()->SetLimits(std::nan(""), std::nan(""));
      }
      if (lie == "many bins") fFixed->SetBins(18000000, 0, 100);
      if (lie == "no cells") static_cast<TArrayD &>(*fFixed).Set(3);
      if (lie == "other cells") fFixed->GetXaxis()->Set(1000000000, 0, 100);
      if (lie == "many labels") {
         fNames->SetBins(200000, 0, 200000);
         fNames->GetXaxis()->SetBinLabel(1, "first");
         for (int i = 2; i <= 200000; ++i) {
            auto *label = new TObjString(Form("label%d", i));
            label->SetUniqueID(i);
            fNames->GetXaxis()->GetLabels()->Add(label);
         }
      }
      if (lie == "long names") {
         fAuto->SetTitle(TString('x', 20000000));
         fNames->GetXaxis()->SetBinLabel(1, TString('y', 20000000));
      }
      if (lie == "members") std::swap(fAuto, fFixed);
      if (lie == "status") SetStatus(9000000000000000000);
   }
   void Terminate() override
   {
      std::printf("status %lld, %s\n", static_cast<long long>(GetStatus()), fFixed ? fFixed->GetName() : "unbound");
   }
   ClassDefOverride(Forged, 0)
};
