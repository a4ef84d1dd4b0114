// Input files and their trees, kept open from packet to packet.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

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

/// One open file with one tree of it.
/// The identifier that ROOT wrote into a file when it was made; empty where its format has none, and
/// TFile makes one up at each opening.
std::string uuidOf(const TFile &file);

struct Input {
  std::string url, path;
  std::unique_ptr<TFile> file;
  TTree *tree = nullptr;
  long long cacheFirst = -1; // first entry the TTreeCache was told of; -1 before the first packet
};

/// The open files of a generation, least recently used closed first. The branches that the selector
/// reads are learnt on the first file and prefetched at once on the next, as TChain does it.
class Inputs {
 public:
  explicit Inputs(RootGuard &guard) : guard_(guard) {}

  /// The input for url and path; opened tells whether the file was opened for it.
  Input &get(const std::string &url, const std::string &path, bool &opened);
  /// Closes the input that get() has just opened, and that nobody has looked at.
  void forgetOpened() { open_.pop_front(); }
  /// Tells the tree's cache that entries from first on will be read.
  void prepareCache(Input &in, long long first);
  /// Gives back the memory of all trees but the front one, whose selector has been told of it: they
  /// stay open, and read again what they had when one of them comes to the front.
  void shrinkOthers();
  /// Notes what branches in's selector read. To be called before leaving in for another.
  void learn(const Input &in);

 private:
  static constexpr size_t kOpenFiles = 3;

  RootGuard &guard_;
  std::list<Input> open_; // most recently used first
  std::vector<std::string> branches_;
};

} // namespace dtpnode
