#include "Parts.h"

#include "Tally2.h"
#include "generated.h" // of the package
#include "scale.h"

#include <cstdlib>
#include <cstdio>

void ana::Parts::SlaveBegin(TTree *) {
  tally = new Tally2("tally");
  fOutput->Add(tally);
}

Bool_t ana::Parts::Process(Long64_t entry) {
  fReader.SetLocalEntry(entry);
  tally->Add(scaled(*id));
  return kTRUE;
}

void ana::Parts::Terminate() {
  auto *t = dynamic_cast<Tally2 *>(fOutput->FindObject("tally"));
  std::printf("sum %lld offset %lld package %d %s\n", t ? t->Sum() : -1, tally ? offset() : -1, GENERATED,
              std::getenv("PACKAGE_ARGS"));
}
