// Descriptors and frames.
#pragma once

#if !__has_include(<nlohmann/json.hpp>)
#error "nlohmann/json.hpp is missing: install it (Debian: nlohmann-json3-dev, Fedora: json-devel)"
#endif

#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace dtpnode {

/// Owns a file descriptor.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd &&o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd &operator=(Fd &&o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  void reset();

 private:
  int fd_;
};

/// One end of a socket pair that carries frames. Not for several threads.
class Channel {
 public:
  explicit Channel(Fd fd) : fd_(std::move(fd)) {}

  /// Reads the next frame into out. False if the other side is gone or not to be understood.
  bool read(nlohmann::json &out);
  /// Writes a frame. False if the other side is gone.
  bool write(const nlohmann::json &frame);
  /// Takes the next descriptor that came with the frames read so far.
  Fd takeFd();

  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

 private:
  bool readBytes(char *p, size_t n);

  Fd fd_;
  std::deque<Fd> passed_;
};

} // namespace dtpnode
