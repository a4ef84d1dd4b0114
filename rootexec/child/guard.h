// Bad code, caught: signals, exit() and exceptions. It knows no ROOT.
#pragma once

#include "channel.h"
#include "page.h"

#include <csignal>
#include <exception>
#include <functional>
#include <string>

namespace dtpnode {

/// A failure on its way to dtpnode. Kinds are those of exec.Kind.
struct Failure : std::exception {
  Failure(std::string k, std::string m) : kind(std::move(k)), msg(std::move(m)) {}
  const char *what() const noexcept override { return msg.c_str(); }

  std::string kind, msg;
  std::string step; // filled by Guard::run from the phase if empty
  int error = 0; // of kind "open": errno of a local file that could not be opened, kUnopened for a URL
  bool refused = false; // a file could not be opened, and user code has not seen it, so that the generation can go on
  std::string file;
  long long entry = -1, first = 0, last = 0;
};

/// The frame that reports f.
nlohmann::json failureFrame(const Failure &f);

/// Turns crashes, exits and exceptions of user code in this process into failures. Each forked child has one, which is
/// never destroyed, since signal handlers refer to it.
class Guard {
 public:
  /// Takes the process over: its signals and its exit handler. The page stays mapped for ever; pageFd
  /// receives the stack of a crash.
  Guard(SharedPage *page, Fd pageFd, Channel *channel);
  virtual ~Guard() = default;
  Guard(const Guard &) = delete;
  Guard &operator=(const Guard &) = delete;

  SharedPage &page() { return *page_; }

  /// Calls f in phase p; what it throws leaves as a Failure.
  template <typename F>
  void run(Phase p, F f) {
    enter(p);
    try {
      f();
    } catch (...) {
      rethrow();
    }
    enter(Phase{});
  }
  void enter(Phase p);

  /// Installs the handlers again, before each request, since user code may have replaced them.
  virtual void rearm() {}
  /// From now on a file that grows beyond its limit ends this process, as a crash does. It is called only if dtpnode
  /// has set the limit. Under a limit that the host has set, the write just fails.
  void catchFileSize();

 protected:
  SharedPage *page_;

 private:
  [[noreturn]] void rethrow();
  static void onExit(int status, void *self);

  int pid_; // of this process, to tell it from processes that user code forks
  Fd pageFd_;
  Channel *channel_;
};

/// Gives every signal back its default action and empties the mask.
void resetSignals();

// The runtime implements these three functions.

/// Name of a phase as the user knows it.
const char *phaseName(Phase p);
/// True if a failure in this phase is the code's, and not an entry's.
bool wholeJob(Phase p);
/// Removes the signal handlers that the runtime itself has installed.
void dropHandlers();

/// Answers requests with handle until dtpnode is gone, one fails (which is answered too) or, after an
/// answer, done() says so. For roles whose state a failure spoils.
void answer(Channel &channel, Guard &guard,
            const std::function<nlohmann::json(const nlohmann::json &)> &handle,
            const std::function<bool()> &done);

} // namespace dtpnode
