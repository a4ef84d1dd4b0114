// Reads its fInput: parameters, an object that --input gives, and a large one that Begin adds. Each entry weighs what these
// say together, so that the sum shows whether every process had them. With a parameter "at" it gives each file up at that
// entry.
#include <TH1D.h>
#include <TList.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TSelector.h>
#include <TTree.h>

#include <cstdio>

class Inputs : public TSelector {
 public:
   TH1D *fWeights = nullptr; // of the output
   double fWeight = 0;
   Long64_t fAt = -1;

   Int_t Version() const override { return 2; }

   void Begin(TTree *) override
   {
      auto *large = new TH1D("large", "", 300000, 0, 1); // more than a description holds, or each child reads by itself
      large->SetDirectory(nullptr);
      large->SetBinContent(299999, 1000);
      fInput->Add(large);
      printf("weight %g\n", weight());
   }

   void SlaveBegin(TTree *) override
   {
      fWeight = weight();
      if (TObject *at = fInput->FindObject("at")) {
         auto *number = dynamic_cast<TParameter<Long64_t> *>(at);
         fAt = number ? number->GetVal() : TString(at->GetTitle()).Atoll();
      }
      // What one process does to its objects is not seen by others.
      if (auto *large = dynamic_cast<TH1D *>(fInput->FindObject("large"))) large->SetBinContent(299999, 1e6);
      fOutput->Add(fWeights = new TH1D("weights", "", 1, 0, 1));
   }

   Bool_t Process(Long64_t entry) override
   {
      fWeights->Fill(0.5, fWeight);
      if (entry == fAt) Abort("enough of it", kAbortFile);
      return kTRUE;
   }

   void Terminate() override
   {
      auto *w = dynamic_cast<TH1D *>(fOutput->FindObject("weights"));
      if (w) printf("sum %.0f of %.0f\n", w->GetSumOfWeights(), w->GetEntries());
   }

   double weight() const
   {
      double out = 0;
      if (auto *p = dynamic_cast<TParameter<Int_t> *>(fInput->FindObject("one"))) out += p->GetVal();
      if (auto *p = dynamic_cast<TParameter<Double_t> *>(fInput->FindObject("ten"))) out += p->GetVal();
      if (auto *h = dynamic_cast<TH1 *>(fInput->FindObject("weights"))) out += h->GetEntries() == 400 ? 100 : 0;
      if (auto *h = dynamic_cast<TH1 *>(fInput->FindObject("large"))) out += h->GetBinContent(299999);
      return out;
   }

   ClassDefOverride(Inputs, 0);
};
