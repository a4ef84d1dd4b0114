#include "blob.h"

#include "guard.h"

#include <RVersion.h>
#include <TBufferFile.h>
#include <TClass.h>
#include <TParameter.h>
#include <TROOT.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dtpnode {

namespace {

constexpr char kMagic[] = "DTPBLOB1";
constexpr size_t kHead = 16, kRecordHead = 24, kLengthAt = 16, kFlushAt = 1 << 20, kMaxName = 1 << 16;
constexpr uint32_t kApart = 1, kFile = 2;
constexpr uint64_t kMaxObject = INT32_MAX; // ROOT's buffers count in Int_t

void put32(char *p, uint32_t v) {
  for (int i = 0; i < 4; ++i)
    p[i] = static_cast<char>(v >> (24 - 8 * i));
}

uint32_t get32(const char *p) {
  uint32_t v = 0;
  for (int i = 0; i < 4; ++i)
    v = v << 8 | static_cast<unsigned char>(p[i]);
  return v;
}

void put64(char *p, uint64_t v) {
  put32(p, static_cast<uint32_t>(v >> 32));
  put32(p + 4, static_cast<uint32_t>(v));
}

uint64_t get64(const char *p) {
  return uint64_t{get32(p)} << 32 | get32(p + 4);
}

Failure diskFailure(const std::string &path) {
  return Failure("disk", "could not write " + path + ": " + std::strerror(errno));
}

} // namespace

