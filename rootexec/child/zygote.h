// The process that forks all others. It knows ROOT, and later one selector library, but runs no
// user code of its own.
#pragma once

#include "channel.h"
#include "guard.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/types.h>

namespace dtpnode {

class SelectorClass;

class Zygote {
 public:
  /// selector is null in the base zygote.
  Zygote(Channel &control, const SelectorClass *selector);

  /// Serves requests until dtpnode is gone, then kills its children and returns.
  void processRequests();

 private:
  bool onFrame();
  void onChildren();
  void fork(const nlohmann::json &request);
  void signal(const nlohmann::json &request);
  /// Kills what children have left behind, in whatever session or group it is, and reports whether
  /// there was something.
  bool killOrphans();
  void leave();
  [[noreturn]] void becomeChild(const std::string &role, pid_t parent, Channel channel, Fd log,
                                Fd page);

  Channel &control_;
  const SelectorClass *selector_;
  Fd signals_;
  std::map<pid_t, bool> children_; // value: not yet reaped
};

/// The life of each role; they return when dtpnode closes the channel. See roles.cc.
int runRole(const std::string &role, Channel &channel, Guard &guard, const SelectorClass *selector);

} // namespace dtpnode
