// CrashTerminate crashes when all entries are done and merged.

#include <TH1F.h>
#include <TSelector.h>
#include <TTree.h>

#include <csignal>
#include <cstdio>

class CrashTerminate : public TSelector {
public:
   TH1F *fHist = nullptr; //!

   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override { fOutput->Add(fHist = new TH1F("entries", "entries", 10, 0, 10000)); }
   Bool_t Process(Long64_t entry) override
   {
      fHist->Fill(entry);
      return kTRUE;
   }
   void Terminate() override
   {
      std::puts("last words of Terminate");
      std::raise(SIGSEGV);
   }
   ClassDefOverride(CrashTerminate, 0);
};
