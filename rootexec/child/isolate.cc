#include "isolate.h"

#include <TBufferFile.h>
#include <TClass.h>
#include <TObject.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dtpnode {

namespace {

constexpr int kReturnedFalse = 201, kThrew = 202; // exit statuses that user code hardly gives

// A crash of the process that tries is no crash of its parent, with which it shares the page that tells of one.
void dropSignals(pid_t parent, unsigned seconds) {
  for (int sig = 1; sig < 32; ++sig)
    if (sig != SIGKILL && sig != SIGSTOP) ::signal(sig, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_DUMPABLE, 0); // no core file
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kReturnedFalse);
  ::alarm(seconds);
}

int statusOf(const std::function<bool()> &f) {
  try {
    return f() ? 0 : kReturnedFalse;
  } catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
  } catch (...) {
  }
  return kThrew;
}

} // namespace

std::string tried(const std::function<bool()> &f, unsigned seconds) {
  std::fflush(nullptr);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return std::string("could not be tried: ") + std::strerror(errno);
  if (pid == 0) {
    dropSignals(parent, seconds);
    const int status = statusOf(f);
    std::fflush(nullptr);
    ::_exit(status);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    return "took more than " + std::to_string(seconds) + " s";
  if (WIFSIGNALED(status)) return std::string("crashed: ") + ::strsignal(WTERMSIG(status));
  switch (WEXITSTATUS(status)) {
  case 0:
    return "";
  case kReturnedFalse:
    return "failed";
  case kThrew:
    return "threw an exception";
  default:
    return "ended its process with status " + std::to_string(WEXITSTATUS(status));
  }
}

bool sameBytes(const TObject &a, const TObject &b) {
  if (a.IsA() != b.IsA()) return false;
  TBufferFile first(TBuffer::kWrite), second(TBuffer::kWrite);
  first.WriteObjectAny(&a, a.IsA());
  second.WriteObjectAny(&b, b.IsA());
  return first.Length() == second.Length() &&
         std::memcmp(first.Buffer(), second.Buffer(), static_cast<size_t>(first.Length())) == 0;
}

} // namespace dtpnode
