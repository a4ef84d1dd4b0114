// Many output lists become one, name by name, through ROOT's own Merge(TCollection*).
#pragma once

#include "blob.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

class TObject;

namespace dtpnode {

class Guard;

/// The output lists of several generations.
class Merger {
 public:
  Merger(const std::vector<std::string> &paths, Guard &guard);

  struct Group {
    std::string name;
    std::vector<std::unique_ptr<TObject>> objects; // one, or several that stay apart
    bool apart = false;
    uint32_t ordinal = 0;
  };
  /// Merges the next name; false at the end. Objects come in the order of their first appearance.
  bool next(Group &out);

  /// Known once next() has come to the end.
  long long units() const { return units_; }
  unsigned long long canary() const { return canary_; }
  const std::vector<std::string> &apart() const { return apart_; }
  const std::map<std::string, std::string> &members() const { return members_; }

 private:
  std::vector<std::unique_ptr<TObject>> readAll(const std::vector<Record> &records) const;
  bool mergeRecords(const std::vector<Record> &records, std::vector<std::unique_ptr<TObject>> &out);
  bool mergeInto(TObject &into, std::vector<std::unique_ptr<TObject>> &others,
                 const std::string &path);
  bool mergeElements(TObject &into, std::vector<std::unique_ptr<TObject>> &others,
                     const std::string &path);
  void note(const Group &g);

  Guard &guard_;
  std::vector<BlobReader> blobs_;
  std::vector<std::vector<Record>> groups_;
  size_t at_ = 0;
  long long units_ = 0;
  unsigned long long canary_ = 0;
  std::vector<std::string> apart_;
  std::map<std::string, std::string> members_;
};

/// True for the objects that dtpnode adds itself.
bool isOurs(const std::string &name);

} // namespace dtpnode
