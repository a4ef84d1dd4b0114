// Trees whose entries are read beside those of an input, by their number over all files of the job or by an index.
#pragma once

#include "selection.h"

#include <TChain.h>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

class TFile;

namespace dtpnode {

/// A chain of one file at a time, whose first entry has the number that it has over all files of the job: so friends,
/// which may be chains with other files, are read beside it as beside the chain of all files in one process. It goes
/// from file to file as a TChain does, with what a selector has set on it: a TTreeReader follows no second chain.
class PacketChain : public TChain {
 public:
  explicit PacketChain(const char *tree) : TChain(tree) {}

  /// Goes on to the tree in a file, whose first entry has the number start, and of which it has as many entries. It
  /// tells nobody of that. Friends that were added behind the first so many go before. False if the file cannot be
  /// opened. Throws a Failure if a friend cannot be, or is not what was planned.
  bool moveTo(const std::string &file, const std::string &tree, long long start, long long entries, int friends);
  /// The number of the tree's first entry.
  long long start() const { return start_; }

  /// Whether an expression can be evaluated in the file that it is at, without what one of its friends has: a friend is
  /// looked up by the values that the other trees have.
  bool evaluates(const std::string &expression, TTree &besides);

  /// Says which entry of its tree user code has; -1 where no user code runs.
  void at(long long entry) { at_ = entry; }

  /// User code may take this chain for the tree of one file, as PROOF's workers were given: it then asks for the entry
  /// that it was called with, or for one near that. So of the two entries that a number may mean, in the tree and over
  /// all files, that counts which is nearer to the one that the code has. What is before the first entry otherwise is
  /// in files that this chain does not have: code that looks for any entry, as ROOT's own does, is given the first.
  Long64_t LoadTree(Long64_t entry) override {
    if (at_ >= 0 && entry >= 0 && entry < entries_ && std::llabs(entry - at_) < std::llabs(entry - at_ - start_))
      return TChain::LoadTree(start_ + entry);
    return TChain::LoadTree(entry >= 0 && entry < start_ ? start_ : entry);
  }

 private:
  long long start_ = 0, entries_ = 0, at_ = -1;
};

/// The friends of one input, open.
class Friends {
 public:
  /// Opens the friends that the selection names. Throws a Failure as openInput does, and "differs" if a friend is not
  /// what was planned.
  Friends(const Selection &selection, RootGuard &guard);
  ~Friends();

  /// Adds them to the chain of an input.
  void addTo(TChain &chain) const;
  int size() const { return static_cast<int>(open_.size()); }
  /// Throws a Failure of the job if the chain, at a file, lacks what a friend is to be looked up by.
  void checkKeys(PacketChain &chain, RootGuard &guard) const;
  /// Reads the last entry of each friend that ends before number, an entry over all files of the job: beside all that
  /// follows, the variables of such a friend keep what they had there, as in one process.
  void readEnds(TChain &chain, long long number) const;

 private:
  struct Open {
    const Friend *what;
    std::unique_ptr<TFile> file; // of a friend in one file
    std::unique_ptr<TChain> chain; // of several
    TTree *tree;
  };
  std::vector<Open> open_;
};

/// Sees that the friends which a tree has stored are found, though ROOT wrote relative names and this process works in
/// a folder of its own: they are looked up in home, the user's folder, and then beside the file of the tree. Throws
/// Failure "open" if one is nowhere.
void findStoredFriends(TTree &tree, const std::string &url, const std::string &home);

/// Whether all friends of a tree behind the first so many, if there are any, have as many entries as a file's tree.
bool friendsOfItsOwn(const TTree &tree, int first, long long entries);

/// Whether there is one of these friends that has no index, and so is read by the numbers of entries.
bool readByNumber(const TTree &tree, int first);

/// How many friends a tree has.
int countFriends(const TTree &tree);

} // namespace dtpnode
