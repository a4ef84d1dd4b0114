// What dtpnode (Go) and its ROOT child say to each other. rootexec/frames.go is the other side.
//
// A frame is 4 bytes big-endian length n <= kMaxFrame, then n bytes: one msgpack map with a string
// "op". Frames travel on Unix stream socket pairs: one between dtpnode and each process. A request
// marked (3 fds) carries three descriptors with SCM_RIGHTS: the new process's end of its socket
// pair, the write end of its log pipe, and the memory file of its SharedPage. Every request is
// answered, failures too; any request may be answered by "failed".
//
//   base and selector zygote
//     ->  fork {id, role} (3 fds)         <-  forked {id, pid} | error {id, msg}
//     ->  signal {pid, sig}               (no reply; a pid that is gone is ignored)
//                                         <-  hello {protocol, root}          once, base only
//                                         <-  exited {pid, status, maxrss}    wait status, KiB
//     role of base: selector planner compiler; of selector: generation merger client check
//   selector
//     ->  load {so, dir, class}           <-  loaded {}, then it is a zygote
//   check
//     ->  make {}                         <-  made {}
//   planner
//     ->  plan {file, tree}               <-  planned {tree, entries, clusters, bytes, uuid}
//   compiler
//     ->  compile {dir, main, lib, cxx, options} <-  compiled {so}
//   generation
//     ->  begin {input, option, job, memory, filesize, dir, lax}  <-  ready {}
//     ->  packet {id, seq, file, tree, first, last, base, clip, total, uuid}
//                                                           <-  done {id, last, ns, bytes, opened}
//     ->  seal {path}                                           <-  sealed {units, canary, apart}
//   merger
//     ->  merge {inputs, path}            <-  sealed {units, canary, apart, mixed}
//   client
//     ->  start {option, params, dir, env}  <-  begun {input}
//     ->  finish {partials, path}           <-  finished {units, canary, apart, keys, objects}
//     ->  save {partials, path}             <-  finished {...}  in place of start and finish: no Terminate
//
//     failed {kind, what, file, entry, first, last, exit, msg, errno}: kind is one of rootexec.Kind,
//     errno says why a file could not even be opened (kUnopened for a URL: see msg), kDiffers that it is
//     not the one that was planned, else 0,
//     "what" the user function or step, [first,last) the local entries to blame. After a failure
//     only a planner goes on.
//
// The next "begin", "packet" and "seal" may be written before the last is answered. They are worked
// off in order, and the first failure ends the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dtpnode {

constexpr int kProtocol = 1;
constexpr int kUnopened = -1; // in place of an errno: ROOT could not open a URL
constexpr int kDiffers = -2;  // the file can be opened, and is not the one that was planned
constexpr size_t kMaxFrame = size_t{256} << 20;
constexpr int kControlFd = 3;

/// What a process is doing; rootexec/page.go has the names.
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
static_assert(sizeof(SharedPage) == 64 + 1024 + 24, "rootexec/page.go knows this layout");

} // namespace dtpnode
