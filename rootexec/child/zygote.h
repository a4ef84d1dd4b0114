// The process that forks all others. It runs no user code of its own, and knows no ROOT.
#pragma once

#include "channel.h"
#include "page.h"

#include <functional>
#include <map>
#include <set>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/types.h>

namespace dtpnode {

/// What a zygote can fork. live is a fork's life, of which it returns the exit status; it ends at the latest when
/// dtpnode closes the channel. pageFd receives the stack of a crash.
struct Roles {
  std::set<std::string> names;
  std::function<int(const std::string &role, Channel &channel, SharedPage *page, Fd pageFd)> live;
};

class Zygote {
 public:
  Zygote(Channel &control, Roles roles);

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
  Roles roles_;
  Fd signals_;
  std::map<pid_t, bool> children_; // value: not yet reaped
};

} // namespace dtpnode
