#include "entrylist.h"

#include <TCollection.h>
#include <TEntryList.h>
#include <TEntryListBlock.h>
#include <TList.h>
#include <TObjArray.h>

namespace dtpnode {

namespace {

// The count has no setter.
struct Access : TEntryList {
  static auto count() { return &Access::fN; }
  static auto blocks() { return &Access::fBlocks; }
};

Long64_t recount(TEntryList &list) {
  Long64_t n = 0;
  if (TList *parts = list.GetLists()) {
    for (TObject *part : *parts)
      n += recount(*static_cast<TEntryList *>(part));
  } else if (TObjArray *blocks = list.*Access::blocks()) {
    for (TObject *block : *blocks)
      if (block) n += static_cast<TEntryListBlock *>(block)->GetNPassed();
  }
  return list.*Access::count() = n;
}

} // namespace

void recountEntryLists(const TCollection &list) {
  for (TObject *o : list) {
    if (auto *entries = dynamic_cast<TEntryList *>(o))
      recount(*entries);
    else if (auto *inner = dynamic_cast<TCollection *>(o))
      recountEntryLists(*inner);
  }
}

} // namespace dtpnode
