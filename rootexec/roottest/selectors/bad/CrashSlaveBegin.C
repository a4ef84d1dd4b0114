// CrashSlaveBegin crashes before the first entry.

#include <TSelector.h>
#include <TTree.h>

#include <csignal>

class CrashSlaveBegin : public TSelector {
public:
   Int_t Version() const override { return 2; }
   void SlaveBegin(TTree *) override { std::raise(SIGSEGV); }
   Bool_t Process(Long64_t) override { return kTRUE; }
   ClassDefOverride(CrashSlaveBegin, 0);
};
