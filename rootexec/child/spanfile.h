// ROOT files that lie inside another file, or behind a descriptor alone.
#pragma once

#include <TFile.h>
#include <cstdint>
#include <memory>
#include <string>

namespace dtpnode {

/// Where the bytes of a file lie: length of them, from offset on, in what fd refers to.
struct Span {
  int fd = -1;
  uint64_t offset = 0, length = 0;
};

/// Copies a span to a place in another file, within the kernel where the file systems can. False, with errno set, if
/// the disk is full or the span ends early.
bool copySpan(const Span &from, int fd, uint64_t offset);

/// A TFile over a span, so that the files in a blob are read where they are, and merged ones are written where they
/// belong, without a copy of their own. ROOT reads an URL out of a TFile's name, so that the name of such a file is
/// made up, and no path with a # or ? can mislead it. The descriptor stays the caller's, and must outlive the file.
class SpanFile : public TFile {
 public:
  /// Reads a span.
  explicit SpanFile(const Span &span);
  /// Writes a new file from offset on, with ROOT's number for compression. used grows with the bytes that the file has.
  SpanFile(int fd, uint64_t offset, int compression, std::shared_ptr<uint64_t> used);
  ~SpanFile() override;

  Long64_t GetSize() const override;

 protected:
  Int_t SysOpen(const char *path, Int_t flags, UInt_t mode) override;
  Int_t SysClose(Int_t fd) override;
  Int_t SysRead(Int_t fd, void *buf, Int_t len) override;
  Int_t SysWrite(Int_t fd, const void *buf, Int_t len) override;
  Long64_t SysSeek(Int_t fd, Long64_t offset, Int_t whence) override;
  Int_t SysStat(Int_t fd, Long_t *id, Long64_t *size, Long_t *flags, Long_t *modtime) override;
  Int_t SysSync(Int_t fd) override;

 private:
  static std::string nextName();

  const Span span_;
  std::shared_ptr<uint64_t> used_; // bytes; null if the file is read
  Long64_t at_ = 0;
};

} // namespace dtpnode
