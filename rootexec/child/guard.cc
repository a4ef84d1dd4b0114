#include "guard.h"

#include <TError.h>
#include <TSystem.h>
#include <algorithm>
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

// Signal handlers and ROOT's error handler are plain functions: they find their guard here.
Guard *theGuard = nullptr;
SharedPage *crashPage = nullptr;
int crashFd = -1;
ErrorHandlerFunc_t userHandler = nullptr;

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

bool startsWith(const char *s, const char *prefix) {
  return std::strncmp(s, prefix, std::strlen(prefix)) == 0;
}

bool has(const char *s, const char *part) {
  return std::strstr(s, part) != nullptr;
}

bool aboutBranch(const char *location) {
  return has(location, "::SetBranchAddress") || has(location, "::CreateProxy") ||
         has(location, "::CreateContentProxy") || startsWith(location, "TTreeReader") ||
         startsWith(location, "TBranchProxy");
}

// Opening is judged by whoever opens; user code may well try a file that is not there.
bool aboutOpening(const char *location) {
  return has(location, "::Open") || has(location, "::Init") || has(location, "File::TFile") ||
         has(location, "::Recover");
}

bool aboutReading(const char *location) {
  for (const char *prefix : {"TBasket", "TBranch", "TFile", "TTreeCache", "R__unzip", "R__Inflate",
                             "TBuffer", "TLeaf", "TKey", "TNetXNG", "TWebFile", "TCurl", "TDavix",
                             "TStreamerInfo", "TTreeCacheUnzip", "TSQLFile", "TXNetFile"})
    if (startsWith(location, prefix)) return true;
  return false;
}

bool readsData(uint32_t phase) {
  switch (static_cast<Phase>(phase)) {
  case Phase::Init:
  case Phase::Notify:
  case Phase::Read:
  case Phase::Process:
    return true;
  default:
    return false;
  }
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

// A failure before or after the entries is the code's, not an entry's.
bool wholeJob(Phase p) {
  return p == Phase::Construct || p == Phase::Begin || p == Phase::SlaveBegin ||
         p == Phase::SlaveTerminate || p == Phase::Terminate || p == Phase::Load;
}

} // namespace

const char *phaseName(Phase p) {
  static const char *const names[] = {
      "idle",      "constructor", "Begin",   "SlaveBegin",     "open", "Init",
      "Notify",    "read",        "Process", "SlaveTerminate", "seal", "merge",
      "Terminate", "write",       "load",    "compile",        "plan"};
  return names[static_cast<size_t>(p)];
}

nlohmann::json failureFrame(const Failure &f) {
  return {{"op", "failed"}, {"kind", f.kind},   {"what", f.step},
          {"file", f.file}, {"entry", f.entry}, {"first", f.first},
          {"last", f.last}, {"exit", 0},        {"msg", f.msg}, {"errno", f.error}};
}

void resetSignals() {
  for (int sig = 0; sig < kMAXSIGNALS; ++sig)
    gSystem->ResetSignal(static_cast<ESignals>(sig), true);
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
  theGuard = this;
  crashPage = page;
  crashFd = pageFd_.get();
  ::lseek(crashFd, kStackOffset, SEEK_SET);
  resetSignals();
  catchCrashes();
  ::on_exit(onExit, this);
  userHandler = ::SetErrorHandler(rootErrorHandler);
  if (!userHandler || userHandler == rootErrorHandler) userHandler = DefaultErrorHandler;
}

void Guard::rearm() {
  ErrorHandlerFunc_t now = ::GetErrorHandler();
  if (now == rootErrorHandler) return;
  userHandler = now ? now : DefaultErrorHandler;
  ::SetErrorHandler(rootErrorHandler);
}

void Guard::catchFileSize() {
  catchSignal(SIGXFSZ);
}

void Guard::enter(Phase p) {
  page_->phase.store(static_cast<uint32_t>(p), std::memory_order_relaxed);
  page_->progress.fetch_add(1, std::memory_order_relaxed);
}

void Guard::clear() {
  tripped_ = diskFull_ = false;
  kind_.clear();
  text_.clear();
  page_->troubleKind.store(0);
  firstError_.clear();
}

Failure Guard::error() const {
  return Failure(kind_, text_);
}

void Guard::rootErrorHandler(int level, bool abort, const char *location, const char *msg) {
  userHandler(level, abort, location, msg);
  if (theGuard && level >= kError)
    theGuard->onRootError(level, location ? location : "", msg ? msg : "");
}

void Guard::onRootError(int, const char *location, const char *msg) {
  std::string text = std::string(location) + ": " + msg;
  if (has(msg, "No space left") || has(msg, "Disk quota")) diskFull_ = true;
  if (firstError_.empty()) firstError_ = text;
  if (tripped_ || !readsData(page_->phase.load(std::memory_order_relaxed))) return;
  if (has(location, "Write") || has(location, "Flush")) return; // the user's own output
  bool branch = aboutBranch(location);
  if (branch && lax_) return;
  if (!branch && (aboutOpening(location) || !aboutReading(location))) return;
  kind_ = branch ? "schema" : "data";
  text_ = text;
  tripped_ = true;
  const size_t n = std::min(text.size(), sizeof page_->trouble);
  std::memcpy(page_->trouble, text.data(), n);
  page_->troubleSize.store(static_cast<uint32_t>(n));
  page_->troubleKind.store(branch ? 1 : 2);
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
