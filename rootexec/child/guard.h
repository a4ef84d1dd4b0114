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
  bool refused = false; // a file could not be opened, and nobody was told of it: what was done before is as it was
  std::string file;
  long long entry = -1, first = 0, last = 0;
};

/// The frame that reports f.
nlohmann::json failureFrame(const Failure &f);

/// Watches over user code in this process. There is one in each forked child, for ever: handlers refer to it.
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

  /// Puts the handlers back that user code may have replaced, before each request.
  virtual void rearm() {}
  /// From now on a file that grows beyond its limit ends this process, as a crash does. Without a limit
  /// of ours that stays an error of the write: the host may have set one for its own reasons.
  void catchFileSize();

 protected:
  SharedPage *page_;

 private:
  [[noreturn]] void rethrow();
  static void onExit(int status, void *self);

  int pid_; // a process that user code forks is not ours
  Fd pageFd_;
  Channel *channel_;
};

/// Gives every signal back its default action and empties the mask.
void resetSignals();

// These three are the runtime's.

/// Name of a phase as the user knows it.
const char *phaseName(Phase p);
/// True if a failure in this phase is the code's, and not an entry's.
bool wholeJob(Phase p);
/// Has the runtime's own handlers of signals forgotten.
void dropHandlers();

/// Answers requests with handle until dtpnode is gone, one fails (which is answered too) or, after an
/// answer, done() says so. For roles whose state a failure spoils.
void answer(Channel &channel, Guard &guard,
            const std::function<nlohmann::json(const nlohmann::json &)> &handle,
            const std::function<bool()> &done);

} // namespace dtpnode
