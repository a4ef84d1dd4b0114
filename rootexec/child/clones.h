// What a chain does for code that it calls Init for once, and that is called here for each file.
#pragma once

#include <set>
#include <vector>

class TCollection;
class TObject;
class TTree;

namespace dtpnode {

/// Has the trees that were cloned from one input tree be clones of another, as those that are cloned from a chain are
/// of each of its trees in turn. Until updateClones() their branches have no addresses of an input tree.
void moveClones(TTree &from, TTree &to);

/// Gives the clones of a tree the addresses of its branches. It is called when the tree has its own.
void updateClones(TTree &tree);

/// Knows which objects Init adds to the output list. ROOT calls Init once for a chain, and so there is one object of
/// each; here it is called for each file. The list of ROOT deletes what it has when another of the same name is added,
/// with all that it has counted: what Init adds each time under one name is one object in parts instead.
class InitObjects {
 public:
  /// Takes what Init has added before out of the list, and after() puts back what it has not added again.
  void before(TCollection &output);
  void after(TCollection &output);
  /// What others in the list have replaced, and is to be merged with them.
  const std::vector<TObject *> &parts() const { return parts_; }

 private:
  std::set<TObject *> known_;            // those that were in the list before Init
  std::vector<TObject *> added_, parts_; // by Init: those in the list, and those that others have replaced
};

} // namespace dtpnode
