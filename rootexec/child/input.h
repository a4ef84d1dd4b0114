// Input files and their trees, kept open from packet to packet.
#pragma once

#include "friends.h"

#include <list>
#include <memory>
#include <string>
#include <vector>

class TEntryList;
class TFile;
class TTree;

namespace dtpnode {

class RootGuard;

/// Opens url for reading. Throws Failure "open" if it is missing, unreadable, no ROOT file, or was
/// not closed properly: what ROOT would recover of such a file is not all of it.
std::unique_ptr<TFile> openInput(const std::string &url, RootGuard &guard);

/// The tree at path in file; with an empty path, the only tree there is. Throws Failure "schema"
/// that names the trees that are there. path is set to the path found.
TTree *findTree(TFile &file, std::string &path, RootGuard &guard);

/// The identifier that ROOT wrote into a file when it was made. It is empty if the file's format has none, since TFile
/// then makes one up each time the file is opened.
std::string uuidOf(const TFile &file);

/// One open file with one tree of it.
struct Input {
  Input();
  Input(Input &&) noexcept;
  ~Input();

  /// What the selector is to see: the tree, or the chain through which it is read.
  TTree *shown() const;
  /// The file that the tree is read from.
  TFile &reads() const;
  /// Makes an entry of the tree the current one, and that which belongs to it of each friend. Negative if it cannot.
  long long load(long long entry);
  /// How many entries are to be run.
  long long entries() const;
  /// The entry of the tree that is the n-th to be run.
  long long entryOf(long long n) const { return chosen ? chosen->entry(n) : n; }

  std::string url, path;
  long long start = 0; // number of the tree's first entry over all files of the job
  std::shared_ptr<const Chosen> chosen; // the entries that are to be run, null for all
  std::unique_ptr<TEntryList> list;     // they, for the tree's cache
  std::unique_ptr<TFile> file;
  PacketChain *chain = nullptr; // through which the tree is read; null unless there are friends that need it
  TTree *own = nullptr;         // of file
  TTree *tree = nullptr;        // that is read: own, or the chain's, which lives as long as the chain is at this input
  long long cacheFirst = -1; // first entry the TTreeCache was told of; -1 before the first packet
};

/// The open files of a generation, least recently used closed first. The branches that the selector
/// reads are learnt on the first file and prefetched at once on the next, as TChain does it.
class Inputs {
 public:
  explicit Inputs(RootGuard &guard) : guard_(guard) {}

  /// Says what is read of the inputs and beside them, and the folder in which relative names of friends are looked up.
  void setSelection(const std::string &path, const std::string &home);
  /// The input for url and path, whose first entry has the number start; opened tells whether the file was opened for
  /// it.
  Input &get(const std::string &url, const std::string &path, long long start, bool &opened);
  /// Makes the input in front the one that the chain of all inputs is at, if there is such a chain. Throws a Failure if
  /// a friend, or the input, cannot be opened.
  void show();
  /// Has the input in front, and all that follow, read through a chain, since its selector gives it friends: these go
  /// by the numbers of entries over all files, or by those of each file alone.
  void chainFront(bool alone);
  bool alone() const { return alone_; }
  /// The friends that the user has named; null if there are none.
  const Friends *friends() const { return friends_.get(); }
  /// Closes the input that get() has just opened, because its content turned out not to be what was planned.
  void forgetOpened() {
    if (at_ == &open_.front()) at_ = nullptr;
    open_.pop_front();
  }
  /// Tells the tree's cache that entries from first on will be read.
  void prepareCache(Input &in, long long first);
  /// Frees the buffers of all trees except the front one, which the selector now reads. The other trees stay open, and
  /// read their buffers again when one of them comes to the front.
  void shrinkOthers();
  /// Notes which branches the selector has read of in. It is called before another input is used in place of in.
  void learn(const Input &in);

 private:
  static constexpr size_t kOpenFiles = 3;

  RootGuard &guard_;
  Selection selection_;
  std::string home_;
  bool chained_ = false, alone_ = false;
  std::unique_ptr<Friends> friends_;
  std::unique_ptr<PacketChain> chain_;
  const Input *at_ = nullptr; // the input that the chain is at; null before the first, and after a failure
  std::list<Input> open_; // most recently used first
  std::vector<std::string> branches_;
};

} // namespace dtpnode
