#include "place.h"

#include <TList.h>
#include <TParameter.h>

namespace dtpnode {

namespace {

void setParameter(TList &input, const char *name, long long value) {
  if (auto *p = dynamic_cast<TParameter<Long64_t> *>(input.FindObject(name))) p->SetVal(value);
}

} // namespace

void tellPlace(TList &input, long long first, long long entries) {
  setParameter(input, kFirstEntry, first);
  setParameter(input, kAllEntries, entries);
}

} // namespace dtpnode
