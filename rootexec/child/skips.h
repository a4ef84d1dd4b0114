// What a selector leaves out of files by Abort(kAbortFile).
//
// In a partial it is a TList of TParameter<Long64_t> named kSkipped, which merges like any list of the user's,
// parameter by parameter of one name. Each name has lines, of which the first says what the value is, and the next three are the
// unit of the file's entry 0, the file and the path of the tree:
//
//   entries   how many were left out, added up
//   first     the first of them, local to the tree: the smallest
//   end       where what was to be run of the file ends: the largest
//   abort     0; three lines follow: the entry that called Abort(), or -1, the step, and the reason
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

class TList;
class TObject;

namespace dtpnode {

/// One place of a file in a job: a job may have a file twice, or two trees of it.
struct SkipKey {
  long long base; // unit of the file's entry 0
  std::string file, tree;
  bool operator<(const SkipKey &o) const { return std::tie(base, file, tree) < std::tie(o.base, o.file, o.tree); }
};

class Skips {
 public:
  /// Notes that the entries of a file from first to last are left out, since entry at, or -1 outside of entries, has
  /// called Abort() in a step, for a reason. end is where what is wanted of the file ends.
  void note(const SkipKey &key, long long first, long long last, long long end, long long at, const std::string &step,
            const std::string &reason);
  /// Adds those of a list of a partial.
  void add(const TObject &list);
  bool empty() const { return of_.empty(); }
  /// Whether a list that counts so many units can have left that out: each entry that is left out is one of them, and
  /// so is the one before it that aborted.
  bool within(long long units) const;
  /// The list for a partial, which owns its elements.
  void list(TList &out) const;
  /// Says all of it in numbers, and by file for the first files: skipped, skippedfiles, skippedentries.
  void tell(nlohmann::json &reply) const;

 private:
  struct Skip {
    long long entries = 0, first = 0, end = 0, at = -1;
    std::string step, reason;
  };
  std::map<SkipKey, Skip> of_;
};

} // namespace dtpnode
