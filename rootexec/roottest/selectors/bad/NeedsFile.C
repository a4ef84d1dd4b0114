// NeedsFile crashes in Terminate as long as the file that its option names is absent.

#include <TH1F.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>

#include <csignal>
#include <cstdio>

class NeedsFile : public TSelector {
public:
   TH1F *fHist = nullptr; //!
   ULong64_t fSeed = 1;   //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override { fOutput->Add(fHist = new TH1F("entries", "entries", 100000, 0, 100000)); }
   Bool_t Process(Long64_t entry) override
   {
      // Contents that do not compress.
      fSeed = fSeed * 6364136223846793005ULL + entry + 1;
      fHist->Fill((fSeed >> 33) % 100000, (fSeed >> 20 & 0xffffff) * 1e-3);
      return kTRUE;
   }
   void Terminate() override
   {
      if (gSystem->AccessPathName(GetOption())) { // true if it is absent
         std::puts("the calibration is missing");
         std::raise(SIGSEGV);
      }
      std::puts("calibrated");
   }
   ClassDefOverride(NeedsFile, 0);
};
