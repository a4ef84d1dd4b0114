#include "Tally2.h"

#include "scale.h"

#include <TCollection.h>

Long64_t Tally2::Merge(TCollection *others) {
  TIter next(others);
  while (auto *other = dynamic_cast<Tally2 *>(next()))
    fSum += other->fSum;
  return fSum;
}

long long offset() { return 1; }