BlobWriter::BlobWriter(std::string path)
    : path_(std::move(path)), temp_(path_ + ".tmp" + std::to_string(::getpid())),
      fd_(::open(temp_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
  if (fd_.get() < 0) throw diskFailure(temp_);
  char head[kHead] = {};
  std::memcpy(head, kMagic, 8);
  put32(head + 8, static_cast<uint32_t>(gROOT->GetVersionCode()));
  write(head, sizeof head);
}

BlobWriter::~BlobWriter() {
  if (fd_.get() >= 0) ::unlink(temp_.c_str());
}

void BlobWriter::add(const TObject &object, const std::string &name, uint32_t ordinal, bool apart) {
  addWithin(object, name, ordinal, UINT64_MAX, apart);
}

bool BlobWriter::addWithin(const TObject &object, const std::string &name, uint32_t ordinal, uint64_t most,
                           bool apart) {
  TBufferFile buffer(TBuffer::kWrite, 64 << 10);
  if (buffer.WriteObjectAny(&object, object.IsA()) != 1)
    throw Failure("code", "could not write object " + name + " of class " + object.ClassName() +
                              ": it has no dictionary");
  if (static_cast<uint64_t>(buffer.Length()) > most) return false;
  writeHead(apart ? kApart : 0, ordinal, name, object.ClassName(), static_cast<uint64_t>(buffer.Length()));
  write(buffer.Buffer(), static_cast<size_t>(buffer.Length()));
  return true;
}

void BlobWriter::writeHead(uint32_t flags, uint32_t ordinal, const std::string &name, const std::string &cls,
                           uint64_t length) {
  count(name.size() + cls.size(), flags & kFile);
  char head[kRecordHead];
  put32(head, flags);
  put32(head + 4, ordinal);
  put32(head + 8, static_cast<uint32_t>(name.size()));
  put32(head + 12, static_cast<uint32_t>(cls.size()));
  put64(head + kLengthAt, length);
  write(head, sizeof head);
  write(name.data(), name.size());
  write(cls.data(), cls.size());
}

void BlobWriter::count(size_t names, bool file) {
  ++records_;
  files_ += file ? 1 : 0;
  nameBytes_ += names;
  if (files_ > kMostFileRecords)
    throw Failure("code", "an output has more than " + std::to_string(kMostFileRecords) + " files");
  if (records_ > kMostRecords || nameBytes_ > kMostNameBytes)
    throw Failure("code", "an output list has more than " + std::to_string(kMostRecords) + " objects, or more than " +
                              std::to_string(kMostNameBytes >> 20) + " MiB of names");
}

Span BlobWriter::beginFile(const std::string &name, const std::string &cls, uint32_t ordinal, bool apart) {
  flush();
  record_ = written_;
  writeHead(kFile | (apart ? kApart : 0), ordinal, name, cls, 0);
  flush();
  file_ = written_;
  return {fd_.get(), file_, 0};
}

void BlobWriter::endFile(uint64_t length) {
  char bytes[8];
  put64(bytes, length);
  written_ = file_ + length;
  if (::pwrite(fd_.get(), bytes, sizeof bytes, static_cast<off_t>(record_ + kLengthAt)) != sizeof bytes ||
      ::ftruncate(fd_.get(), static_cast<off_t>(written_)) != 0 ||
      ::lseek(fd_.get(), static_cast<off_t>(written_), SEEK_SET) < 0)
    throw diskFailure(temp_);
}

void BlobWriter::dropFile() {
  --records_;
  --files_;
  written_ = record_;
  if (::ftruncate(fd_.get(), static_cast<off_t>(written_)) != 0 ||
      ::lseek(fd_.get(), static_cast<off_t>(written_), SEEK_SET) < 0)
    throw diskFailure(temp_);
}

void BlobWriter::addFile(const Span &from, const std::string &name, const std::string &cls, uint32_t ordinal,
                         bool apart) {
  const Span to = beginFile(name, cls, ordinal, apart);
  if (!copySpan(from, to.fd, to.offset)) throw diskFailure(temp_);
  endFile(from.length);
}

void BlobWriter::write(const char *p, size_t n) {
  buffer_.insert(buffer_.end(), p, p + n);
  if (buffer_.size() >= kFlushAt) flush();
}

void BlobWriter::flush() {
  for (size_t at = 0; at < buffer_.size();) {
    ssize_t put = ::write(fd_.get(), buffer_.data() + at, buffer_.size() - at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw diskFailure(temp_);
    at += static_cast<size_t>(put);
  }
  written_ += buffer_.size();
  buffer_.clear();
}

void BlobWriter::finish() {
  flush();
  if (::rename(temp_.c_str(), path_.c_str()) != 0) throw diskFailure(path_);
  fd_.reset();
}

BlobReader::BlobReader(const std::string &path)
    : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat st{};
  if (fd_.get() < 0 || ::fstat(fd_.get(), &st) != 0)
    throw Failure("internal", "could not read " + path + ": " + std::strerror(errno));
  size_ = static_cast<uint64_t>(st.st_size);
  char head[kHead];
  readAt(head, sizeof head, 0);
  if (std::memcmp(head, kMagic, 8) != 0)
    throw Failure("internal", path + " is no output of a generation");
  if (get32(head + 8) != static_cast<uint32_t>(gROOT->GetVersionCode()))
    throw Failure("internal", path + " was written by another version of ROOT");
  size_t files = 0;
  uint64_t names = 0;
  for (uint64_t at = kHead; at < size_;) {
    char rec[kRecordHead];
    readAt(rec, sizeof rec, at);
    at += sizeof rec;
    const uint32_t nameLen = get32(rec + 8), clsLen = get32(rec + 12);
    if (nameLen > kMaxName || clsLen > kMaxName) throw Failure("internal", path + " is damaged");
    Record r;
    r.apart = get32(rec) & kApart;
    r.file = get32(rec) & kFile;
    r.ordinal = get32(rec + 4);
    r.name.resize(nameLen);
    r.cls.resize(clsLen);
    r.length = get64(rec + 16);
    readAt(r.name.data(), nameLen, at);
    readAt(r.cls.data(), clsLen, at + nameLen);
    r.offset = at + nameLen + clsLen;
    if ((r.length > kMaxObject && !r.file) || r.length > size_ - r.offset)
      throw Failure("internal", path + " is damaged");
    files += r.file ? 1 : 0;
    names += nameLen + clsLen;
    if (records_.size() == kMostRecords || files > kMostFileRecords || names > kMostNameBytes)
      throw Failure("internal", path + " has more objects, files or names than an output may have");
    if (r.length >= 8 && (r.name == kUnits || r.name == kCanary) &&
        std::any_of(records_.begin(), records_.end(),
                    [&](const Record &o) { return o.name == r.name && o.length >= 8; }))
      throw Failure("internal", path + " is damaged");
    at = r.offset + r.length;
    records_.push_back(std::move(r));
  }
}

void BlobReader::checkFiles() const {
  for (const Record &r : records_) {
    if (!r.file) continue;
    char magic[4] = {};
    if (r.length >= sizeof magic) readAt(magic, sizeof magic, r.offset);
    if (std::memcmp(magic, "root", sizeof magic) != 0)
      throw Failure("internal", path_ + " is damaged: a file in it is none of ROOT's");
  }
}

void BlobReader::readAt(void *p, size_t n, uint64_t at) const {
  for (size_t got = 0; got < n;) {
    ssize_t r =
        ::pread(fd_.get(), static_cast<char *>(p) + got, n - got, static_cast<off_t>(at + got));
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) throw Failure("internal", "could not read " + path_ + ": it ends early");
    got += static_cast<size_t>(r);
  }
}

std::unique_ptr<TObject> BlobReader::read(const Record &r) const {
  auto *bytes = new char[r.length]; // adopted by the buffer
  TBufferFile buffer(TBuffer::kRead, static_cast<Int_t>(r.length), bytes, true);
  readAt(bytes, r.length, r.offset);
  auto *object = static_cast<TObject *>(buffer.ReadObjectAny(TObject::Class()));
  // A merge casts an object to the class that its record says.
  if (!object || r.cls != object->ClassName())
    throw Failure("internal", "could not read object " + r.name + " of " + path_);
  return std::unique_ptr<TObject>(object);
}

long long BlobReader::units() const {
  for (const Record &r : records_) {
    if (r.name != kUnits || r.length < 8) continue;
    const std::unique_ptr<TObject> object = read(r);
    const auto *number = dynamic_cast<TParameter<Long64_t> *>(object.get());
    return number ? number->GetVal() : 0;
  }
  return 0;
}

} // namespace dtpnode
