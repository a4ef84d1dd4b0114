// Habits counts its files in Notify, keeps a histogram in a folder, times itself with ROOT's benchmark, reads a weight
// from a file of the working folder and a factor from the environment, and writes to another file. With the option "directory" it has a directory in the output.
#include <TBenchmark.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TFolder.h>
#include <TH1F.h>
#include <TNamed.h>
#include <TSelector.h>
#include <TTree.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>

class Habits : public TSelector {
public:
   TH1F *fFiles = nullptr;    //!
   TH1F *fEntries = nullptr;  //!
   TH1F *fInside = nullptr;   //!
   double fWeight = 0, fFactor = 0;

   Int_t Version() const override { return 2; }
   void Begin(TTree *) override { gBenchmark->Start("habits"); }
   void SlaveBegin(TTree *) override
   {
      gBenchmark->Start("worker");
      fOutput->Add(fFiles = new TH1F("files", "", 1, 0, 1));
      auto *folder = new TFolder("folder", "");
      folder->AddFolder("inner", "")->Add(fEntries = new TH1F("entries", "", 1, 0, 1));
      fOutput->Add(folder);
      fOutput->Add(new TNamed("tag", "the same everywhere"));
      fFactor = atof(getenv("HABITS_FACTOR"));
      std::ifstream("weight.txt") >> fWeight;
      const char *name = "habits.root";
      TFile::Open(name, "RECREATE");
      fInside = new TH1F("inside", "", 1, 0, 1);
      fInside->SetDirectory(gDirectory);
      if (TString(GetOption()) == "directory")
         fOutput->Add(new TDirectory("plots", ""));
   }
   Bool_t Notify() override
   {
      fFiles->Fill(0.5);
      return kTRUE;
   }
   Bool_t Process(Long64_t) override
   {
      fEntries->Fill(0.5, fWeight * fFactor);
      fInside->Fill(0.5);
      return kTRUE;
   }
   void Terminate() override
   {
      auto *files = static_cast<TH1 *>(fOutput->FindObject("files"));
      auto *folder = static_cast<TFolder *>(fOutput->FindObject("folder"));
      auto *entries = static_cast<TH1 *>(folder->FindObject("inner/entries"));
      TFile *made = TFile::Open("habits.root");
      printf("%g inside\n", made->Get<TH1>("inside")->GetEntries());
      printf("%g files, %g entries, sum %g\n", files->GetEntries(), entries->GetEntries(),
             entries->GetBinContent(1));
      gBenchmark->Stop("habits");
   }
   ClassDefOverride(Habits, 0);
};
