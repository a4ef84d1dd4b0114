#include "drawn.h"

#include "selector.h"

#include <TH1.h>
#include <TList.h>
#include <TSelector.h>

namespace dtpnode {

namespace {

// There is no getter.
struct ObjectAccess : TSelector {
  static auto object() { return &ObjectAccess::fObject; }
};

bool holds(const TCollection &list, const TObject *object) {
  TIter next(&list);
  while (TObject *o = next())
    if (o == object) return true;
  return false;
}

} // namespace

TObject *addDrawn(TSelector &selector, const SelectorClass &cls) {
  TObject *object = selector.*ObjectAccess::object();
  TList *output = selector.GetOutputList();
  if (!object || !output || !cls.pointsAt(selector, object) || holds(*output, object)) return nullptr;
  if (!object->InheritsFrom(TH1::Class())) return nullptr;
  output->Add(object);
  return object;
}

} // namespace dtpnode
