#include "spanfile.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <unistd.h>
#include <vector>

namespace dtpnode {

namespace {

constexpr size_t kCopyAtOnce = 1 << 20;

// What copy_file_range cannot do, as between some file systems.
bool copyByHand(Span from, int fd, uint64_t offset) {
  std::vector<char> buffer(std::min<uint64_t>(from.length, kCopyAtOnce));
  while (from.length > 0) {
    const ssize_t got = ::pread(from.fd, buffer.data(), std::min<uint64_t>(from.length, buffer.size()),
                                static_cast<off_t>(from.offset));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = EIO;
    if (got <= 0) return false;
    for (ssize_t at = 0; at < got;) {
      const ssize_t put = ::pwrite(fd, buffer.data() + at, static_cast<size_t>(got - at), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return false;
      at += put;
      offset += static_cast<uint64_t>(put);
    }
    from.offset += static_cast<uint64_t>(got);
    from.length -= static_cast<uint64_t>(got);
  }
  return true;
}

} // namespace

bool copySpan(const Span &span, int fd, uint64_t offset) {
  Span from = span;
  while (from.length > 0) {
    auto in = static_cast<off_t>(from.offset), out = static_cast<off_t>(offset);
    const ssize_t n =
        ::copy_file_range(from.fd, &in, fd, &out, std::min<uint64_t>(from.length, uint64_t{1} << 30), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) return false;
    if (n <= 0) return copyByHand(from, fd, offset);
    from.offset += static_cast<uint64_t>(n);
    from.length -= static_cast<uint64_t>(n);
    offset += static_cast<uint64_t>(n);
  }
  return true;
}

// Merges of ROOT know their files by their names, which therefore all differ.
std::string SpanFile::nextName() {
  static unsigned long serial = 0;
  return "part-" + std::to_string(++serial) + ".root";
}

// "WEB" leaves opening to the derived class, as for ROOT's own files in memory.
SpanFile::SpanFile(const Span &span) : TFile(nextName().c_str(), "WEB"), span_(span) {
  fOption = "READ";
  fWritable = false;
  fD = span_.fd;
  Init(false);
}

SpanFile::SpanFile(int fd, uint64_t offset, int compression, std::shared_ptr<uint64_t> used)
    : TFile(nextName().c_str(), "WEB", "", compression), span_{fd, offset, 0}, used_(std::move(used)) {
  fOption = "CREATE";
  fWritable = true;
  fD = span_.fd;
  *used_ = 0;
  Init(true);
}

// TFile's own destructor would call its own SysClose, which closes the caller's descriptor.
SpanFile::~SpanFile() {
  Close();
}

Long64_t SpanFile::GetSize() const {
  return static_cast<Long64_t>(used_ ? *used_ : span_.length);
}

Int_t SpanFile::SysOpen(const char *, Int_t, UInt_t) {
  return span_.fd;
}

Int_t SpanFile::SysClose(Int_t) {
  return 0;
}

Int_t SpanFile::SysRead(Int_t, void *buf, Int_t len) {
  const Long64_t left = GetSize() - at_;
  if (left <= 0) return 0;
  const ssize_t n = ::pread(span_.fd, buf, static_cast<size_t>(std::min<Long64_t>(len, left)),
                            static_cast<off_t>(span_.offset) + at_);
  if (n > 0) at_ += n;
  return static_cast<Int_t>(n);
}

Int_t SpanFile::SysWrite(Int_t, const void *buf, Int_t len) {
  if (!used_) {
    errno = EBADF;
    return -1;
  }
  const ssize_t n = ::pwrite(span_.fd, buf, static_cast<size_t>(len), static_cast<off_t>(span_.offset) + at_);
  if (n > 0) {
    at_ += n;
    *used_ = std::max(*used_, static_cast<uint64_t>(at_));
  }
  return static_cast<Int_t>(n);
}

Long64_t SpanFile::SysSeek(Int_t, Long64_t offset, Int_t whence) {
  if (whence == SEEK_CUR) offset += at_;
  if (whence == SEEK_END) offset += GetSize();
  if (offset < 0) {
    errno = EINVAL;
    return -1;
  }
  return at_ = offset;
}

Int_t SpanFile::SysStat(Int_t, Long_t *id, Long64_t *size, Long_t *flags, Long_t *modtime) {
  if (id) *id = 0;
  if (size) *size = GetSize();
  if (flags) *flags = 0;
  if (modtime) *modtime = 0;
  return 0;
}

Int_t SpanFile::SysSync(Int_t) {
  return 0; // whoever owns the descriptor knows when its bytes must be on disk
}

} // namespace dtpnode
