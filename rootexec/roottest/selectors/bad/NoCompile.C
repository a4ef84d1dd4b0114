// NoCompile is a selector with a mistake that the compiler finds.

#include <TSelector.h>

class NoCompile : public TSelector {
public:
   Int_t Version() const override { return 2; }
   Bool_t Process(Long64_t entry) override { return undeclared_name > entry; }
   ClassDefOverride(NoCompile, 0);
};
