// An output list of so many MB, in histograms of 64 MB each; a sleep at each entry, which has a bin of its own in every
// histogram. Terminate prints whether each entry of [0, n) was counted once in each.
#include <TH1D.h>
#include <TList.h>
#include <TNamed.h>
#include <TSelector.h>
#include <TTree.h>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>
#include <vector>

class Large : public TSelector {
 public:
  Int_t Version() const override { return 2; }
  void SlaveBegin(TTree *) override {
    TH1::AddDirectory(false);
    us = number("us");
    for (long i = 0; i < number("mb") / 64; ++i) {
      auto *h = new TH1D(TString::Format("h%ld", i), "", bins, 0, bins);
      fOutput->Add(h);
      all.push_back(h);
    }
  }
  Bool_t Process(Long64_t entry) override {
    for (TH1D *h : all)
      h->AddBinContent(static_cast<int>(entry) + 1);
    if (us > 0) usleep(static_cast<useconds_t>(us));
    return kTRUE;
  }
  void Terminate() override {
    const long n = number("n");
    long wrong = 0, seen = 0;
    TIter next(fOutput);
    while (TObject *o = next()) {
      auto *h = dynamic_cast<TH1D *>(o);
      if (!h) continue;
      ++seen;
      for (int b = 1; b <= bins; ++b)
        wrong += h->GetBinContent(b) != (b <= n ? 1 : 0);
    }
    std::printf("%ld bins are wrong in %ld histograms\n", wrong, seen);
  }

 private:
  long number(const char *name) const {
    TObject *o = fInput->FindObject(name);
    return o ? std::atol(o->GetTitle()) : 0;
  }
  static constexpr int bins = 8 * 1024 * 1024;
  long us = 0;
  std::vector<TH1D *> all;
  ClassDefOverride(Large, 0);
};
