#include "rootguard.h"

#include <TError.h>
#include <TSystem.h>
#include <algorithm>
#include <cstring>

namespace dtpnode {

namespace {

// ROOT's error handler is a plain function: it finds its guard here.
RootGuard *theGuard = nullptr;
ErrorHandlerFunc_t userHandler = nullptr;

bool startsWith(const char *s, const char *prefix) {
  return std::strncmp(s, prefix, std::strlen(prefix)) == 0;
}

bool endsWith(const char *s, const char *suffix) {
  const size_t n = std::strlen(s), m = std::strlen(suffix);
  return n >= m && std::strcmp(s + n - m, suffix) == 0;
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

// A basket of the user's own tree could not be written.
bool aboutFilling(const char *location) {
  return startsWith(location, "TBranch") && endsWith(location, "::Fill");
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

} // namespace

const char *phaseName(Phase p) {
  static const char *const names[] = {
      "idle",      "constructor", "Begin",   "SlaveBegin",     "open", "Init",
      "Notify",    "read",        "Process", "SlaveTerminate", "seal", "merge",
      "Terminate", "write",       "load",    "compile",        "plan"};
  return names[static_cast<size_t>(p)];
}

bool wholeJob(Phase p) {
  return p == Phase::Construct || p == Phase::Begin || p == Phase::SlaveBegin ||
         p == Phase::SlaveTerminate || p == Phase::Terminate || p == Phase::Load;
}

// ROOT's own handlers would start a debugger.
void dropHandlers() {
  for (int sig = 0; sig < kMAXSIGNALS; ++sig)
    gSystem->ResetSignal(static_cast<ESignals>(sig), true);
}

RootGuard::RootGuard(SharedPage *page, Fd pageFd, Channel *channel) : Guard(page, std::move(pageFd), channel) {
  theGuard = this;
  userHandler = ::SetErrorHandler(rootErrorHandler);
  if (!userHandler || userHandler == rootErrorHandler) userHandler = DefaultErrorHandler;
}

void RootGuard::rearm() {
  ErrorHandlerFunc_t now = ::GetErrorHandler();
  if (now == rootErrorHandler) return;
  userHandler = now ? now : DefaultErrorHandler;
  ::SetErrorHandler(rootErrorHandler);
}

void RootGuard::clear() {
  tripped_ = diskFull_ = false;
  kind_.clear();
  text_.clear();
  page_->readErrorKind.store(0);
  firstError_.clear();
}

Failure RootGuard::error() const {
  return Failure(kind_, text_);
}

void RootGuard::rootErrorHandler(int level, bool abort, const char *location, const char *msg) {
  userHandler(level, abort, location, msg);
  if (theGuard && level >= kError)
    theGuard->onRootError(level, location ? location : "", msg ? msg : "");
  // TSelector::Abort() keeps its reason nowhere, and only tells it in this way.
  if (theGuard && level == kInfo && location &&
      (endsWith(location, "::AbortFile") || endsWith(location, "::AbortProcess")))
    theGuard->onAbort(msg ? msg : "");
}

void RootGuard::onAbort(const char *reason) {
  constexpr size_t most = 200;
  abortReason_ = reason;
  if (abortReason_.size() > most) abortReason_ = abortReason_.substr(0, most) + "...";
  for (char &c : abortReason_)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
}

void RootGuard::onRootError(int, const char *location, const char *msg) {
  std::string text = std::string(location) + ": " + msg;
  // TFile tells a write that was cut short before the next one fails.
  if (has(msg, "No space left") || has(msg, "Disk quota") || has(msg, "writing all requested bytes")) diskFull_ = true;
  if (firstError_.empty()) firstError_ = text;
  if (tripped_ || !readsData(page_->phase.load(std::memory_order_relaxed))) return;
  if (has(location, "Write") || has(location, "Flush")) return; // the user's own output
  if (aboutFilling(location)) return tripOnDisk(text);
  bool branch = aboutBranch(location);
  if (branch && lax_) return;
  if (!branch && (aboutOpening(location) || !aboutReading(location))) return;
  kind_ = branch ? "schema" : "data";
  text_ = text;
  tripped_ = true;
  const size_t n = std::min(text.size(), sizeof page_->readError);
  std::memcpy(page_->readError, text.data(), n);
  page_->readErrorSize.store(static_cast<uint32_t>(n));
  page_->readErrorKind.store(branch ? 1 : 2);
}

void RootGuard::tripOnDisk(const std::string &text) {
  kind_ = "disk";
  text_ = "what the selector writes cannot be written in " + std::string(gSystem->WorkingDirectory()) + ": ";
  text_ += diskFull_ ? "no space left on the disk" : text;
  if (firstError_ != text) text_ += " (" + firstError_ + ")";
  text_.erase(std::remove(text_.begin(), text_.end(), '\n'), text_.end());
  tripped_ = true;
}

} // namespace dtpnode
