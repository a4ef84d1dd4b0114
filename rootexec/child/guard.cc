#include "guard.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <execinfo.h>
#include <fcntl.h>
#include <new>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <typeinfo>
#include <unistd.h>

namespace dtpnode {

namespace {

// Signal handlers are plain functions: they find what they need here.
SharedPage *crashPage = nullptr;
int crashFd = -1;

constexpr int kCrashSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr size_t kAltStack = 256 << 10;
const uint64_t kPage = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));

// Bytes of this process that RLIMIT_DATA counts, as the kernel tells: the sixth number of statm, in pages.
uint64_t dataUsed() {
  const int fd = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[256];
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  uint64_t value = 0;
  int field = 0;
  for (ssize_t i = 0; i < n && field < 6; ++i) {
    if (text[i] >= '0' && text[i] <= '9') {
      value = value * 10 + static_cast<uint64_t>(text[i] - '0');
    } else if (++field < 6) {
      value = 0;
    }
  }
  return field == 6 ? value * kPage : 0;
}

// Only async-signal-safe calls from here; backtrace() was called once before, so it loads nothing.
void onCrash(int sig, siginfo_t *info, void *) {
  const int error = errno;
  uint32_t none = 0;
  if (crashPage->signal.compare_exchange_strong(none, static_cast<uint32_t>(sig))) {
    ::alarm(2); // a broken stack can hold up the unwinder
    if (sig == SIGSEGV || sig == SIGBUS) {
      crashPage->fault.store(reinterpret_cast<uint64_t>(info->si_addr));
      crashPage->error.store(static_cast<uint32_t>(error));
      crashPage->dataUsed.store(dataUsed());
      crashPage->hasFault.store(info->si_code > 0 ? 1 : 0); // else somebody has sent the signal
    }
    void *frames[64];
    int n = ::backtrace(frames, 64);
    ::backtrace_symbols_fd(frames, n, crashFd);
  }
  ::signal(sig, SIG_DFL);
  ::raise(sig);
}

void catchSignal(int sig) {
  struct sigaction act{};
  act.sa_sigaction = onCrash;
  act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigaction(sig, &act, nullptr);
}

void catchCrashes() {
  void *stack =
      ::mmap(nullptr, kAltStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t alt{};
  alt.ss_sp = stack;
  alt.ss_size = kAltStack;
  if (stack != MAP_FAILED) ::sigaltstack(&alt, nullptr);
  void *frame[1];
  ::backtrace(frame, 1);
  for (int sig : kCrashSignals)
    catchSignal(sig);
}

std::string exceptionName() {
  const std::type_info *type = abi::__cxa_current_exception_type();
  if (!type) return "an unknown exception";
  int status = 0;
  char *name = abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
  std::string out = status == 0 && name ? name : type->name();
  std::free(name);
  return out;
}

} // namespace

nlohmann::json failureFrame(const Failure &f) {
  return {{"op", "failed"}, {"kind", f.kind},   {"what", f.step},
          {"file", f.file}, {"entry", f.entry}, {"first", f.first},
          {"last", f.last}, {"exit", 0},        {"msg", f.msg}, {"errno", f.error}};
}

void resetSignals() {
  dropHandlers();
  for (int sig = 1; sig < 32; ++sig)
    if (sig != SIGKILL && sig != SIGSTOP) ::signal(sig, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN); // a log that nobody reads must not kill
  ::signal(SIGXFSZ, SIG_IGN); // a file that grows too big is a write error
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

Guard::Guard(SharedPage *page, Fd pageFd, Channel *channel)
    : page_(page), pid_(::getpid()), pageFd_(std::move(pageFd)), channel_(channel) {
  crashPage = page;
  crashFd = pageFd_.get();
  ::lseek(crashFd, kStackOffset, SEEK_SET);
  resetSignals();
  catchCrashes();
  ::on_exit(onExit, this);
}

void Guard::catchFileSize() {
  catchSignal(SIGXFSZ);
}

void Guard::enter(Phase p) {
  page_->phase.store(static_cast<uint32_t>(p), std::memory_order_relaxed);
  page_->progress.fetch_add(1, std::memory_order_relaxed);
}

// Our own ways out are all _exit: whoever comes here called exit().
void Guard::onExit(int status, void *self) {
  auto *g = static_cast<Guard *>(self);
  if (g->pid_ != ::getpid()) return;
  Failure f("exit", "called exit(" + std::to_string(status) + ")");
  f.step = phaseName(static_cast<Phase>(g->page_->phase.load()));
  f.entry = g->page_->entry.load();
  nlohmann::json frame = failureFrame(f);
  frame["exit"] = status;
  ::fflush(nullptr);
  g->channel_->write(frame);
  ::_exit(status);
}

void Guard::rethrow() {
  Phase p = static_cast<Phase>(page_->phase.load());
  Failure out(wholeJob(p) ? "code" : "exception", "");
  try {
    throw;
  } catch (abi::__forced_unwind &) {
    throw;
  } catch (Failure &f) {
    out = f;
  } catch (const std::bad_alloc &) {
    out.kind = "memory";
    out.msg = "out of memory (std::bad_alloc)";
  } catch (const std::exception &e) {
    out.msg = exceptionName() + ": " + e.what();
  } catch (const char *text) {
    out.msg = std::string("exception: ") + text;
  } catch (const std::string &text) {
    out.msg = "exception: " + text;
  } catch (...) {
    out.msg = "exception of type " + exceptionName();
  }
  if (out.step.empty()) out.step = phaseName(p);
  if (out.entry < 0) out.entry = page_->entry.load();
  throw out;
}

void answer(Channel &channel, Guard &guard,
            const std::function<nlohmann::json(const nlohmann::json &)> &handle,
            const std::function<bool()> &done) {
  nlohmann::json request;
  while (!done() && channel.read(request)) {
    try {
      guard.rearm();
      if (!channel.write(handle(request))) return;
    } catch (const Failure &f) {
      channel.write(failureFrame(f));
      return;
    } catch (const std::exception &e) { // a request that makes no sense
      channel.write(failureFrame(Failure("internal", e.what())));
      return;
    }
  }
}

} // namespace dtpnode
