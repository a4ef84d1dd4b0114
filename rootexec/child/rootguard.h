// Bad data, caught: the read errors that ROOT prints but user code does not look at.
#pragma once

#include "guard.h"
#include "compat.h"
#include "protocol.h"

#include <string>

namespace dtpnode {

/// A guard that is ROOT's error handler too.
class RootGuard : public Guard {
 public:
  RootGuard(SharedPage *page, Fd pageFd, Channel *channel);

  /// Lets missing branches pass with a warning.
  void setLax(bool lax) { lax_ = lax; }
  void rearm() override;
  /// True if ROOT reported a read error since the last clear(). Cheap.
  bool tripped() const { return tripped_; }
  Failure error() const;
  /// The first error that ROOT printed since clear(), for messages.
  const std::string &firstError() const { return firstError_; }
  bool diskFull() const { return diskFull_; }
  /// What the selector said last when it called Abort(), as ": " and the text, to end a message; empty if nothing.
  std::string abortReason() const { return abortReason_.empty() ? "" : ": " + abortReason_; }
  const std::string &abortText() const { return abortReason_; }
  void clear();

 private:
  void onAbort(const char *reason);
  void onRootError(int level, const char *location, const char *msg);
  void tripOnDisk(const std::string &text);
  static void rootErrorHandler(int level, bool abort, const char *location, const char *msg);

  bool lax_ = false;
  bool tripped_ = false;
  bool diskFull_ = false;
  std::string kind_, text_, firstError_, abortReason_;
};

} // namespace dtpnode
