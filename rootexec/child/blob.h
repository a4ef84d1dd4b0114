// Lists of objects as files: partials, merges, and the input list.
//
//   offset  size
//   0       8     "DTPBLOB1"
//   8       4     ROOT version code (big-endian, as all that follows)
//   12      4     0
//   then, to the end of the file, records:
//   0       4     flags: 1 = the object is kept apart, could not be merged; 2 = a file
//   4       4     ordinal among the list's objects of the same name and class
//   8       4     n, length of the name
//   12      4     c, length of the class name
//   16      8     b, length of the object, or of the file
//   24      n,c,b name, class name, object as TBufferFile::WriteObjectAny leaves it
//
// Each object is a record of its own so that a merge holds one name at a time in memory, and so that big lists can be
// reduced in parts. Nothing is compressed, since most blobs are merged into others within seconds.
//
// A record with flag 2 has the bytes of a whole ROOT file in place of an object, as many as there may be, and nobody
// holds them in memory. Its class says what the file is:
//
//   TFile            an output file of the user's, whose path in the working folder is the record's name
//   TFileCollection  the same, a part of a data set: such files stay side by side
//   a tree's class   an object of the output list that was too large for memory: a tree of the record's name
#pragma once

#include "channel.h"
#include "spanfile.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

/// What the output list has refused since it had the name (namesakes.h): a TList of TParameter<Long64_t>.
constexpr const char *kRefused = "dtpnode.refused";
/// A method that the selector has, and that is not called since its version is 0: the title of a TNamed.
constexpr const char *kUncalled = "dtpnode.uncalled";
/// What was announced of the axes of histograms (limits.h): the title of a TNamed.
constexpr const char *kLimits = "dtpnode.limits";

/// What a list may hold, whoever has written it: a process that merges has an index of all of it, and each file becomes
/// one of the user's. rootexec/counted.go has the same numbers.
constexpr size_t kMostRecords = size_t{1} << 20;
constexpr size_t kMostFileRecords = 50000;               // records that are files
constexpr uint64_t kMostNameBytes = uint64_t{64} << 20; // of all names and names of classes

/// Classes of records that are files.
constexpr const char *kFileClass = "TFile";
constexpr const char *kPartClass = "TFileCollection";
/// Files that the job has brought along and that generations have changed, as kLeft.
constexpr const char *kChanged = "dtpnode.changed";
/// What generations have left in their working folders beside that, by name: how many left such a file. "" counts those
/// that are not named.
constexpr const char *kLeft = "dtpnode.left";

/// Where an object, or a file, lies in a blob.
struct Record {
  std::string name, cls;
  uint32_t ordinal = 0;
  bool apart = false, file = false;
  size_t blob = 0; // which of the blobs that are merged
  uint64_t offset = 0, length = 0;
};

/// Writes a blob. Nothing is at the path before finish(). Throws Failure "disk", and "code" for more than a list may
/// hold.
class BlobWriter {
 public:
  explicit BlobWriter(std::string path);
  ~BlobWriter();
  BlobWriter(const BlobWriter &) = delete;
  BlobWriter &operator=(const BlobWriter &) = delete;

  void add(const TObject &object, const std::string &name, uint32_t ordinal, bool apart);
  /// Adds an object unless it takes more than so many bytes, and reports whether it did.
  bool addWithin(const TObject &object, const std::string &name, uint32_t ordinal, uint64_t most, bool apart = false);
  /// Begins a record with a file, which the caller writes to the descriptor from offset on. Nothing else is added
  /// before endFile(), which is told the file's length, or dropFile(), which takes the record back.
  Span beginFile(const std::string &name, const std::string &cls, uint32_t ordinal, bool apart);
  void endFile(uint64_t length);
  void dropFile();
  /// Adds a file that lies elsewhere.
  void addFile(const Span &from, const std::string &name, const std::string &cls, uint32_t ordinal, bool apart);
  void finish();

 private:
  void writeHead(uint32_t flags, uint32_t ordinal, const std::string &name, const std::string &cls, uint64_t length);
  void count(size_t names, bool file);
  void write(const char *p, size_t n);
  void flush();

  std::string path_, temp_;
  Fd fd_;
  std::vector<char> buffer_;
  uint64_t written_ = 0; // bytes in the file, without the buffer
  uint64_t record_ = 0, file_ = 0; // where the record that beginFile() began lies, and the file in it
  size_t records_ = 0, files_ = 0;
  uint64_t nameBytes_ = 0;
};

/// Reads a blob, one object at a time. Throws Failure "internal" for what is no blob of ours.
class BlobReader {
 public:
  explicit BlobReader(const std::string &path);

  const std::vector<Record> &records() const { return records_; }
  /// Sees that the files in it are ROOT's, by their first bytes: others would be written to the user's folder as well.
  void checkFiles() const;
  /// Reads an object; r is no file.
  std::unique_ptr<TObject> read(const Record &r) const;
  const std::string &path() const { return path_; }
  /// How many units the list counts, by its own word.
  long long units() const;
  /// Where the bytes of a record lie, for as long as this reader lives.
  Span span(const Record &r) const { return {fd_.get(), r.offset, r.length}; }

 private:
  void readAt(void *p, size_t n, uint64_t at) const;

  std::string path_;
  Fd fd_;
  uint64_t size_ = 0;
  std::vector<Record> records_;
};

} // namespace dtpnode
