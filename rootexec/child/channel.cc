#include "channel.h"

#include "protocol.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace dtpnode {

using nlohmann::json;

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Fd Channel::takeFd() {
  if (passed_.empty()) return Fd();
  Fd fd = std::move(passed_.front());
  passed_.pop_front();
  return fd;
}

bool Channel::readBytes(char *p, size_t n) {
  constexpr size_t kMaxFds = 8;
  while (n > 0) {
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
    iovec iov{p, n};
    msghdr msg{};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof control;
    ssize_t got = ::recvmsg(fd_.get(), &msg, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    for (cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        passed_.emplace_back(fd);
      }
    }
    p += got;
    n -= static_cast<size_t>(got);
  }
  return true;
}

bool Channel::read(json &out) {
  unsigned char head[4];
  if (!readBytes(reinterpret_cast<char *>(head), sizeof head)) return false;
  size_t n = size_t{head[0]} << 24 | size_t{head[1]} << 16 | size_t{head[2]} << 8 | head[3];
  if (n > kMaxFrame) return false;
  std::vector<char> body(n);
  if (!readBytes(body.data(), n)) return false;
  out = json::from_msgpack(body, true, false);
  return out.is_object() && out.contains("op") && out["op"].is_string();
}

bool Channel::write(const json &frame) {
  std::vector<uint8_t> out(4);
  json::to_msgpack(frame, out);
  size_t n = out.size() - 4;
  if (n > kMaxFrame) return false;
  for (int i = 0; i < 4; ++i)
    out[i] = static_cast<uint8_t>(n >> (24 - 8 * i));
  for (size_t at = 0; at < out.size();) {
    ssize_t put = ::send(fd_.get(), out.data() + at, out.size() - at, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    at += static_cast<size_t>(put);
  }
  return true;
}

} // namespace dtpnode
