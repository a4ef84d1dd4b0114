// What exec/child/doc.go says of any child: the numbers of its frames, and the page that it shares with dtpnode.
// Together with channel, guard and zygote, which know no ROOT, it is what another child in C++ would use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dtpnode {

constexpr int kProtocol = 1;  // of exec/child
constexpr int kUnopened = -1; // in place of an errno: what could not be opened is a URL, for which there is no errno
constexpr int kDiffers = -2;  // the file can be opened, and is not the one that was planned
constexpr size_t kMaxFrame = size_t{256} << 20;
constexpr int kControlFd = 3;

/// What a process is doing. The runtime defines the phases; the first, 0, is that of a process that waits.
enum class Phase : uint32_t;

/// Shared by one child and dtpnode, which reads it also after the child is gone. Only stop is
/// written by dtpnode. The stack of a crash follows in the same memory file at kStackOffset.
struct SharedPage {
  std::atomic<uint64_t> packet;   // id of the packet that runs, or ran last
  std::atomic<int64_t> entry;     // local entry that runs, -1 outside of entries
  std::atomic<uint64_t> progress; // grows with each entry and each change of phase
  std::atomic<uint64_t> stop;     // packets with seq <= stop end at the next entry boundary
  std::atomic<uint32_t> phase;
  std::atomic<uint32_t> signal;                   // set first thing by the crash handler
  std::atomic<int64_t> clusterFirst, clusterLast; // the cluster that entry is in
  // The first error of reading that was noticed; user code often crashes soon after. readErrorKind is set
  // last: 1 = schema, 2 = data.
  std::atomic<uint32_t> readErrorKind, readErrorSize;
  char readError[1024];
  // The crash handler writes these four before it reports the signal.
  std::atomic<uint64_t> fault;    // the address that could not be used, of SIGSEGV and SIGBUS
  std::atomic<uint64_t> dataUsed; // bytes that count towards the limit of memory, 0 if unknown
  std::atomic<uint32_t> error;    // errno
  std::atomic<uint32_t> hasFault; // fault is known
};

constexpr size_t kStackOffset = 4096;

static_assert(std::atomic<uint64_t>::is_always_lock_free, "the page is shared between processes");
static_assert(sizeof(SharedPage) == 64 + 1024 + 24, "exec/child/page.go knows this layout");

} // namespace dtpnode
