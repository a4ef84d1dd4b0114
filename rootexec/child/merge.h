// Many output lists become one, name by name, through ROOT's own Merge(TCollection*).
#pragma once

#include "blob.h"
#include "combine.h"
#include "namesakes.h"
#include "skips.h"
#include "status.h"
#include "filemerge.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

class TFile;
class TObject;
class TTree;

namespace dtpnode {

class RootGuard;
class Wanted;

/// What a job's signed description announces of the axes of histograms.
struct Hints {
  bool known = false; // the description is known; otherwise what most lists say counts
  std::string text;   // as of Announced
  bool strict = false; // as of LimitsFinder::announce()

  /// Takes them from a request: "hints" and "strict".
  static Hints of(const nlohmann::json &request);
};

/// The output lists of several generations.
class Merger {
 public:
  /// wanted says which names are merged, and up to which size; all if it is null.
  Merger(const std::vector<std::string> &paths, RootGuard &guard, const Hints &hints, const Wanted *wanted = nullptr);

  struct FileGroup {
    std::string name, cls;
    bool apart = false;
    uint32_t ordinal = 0;
    std::vector<Record> records;
  };
  struct Group {
    std::string name;
    std::vector<std::unique_ptr<TObject>> objects; // one, or several that stay apart
    bool apart = false;
    uint32_t ordinal = 0;
    /// What is merged as files, or as trees in files, by writeFiles() or by what follows it. Of objects and such
    /// records there is one or the other.
    FileGroup files;
  };
  /// Merges the next name; false at the end. Objects come in the order of their first appearance.
  bool next(Group &out);

  /// Writes what comes of a group's files to a blob.
  void writeFiles(const FileGroup &group, BlobWriter &out);
  /// Files of a group that become one each; one that has a single file stays as it is.
  static std::vector<std::vector<Record>> packs(const FileGroup &group);
  /// Merges a pack into one file at a place, of which used becomes the length. False if they are to be kept apart,
  /// because of why.
  bool writePack(const FileGroup &group, const std::vector<Record> &pack, int fd, uint64_t offset, uint64_t &used,
                 std::string &why);
  /// Merges a group's trees into one in a file, which is returned; null if they are to be kept apart.
  TTree *writeTree(const std::vector<Record> &records, TFile &to);
  /// ROOT's number for how the first file of some records is compressed.
  int compressionOf(const std::vector<Record> &records) const;
  Span span(const Record &r) const { return blobs_[r.blob].span(r); }
  static bool hasTrees(const FileGroup &group) { return group.cls != kFileClass && group.cls != kPartClass; }
  void noteApart(const std::string &name);

  /// Known once next() has come to the end.
  long long units() const { return units_; }
  unsigned long long canary() const { return canary_; }
  const std::vector<std::string> &apart() const { return combiner_.apart(); }
  /// Names under which objects of several classes are: they do not merge, and stand side by side.
  std::vector<std::string> mixed() const;
  const std::map<std::string, std::string> &members() const { return members_; }
  /// The fStatus of a selector that had done all, of which Begin left before.
  long long statusFrom(long long before) const { return status_.from(before); }
  /// Names that are wanted and were left out, since they are too large.
  const std::set<std::string> &left() const { return left_; }
  /// What Abort(kAbortFile) left out.
  const Skips &skipped() const { return skipped_; }
  /// Other files that generations have left in their folders, by name: how many left one.
  const std::map<std::string, long long> &leftFiles() const { return leftFiles_; }
  /// Files that the job has brought along and that generations have changed, counted likewise.
  const std::map<std::string, long long> &changedFiles() const { return changedFiles_; }
  /// What output lists have refused.
  const Refused &refused() const { return refused_; }
  /// A method of the selector that its version keeps from being called; empty if there is none.
  const std::string &uncalled() const { return uncalled_; }

 private:
  static bool mergedAsFiles(const std::vector<Record> &records);
  LargeTree openTree(const Record &r) const;
  static void noteTimes(TObject &list, std::map<std::string, long long> &files);
  std::vector<std::unique_ptr<TObject>> readAll(const std::vector<Record> &records) const;
  bool mergeRecords(const std::vector<Record> &records, std::vector<std::unique_ptr<TObject>> &out);
  bool mergeOnce(const std::vector<Record> &records, std::vector<std::unique_ptr<TObject>> &out);
  std::unique_ptr<TObject> mostSay(const std::vector<Record> &records) const;
  std::unique_ptr<TObject> readOne(const Record &r) const;
  void noteUneven();
  void announceLimits(const Hints &hints);
  void note(const Group &g);

  RootGuard &guard_;
  Combiner combiner_;
  std::vector<BlobReader> blobs_;
  std::vector<std::vector<Record>> groups_;
  size_t at_ = 0;
  long long units_ = 0;
  unsigned long long canary_ = 0;
  std::set<std::string> left_;
  std::map<std::string, std::string> members_;
  Status status_;
  Skips skipped_;
  std::map<std::string, long long> leftFiles_, changedFiles_;
  Refused refused_;
  std::string uncalled_;
};

/// Merges many lists in batches until so few are left that one Merger can open them all: it holds
/// one descriptor and an index for each, and a job may have committed more lists than a process may
/// open. What it writes meanwhile is beside a path, removed as soon as it is merged further.
class MergeTree {
 public:
  /// Reduces paths. Throws what a Merger and a BlobWriter throw.
  MergeTree(std::vector<std::string> paths, const std::string &beside, RootGuard &guard, const Hints &hints);
  ~MergeTree();
  MergeTree(const MergeTree &) = delete;
  MergeTree &operator=(const MergeTree &) = delete;

  /// What is left to merge, in the order of the inputs.
  const std::vector<std::string> &paths() const { return paths_; }
  /// What last, a Merger of paths(), has left apart, together with what the batches before it have left apart.
  std::vector<std::string> apart(const Merger &last) const;

 private:
  std::string batch(const std::vector<std::string> &inputs);
  void drop(const std::string &path);

  const std::string beside_;
  RootGuard &guard_;
  const Hints hints_;
  std::vector<std::string> paths_, made_, apart_;
  int serial_ = 0;
};

/// Merges the lists that a request names, however many, into one at a path. Returns the answer "sealed".
nlohmann::json mergeTo(const nlohmann::json &request, RootGuard &guard);

/// How many lists a process may have open at once beside what it has open now, under its limit of
/// descriptors: 2 to 64.
size_t openAtOnce();

/// True for the objects that dtpnode adds itself.
bool isOurs(const std::string &name);

} // namespace dtpnode
