#include "status.h"

#include <TList.h>
#include <TParameter.h>
#include <algorithm>

namespace dtpnode {

void Status::end(long long now) {
  added = now - begun;
  least = std::min(now, 0LL);
}

void Status::write(TList &to) const {
  to.SetOwner();
  to.Add(new TParameter<Long64_t>("begun", begun, 'M'));
  to.Add(new TParameter<Long64_t>("added", added, '+'));
  to.Add(new TParameter<Long64_t>("least", least, 'm'));
}

void Status::read(const TObject &object) {
  auto *list = dynamic_cast<const TList *>(&object);
  if (!list) return;
  for (auto [name, to] : {std::make_pair("begun", &begun), {"added", &added}, {"least", &least}})
    if (auto *number = dynamic_cast<TParameter<Long64_t> *>(list->FindObject(name))) *to = number->GetVal();
}

void Status::bound(TObject &object) {
  constexpr Long64_t most = Long64_t{1} << 56;
  auto *list = dynamic_cast<TList *>(&object);
  if (!list) return;
  for (TObject *o : *list)
    if (auto *number = dynamic_cast<TParameter<Long64_t> *>(o))
      number->SetVal(std::clamp(number->GetVal(), -most, most));
}

long long Status::from(long long before) const {
  if (least < 0) return least;
  return (begun != 0 ? begun : before) + added;
}

} // namespace dtpnode
