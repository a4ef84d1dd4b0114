// Many ROOT files become one, and trees that are too large for memory: through ROOT's TFileMerger and TTree::Merge, in
// the places where they lie, and by copying whole baskets where both sides are compressed in one way.
#pragma once

#include "spanfile.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

class TDirectory;
class TFile;
class TTree;

namespace dtpnode {

class RootGuard;

/// What is in a file.
struct FileContent {
  std::map<std::string, long long> trees; // entries by path
  std::set<std::string> keys;             // paths of all objects
  std::set<std::string> unmergeable;      // paths of those, with their classes, that stand side by side after a merge
};
FileContent contentOf(TDirectory &dir);

/// Merges files into one, written to a descriptor from offset on. used is set to its length. What cannot be merged in
/// the files is added to unmergeable. Returns an empty text, or why it cannot be done without a loss: then what was
/// written is of no use, and the files are to be kept apart. Throws Failure "disk" if there is no room.
std::string joinFiles(const std::vector<Span> &from, int fd, uint64_t offset, uint64_t &used,
                      std::set<std::string> &unmergeable, RootGuard &guard);

/// A tree out of one record: in a file, or in memory.
class LargeTree {
 public:
  /// Finds the tree with a name in a file. Throws Failure "internal" if there is none.
  LargeTree(const Span &span, const std::string &name);
  explicit LargeTree(std::unique_ptr<TTree> tree);
  ~LargeTree();
  LargeTree(LargeTree &&) noexcept;

  TTree &tree() const { return *tree_; }

 private:
  std::unique_ptr<TFile> file_; // owns the tree
  TTree *tree_ = nullptr;
};

/// Merges trees into one that lies in a file, which is open for writing, and writes its header. Returns the tree, which
/// is the file's, or null if ROOT cannot merge them: then the tree in the file is of no use. Throws Failure "disk".
TTree *joinTrees(std::vector<LargeTree> &from, TFile &to, RootGuard &guard);

} // namespace dtpnode
