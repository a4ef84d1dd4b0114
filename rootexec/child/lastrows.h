// What a selector finds of a friend that has no row for an entry.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

class TTree;

namespace dtpnode {

struct Input;

/// Where an index finds no row of a friend for an entry, ROOT reads none, and what SetBranchAddress() has set keeps the
/// values of the last row that was found. In one process that is a row of an entry before; a process that begins its
/// packet there has read another row last, or none. This reads the row that one process would have read last.
class LastRows {
 public:
  /// Reads it for the n-th entry of in that is to be run, at which a packet begins. Earlier files are not looked at: that
  /// a file begins with such entries is told.
  void read(Input &in, long long n);

 private:
  /// Entries in a row for which a friend is known to have no row.
  struct Gap {
    long long first = 0, last = 0;
  };

  std::string at_; // file and tree that the gaps are of
  std::map<const TTree *, Gap> gaps_;
  bool used_ = false;                                  // friends were read before
  std::set<std::pair<std::string, std::string>> told_; // at_ and friend, of warnings
};

} // namespace dtpnode
