#include "clones.h"

#include <TCollection.h>
#include <TList.h>
#include <TTree.h>

namespace dtpnode {

namespace {

// ROOT lets only chains enter clones of a tree.
struct CloneAccess : TTree {
  static auto add() { return &CloneAccess::AddClone; }
};

std::vector<TTree *> clonesOf(TTree &tree) {
  std::vector<TTree *> out;
  if (TList *clones = tree.GetListOfClones())
    for (TObject *o : *clones)
      out.push_back(static_cast<TTree *>(o));
  return out;
}

} // namespace

void moveClones(TTree &from, TTree &to) {
  for (TTree *clone : clonesOf(from)) {
    from.CopyAddresses(clone, true); // takes back those that the clone has of this tree
    from.GetListOfClones()->Remove(clone);
    (to.*CloneAccess::add())(clone);
  }
}

void updateClones(TTree &tree) {
  for (TTree *clone : clonesOf(tree))
    tree.CopyAddresses(clone);
}

void InitObjects::before(TCollection &output) {
  for (TObject *o : added_)
    output.Remove(o);
  known_.clear();
  for (TObject *o : output)
    known_.insert(o);
}

void InitObjects::after(TCollection &output) {
  std::vector<TObject *> now;
  for (TObject *o : output)
    if (known_.count(o) == 0) now.push_back(o);
  for (TObject *o : added_) {
    if (output.FindObject(o)) continue; // Init has added the same object again
    if (output.FindObject(o->GetName())) {
      parts_.push_back(o);
    } else {
      output.Add(o);
      now.push_back(o);
    }
  }
  added_ = std::move(now);
}

} // namespace dtpnode
