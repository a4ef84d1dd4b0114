// Weighs each entry by what its Begin adds to fInput, at a given pace: "us" is in microseconds an entry. Where a process
// lacks that, entries weigh one.

#include <TH1D.h>
#include <TList.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>

#include <cstdio>

class Begun : public TSelector {
public:
   TH1D *fSum = nullptr;
   double fWeight = 1;
   UInt_t fPause = 0;

   Int_t Version() const override { return 2; }
   void Begin(TTree *) override
   {
      auto *w = new TH1D("weight", "", 1, 0, 1);
      w->SetDirectory(nullptr);
      w->SetBinContent(1, 7);
      fInput->Add(w);
   }
   void SlaveBegin(TTree *) override
   {
      fOutput->Add(fSum = new TH1D("sum", "", 1, 0, 1));
      if (auto *w = dynamic_cast<TH1 *>(fInput->FindObject("weight"))) fWeight = w->GetBinContent(1);
      if (TObject *us = fInput->FindObject("us")) fPause = TString(us->GetTitle()).Atoi();
   }
   Bool_t Process(Long64_t entry) override
   {
      if (entry % 100 == 0) gSystem->Sleep(fPause / 10); // milliseconds for 100 entries
      fSum->Fill(0.5, fWeight);
      return kTRUE;
   }
   void Terminate() override
   {
      auto *sum = dynamic_cast<TH1 *>(fOutput->FindObject("sum"));
      if (sum) printf("sum %.0f of %.0f\n", sum->GetSumOfWeights(), sum->GetEntries());
   }

   ClassDefOverride(Begun, 0);
};
