// Lists of objects as files: partials, merges, and the input list.
//
//   offset  size
//   0       8     "DTPBLOB1"
//   8       4     ROOT version code (big-endian, as all that follows)
//   12      4     0
//   then, to the end of the file, records:
//   0       4     flags: 1 = the object is kept apart, could not be merged
//   4       4     ordinal among the list's objects of the same name and class
//   8       4     n, length of the name
//   12      4     c, length of the class name
//   16      8     b, length of the object
//   24      n,c,b name, class name, object as TBufferFile::WriteObjectAny leaves it
//
// Each object is a record of its own so that a merge holds one name at a time in memory, and so that big lists can be
// reduced in parts. Nothing is compressed, since most blobs are merged into others within seconds.
#pragma once

#include "channel.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

class TCollection;
class TObject;

namespace dtpnode {

/// Objects that dtpnode adds to every partial. They never reach the user.
constexpr const char *kUnits = "dtpnode.units";
constexpr const char *kCanary = "dtpnode.canary";
constexpr const char *kMembers = "dtpnode.members";
/// What Abort(kAbortFile) left out, a TList that skips.h describes.
constexpr const char *kSkipped = "dtpnode.skipped";
/// The selector's fStatus (Status); there is none where it stayed 0.
constexpr const char *kStatus = "dtpnode.status";

/// Where an object lies in a blob.
struct Record {
  std::string name, cls;
  uint32_t ordinal = 0;
  bool apart = false;
  size_t blob = 0; // which of the blobs that are merged
  uint64_t offset = 0, length = 0;
};

/// Writes a blob. Nothing is at the path before finish(). Throws Failure "disk".
class BlobWriter {
 public:
  explicit BlobWriter(std::string path);
  ~BlobWriter();
  BlobWriter(const BlobWriter &) = delete;
  BlobWriter &operator=(const BlobWriter &) = delete;

  void add(const TObject &object, const std::string &name, uint32_t ordinal, bool apart);
  /// Adds an object unless it takes more than so many bytes, and reports whether it did.
  bool addWithin(const TObject &object, const std::string &name, uint32_t ordinal, uint64_t most, bool apart = false);
  void finish();

 private:
  void write(const char *p, size_t n);
  void flush();

  std::string path_, temp_;
  Fd fd_;
  std::vector<char> buffer_;
};

/// Adds every object of list, numbering those of the same name and class.
void addAll(BlobWriter &out, const TCollection &list);

/// Reads a blob, one object at a time. Throws Failure "internal" for what is no blob of ours.
class BlobReader {
 public:
  explicit BlobReader(const std::string &path);

  const std::vector<Record> &records() const { return records_; }
  std::unique_ptr<TObject> read(const Record &r) const;

 private:
  void readAt(void *p, size_t n, uint64_t at) const;

  std::string path_;
  Fd fd_;
  uint64_t size_ = 0;
  std::vector<Record> records_;
};

} // namespace dtpnode
