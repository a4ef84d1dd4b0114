#include "aside.h"

#include "channel.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace dtpnode {

bool nameAnew(const std::string &path, const std::string &name) {
  if (::link(path.c_str(), name.c_str()) == 0) return true;
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK) return false;
  if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  struct stat st{};
  if (::lstat(name.c_str(), &st) == 0) {
    errno = EEXIST;
    return false;
  }
  return ::rename(path.c_str(), name.c_str()) == 0;
}

bool sameContent(int fd, const std::string &path) {
  constexpr size_t atOnce = 1 << 20;
  const Fd other(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat a{}, b{};
  if (other.get() < 0 || ::fstat(fd, &a) != 0 || ::fstat(other.get(), &b) != 0 || !S_ISREG(b.st_mode) ||
      a.st_size != b.st_size)
    return false;
  std::vector<char> mine(atOnce), its(atOnce);
  for (off_t at = 0; at < a.st_size;) {
    const ssize_t n = ::pread(fd, mine.data(), atOnce, at), m = ::pread(other.get(), its.data(), atOnce, at);
    if (n <= 0 || n != m || !std::equal(mine.begin(), mine.begin() + n, its.begin())) return false;
    at += n;
  }
  return true;
}

} // namespace dtpnode
