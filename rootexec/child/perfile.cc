#include "perfile.h"

#include "tally.h"

#include <TCollection.h>
#include <TH1.h>
#include <TList.h>
#include <TObjArray.h>
#include <TParameter.h>
#include <cmath>
#include <functional>

namespace dtpnode {

namespace {

template <class T>
bool valueOf(const TObject &object, double &value) {
  auto *parameter = dynamic_cast<const TParameter<T> *>(&object);
  if (parameter) value = static_cast<double>(parameter->GetVal());
  return parameter;
}

// Not a number where nothing can be said of the object.
double countOf(const TObject &object) {
  double value = 0;
  if (valueOf<double>(object, value) || valueOf<float>(object, value) || valueOf<int>(object, value) ||
      valueOf<long>(object, value) || valueOf<Long64_t>(object, value))
    return value;
  return tallyOf(object);
}

void each(const TCollection &list, const std::function<void(TObject &)> &f) {
  for (TObject *o : list) {
    if (!o) continue;
    f(*o);
    if (o->InheritsFrom(TList::Class()) || o->InheritsFrom(TObjArray::Class())) each(static_cast<TCollection &>(*o), f);
  }
}

} // namespace

PerFile::PerFile(const TCollection &output) {
  each(output, [&](TObject &o) { before_[&o] = countOf(o); });
}

std::string PerFile::added(const TCollection &output) const {
  std::string name;
  each(output, [&](TObject &o) {
    const auto was = before_.find(&o);
    const bool fresh = was == before_.end();
    if (!name.empty() || (fresh && !o.InheritsFrom(TH1::Class()))) return;
    const double before = fresh ? 0 : was->second, now = countOf(o);
    if (!std::isnan(now) && !std::isnan(before) && now != before) name = o.GetName();
  });
  return name;
}

} // namespace dtpnode
