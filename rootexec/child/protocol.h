// What dtpnode (Go) and its ROOT child say to each other, beside what any child says: the frames, roles and requests of
// zygotes and generations, and the shared page, are described in exec/child/doc.go. These are ROOT's own;
// rootexec/frames.go is the other side.
//
//   role of base: selector planner compiler; of selector: generation merger client check
//   selector
//     ->  load {so, dir, class}           <-  loaded {}, then it is a zygote
//   check
//     ->  make {}                         <-  made {}
//   planner
//     ->  plan {file, tree}               <-  planned {tree, entries, clusters, bytes, uuid}
//   compiler
//     ->  compile {dir, sources, main, lib, cxx, options} <-  compiled {so}
//   generation
//     ->  begin {..., option, lax}        input is fInput; part of a packet is the path of the tree
//   merger
//     ->  merge {inputs, path}            <-  sealed {units, canary, apart, mixed}
//   client
//     ->  start {option, params, dir, env}  <-  begun {input}
//     ->  finish {partials, path}           <-  finished {units, canary, apart, keys, objects, ...}
//     ->  save {partials, path}             <-  finished {...}  in place of start and finish: no Terminate
//
// After a failure only a planner goes on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dtpnode {

constexpr int kProtocol = 1;  // of exec/child
constexpr int kUnopened = -1; // in place of an errno: ROOT could not open a URL
constexpr int kDiffers = -2;  // the file can be opened, and is not the one that was planned
constexpr size_t kMaxFrame = size_t{256} << 20;
constexpr int kControlFd = 3;

/// What a process is doing; rootexec/driver.go has the names, in the same order.
enum class Phase : uint32_t {
  Idle,
  Construct,
  Begin,
  SlaveBegin,
  Open,
  Init,
  Notify,
  Read,
  Process,
  SlaveTerminate,
  Seal,
  Merge,
  Terminate,
  Write,
  Load,
  Compile,
  Plan,
};

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
  // The first read error that ROOT reported; user code often crashes soon after. troubleKind is set
  // last: 1 = schema, 2 = data.
  std::atomic<uint32_t> troubleKind, troubleSize;
  char trouble[1024];
  // Written by the crash handler before signal is told of: how things stood.
  std::atomic<uint64_t> fault;    // the address that could not be used, of SIGSEGV and SIGBUS
  std::atomic<uint64_t> dataUsed; // bytes that count towards the limit of memory, 0 if unknown
  std::atomic<uint32_t> error;    // errno
  std::atomic<uint32_t> hasFault; // fault is known
};

constexpr size_t kStackOffset = 4096;

static_assert(std::atomic<uint64_t>::is_always_lock_free, "the page is shared between processes");
static_assert(sizeof(SharedPage) == 64 + 1024 + 24, "exec/child/page.go knows this layout");

} // namespace dtpnode
