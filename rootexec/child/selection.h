// Which entries of the inputs are run, and what is read beside them: exec.Selection in Go.
#pragma once

#include "runs.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

class TChain;
class TTree;

namespace dtpnode {

class RootGuard;

/// An input whose entries are read beside those of a job.
struct Friend {
  std::string alias, tree;
  std::vector<std::string> key; // expressions by which its entries are found; empty: by number
  struct File {
    std::string url, tree;
    long long entries;
    std::string uuid; // of the file where it was planned; empty if it is not to be compared
  };
  std::vector<File> files;

  long long entries() const;
};

/// The selection of a job. An empty one is all entries of its files, and nothing beside them.
class Selection {
 public:
  Selection() = default;
  /// Reads the file at path. Throws Failure "disk" if it cannot be read.
  explicit Selection(const std::string &path);

  /// Whether some entries alone are run: then each input has a list, which may be empty.
  bool chooses() const { return !lists_.empty(); }
  /// The chosen entries of an input, which are none if no list names it.
  std::shared_ptr<const Chosen> of(const std::string &url, const std::string &tree) const;
  const std::vector<Friend> &friends() const { return friends_; }
  /// Gives a tree the names of expressions that the user wants it to have.
  void setAliases(TTree &tree) const;

 private:
  std::map<std::pair<std::string, std::string>, std::vector<uint8_t>> lists_;
  std::vector<Friend> friends_;
  std::vector<std::pair<std::string, std::string>> aliases_;
};

} // namespace dtpnode
