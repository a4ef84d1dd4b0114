// Sets of entries, as exec.Runs in Go has them: pairs of varints, how many entries are left out and how many follow.
#pragma once

#include <cstdint>
#include <vector>

class TEntryList;

namespace dtpnode {

/// Encodes entries, which it sorts; one that is named twice is in the set once.
std::vector<uint8_t> encodeRuns(std::vector<long long> entries);

/// The chosen entries of one tree, by their number among the chosen ones and back.
class Chosen {
 public:
  /// Throws Failure "internal" if the bytes are no set.
  explicit Chosen(const std::vector<uint8_t> &runs);

  long long size() const { return size_; }
  /// The tree's entry that is the n-th chosen one.
  long long entry(long long n) const;
  /// How many chosen entries are before an entry of the tree: the number of the first at it or behind it.
  long long before(long long entry) const;
  /// Adds all entries to a list for the tree's cache, which then reads no cluster without chosen entries.
  void fill(TEntryList &list) const;

 private:
  struct Run {
    long long first, last, number; // entries [first, last), of which the first is the number-th chosen one
  };
  std::vector<Run> runs_;
  long long size_ = 0;
};

} // namespace dtpnode
