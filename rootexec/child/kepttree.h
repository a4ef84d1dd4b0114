// Trees of a merged output that stay in the file where they were merged, while user code may treat them as trees in
// memory, which is what they were in one process and on PROOF's client. The same text is in rootexec/child and in
// rootexec/proof/src, whose sources are compiled apart; a test holds them together.
#pragma once

#include <TBuffer.h>
#include <TDirectory.h>
#include <TError.h>
#include <TFile.h>
#include <TKey.h>
#include <TNtuple.h>
#include <TNtupleD.h>
#include <TTree.h>

#include <memory>
#include <string>

namespace dtpnode {

/// A tree that stays where it is, in its file or in memory, whatever directory user code puts it in. ROOT would move
/// what is in memory to the new file, and of a tree in a file it writes the header alone to another one; this tree is
/// copied there whole, a basket at a time.
class KeptTree {
 public:
  virtual ~KeptTree() = default;
  /// As TTree::SetDirectory; the tree is no longer kept.
  virtual void moveTo(TDirectory *dir) = 0;
};

/// To ROOT, an object of the class Tree.
template <class Tree>
class KeptTreeOf : public Tree, public KeptTree {
 public:
  // Another file gets a copy, which it owns, and which it writes and deletes as it would the tree.
  void SetDirectory(TDirectory *dir) override {
    const TFile *there = dir ? dir->GetFile() : nullptr;
    if (moved_ || there == home())
      Tree::SetDirectory(dir);
    else if (there && dir->IsWritable() && !holds(*dir))
      given_ = copyTo(*dir);
  }

  // All ways to write an object into a file lead through here. A tree in memory takes its baskets along.
  void Streamer(TBuffer &b) override {
    auto *file = b.IsWriting() ? dynamic_cast<TFile *>(b.GetParent()) : nullptr;
    if (!file || !home() || file == home()) return Tree::Streamer(b);
    if (holds(*file)) return given_->Streamer(b);
    const std::unique_ptr<TTree> copy(copyTo(*file));
    if (copy) copy->Streamer(b);
  }

  void moveTo(TDirectory *dir) override {
    moved_ = true;
    Tree::SetDirectory(dir);
  }

 private:
  // The file that has the baskets; null if they are in memory.
  const TFile *home() const { return this->GetDirectory() ? this->GetDirectory()->GetFile() : nullptr; }

  // By its address: a copy that is gone has no hash to look for.
  bool holds(const TDirectory &dir) const {
    for (const TObject *o : *dir.GetList())
      if (given_ && o == given_) return true;
    return false;
  }

  TTree *copyTo(TDirectory &dir) {
    TDirectory::TContext keepDirectory(&dir);
    std::unique_ptr<TTree> copy(this->CloneTree(-1, this->GetCurrentFile() ? "fast" : ""));
    if (copy && copy->GetEntries() == this->GetEntries()) return copy.release();
    copy.reset(this->CloneTree(-1));
    if (copy && copy->GetEntries() == this->GetEntries()) return copy.release();
    ::Error("TTree::Write", "the tree %s could not be copied whole to %s", this->GetName(), dir.GetFile()->GetName());
    return nullptr;
  }

  bool moved_ = false;
  TTree *given_ = nullptr; // the copy of the last directory that it was put in; gone if the directory does not have it
};

/// An empty tree of a class of ROOT's own, or null for another class.
inline std::unique_ptr<TTree> newKeptTree(const std::string &type) {
  if (type == "TTree") return std::make_unique<KeptTreeOf<TTree>>();
  if (type == "TNtuple") return std::make_unique<KeptTreeOf<TNtuple>>();
  if (type == "TNtupleD") return std::make_unique<KeptTreeOf<TNtupleD>>();
  return nullptr;
}

/// Reads the tree of a key of an open file, as one that is kept there if its class is ROOT's own. Returns null if it
/// cannot be read.
inline TTree *readKeptTree(TKey &key) {
  std::unique_ptr<TTree> tree = newKeptTree(key.GetClassName());
  if (!tree) return dynamic_cast<TTree *>(key.ReadObj());
  return key.Read(tree.get()) > 0 ? tree.release() : nullptr;
}

} // namespace dtpnode
