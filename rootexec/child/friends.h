// Trees whose entries are read beside those of an input, by their number over all files of the job or by an index.
#pragma once

#include "selection.h"

#include <TChain.h>
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
  /// tells nobody of that. False if the file cannot be opened.
  bool moveTo(const std::string &file, const std::string &tree, long long start, long long entries);

  /// What is before the first entry is in files that this chain does not have: user code that looks for any entry, as
  /// ROOT's own does, is given the first.
  Long64_t LoadTree(Long64_t entry) override {
    return TChain::LoadTree(entry >= 0 && entry < start_ ? start_ : entry);
  }

 private:
  long long start_ = 0;
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

/// How many friends a tree has.
int countFriends(const TTree &tree);

} // namespace dtpnode
