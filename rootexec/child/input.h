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

/// The identifier that ROOT wrote into a file when it was made. It is empty if the file's format has none, since TFile
/// then makes one up each time the file is opened.
std::string uuidOf(const TFile &file);

/// One open file with one tree of it.
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
  /// Closes the input that get() has just opened, because its content turned out not to be what was planned.
  void forgetOpened() { open_.pop_front(); }
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
  std::list<Input> open_; // most recently used first
  std::vector<std::string> branches_;
};

} // namespace dtpnode
