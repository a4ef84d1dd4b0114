// Package child drives a program that runs user code in processes of its own: it starts the program, asks it for forks,
// leases packets to them, watches over their limits, and tells how each of them ended. It knows no language and no
// format of files: whatever speaks the protocol below is driven, and a runtime (package rootexec is one) says in a
// Config what its phases are called, which of them make a failure the whole job's, and what its own frames mean.
//
// It owns processes, sockets, shared pages and pipes, and none of them outlives the Base that it came from. It never
// decides what is run, where or again, and it writes no file but removes what a process that died has left half
// written.
//
// # Processes
//
//	base zygote       the program, warm, without user code; Base starts it, and another if it dies
//	└ a fork          of a role that the runtime names: a planner, a compiler, ...
//	└ zygote          a fork that has loaded user code and forks in turn: Process.Zygote
//	  └ a fork        a generation, a merger, ...
//
// The base has the socket as descriptor 3 and the pipe of its output as 1 and 2. It is the leader of its own session,
// and so of its own process group. Each fork has a socket, a pipe and a page of its own, is the leader of a group of
// its own, or of a session, and is the subreaper of what it starts. A zygote whose socket ends kills its forks, and
// what they left behind, and leaves. A fork dies with its zygote.
//
// # Frames
//
// A frame is 4 bytes, a big-endian length of at most 256 MiB, and so many bytes: one msgpack map with a string "op".
// Every request is answered, unless it says otherwise. Fields that the driver does not know are the runtime's: what
// follows are all that it knows. Numbers are int64 and missing ones are 0.
//
//	base      <-  hello {protocol, version}       once, before anything else; version is for the log
//	zygote    ->  fork {id, role}                 with three descriptors by SCM_RIGHTS: socket, output, page
//	          <-  forked {id, pid} | error {id, msg}
//	          ->  signal {pid, sig}               not answered; a pid that is gone is passed over, and 9 is
//	                                              for the whole process group
//	          <-  exited {pid, status, maxrss}    as wait4 tells them; KiB
//	any fork  ->  the runtime's requests          answered by the runtime's replies, or by failed; Process.Call
//	generation
//	          ->  begin {job, input, hints, dir, memory, filesize, entries, ...}   <-  ready {}
//	          ->  packet {id, seq, file, part, items, small, first, last, base, total, uuid, end,
//	                                              clip}
//	                                              <-  done {id, last, ns, bytes, opened, hints, whole,
//	                                                       early, held, full, worn}
//	                                              |   refused {id, and all of failed}
//	          ->  snapshot {id, names, most, path}                        <-  snapped {id, units, left, msg}
//	          ->  seal {path}                     <-  sealed {units, canary, apart, mixed}
//	any fork  <-  failed {kind, what, file, entry, first, last, exit, msg, errno}
//
// What the fields mean, and what a process does with them:
//
//   - begin: The process enters dir, sets RLIMIT_DATA to memory and the soft RLIMIT_FSIZE to filesize, where 0 is no
//     limit, and makes itself ready. job is the seed of the canaries, and input the path of a file with what the job's
//     session has made, or missing. That file must not be written to. hints are what the first entries of the job
//     have shown to the process that has tried them, for all others.
//   - packet: [first, last) are entries of a part of a file; parts are what files are divided into, if they are. A
//     packet with items is of a blob of items at that path on this host (exec.OpenItems), one with small of the blob
//     that is there itself; both have no file. One with none of these is a range of numbers. base is the global unit of
//     the file's entry 0. total and uuid are the entries and the identity that the file had when it was planned: one
//     that differs is refused with errno -2. end is where what is wanted of the file ends, if that is known. clip
//     allows the file to end before last.
//   - done: last is the first entry that was not processed. It is before the packet's last if the packet was
//     preempted, which is so for every packet whose seq is at most stop of the page, looked at before each entry. hints
//     and whole are of a process that tries a job's first entries (exec.Foreseen), and missing otherwise. early has the
//     values of the packet's units where these are small, held says in which file they lie (exec.Held). full is why the
//     disk takes no more of the output: then last is the first entry whose output had no room, and later packets come
//     back undone, until seal. So do they where worn says that the process has run as many entries as it may.
//   - refused: The file could not be opened and nothing of the packet was done. The generation goes on.
//   - snapshot: The process writes the objects of its output that match a name, and take no more than most bytes each,
//     to path, and goes on. left are the names of others. units is -1 if that failed, and msg says why. Only runtimes
//     whose generations are exec.Snapshotters are asked.
//   - seal: The process writes its output to path. units and canary are read back from what was written; apart and
//     mixed are as in exec.Partial.
//   - failed: kind is an exec.Kind, what is the step or the user's function, [first, last) are the entries of file to
//     blame, and entry is the one that ran, or -1. errno says why a file could not be opened: an errno of the system,
//     -1 if only msg knows, -2 if it is not the file that was planned. stack is the stack trace; adds and cause are
//     as in exec.Failure. The process leaves, unless its role GoesOn.
//
// The next packet, or seal, may be sent before the last one is answered; requests are worked off in order. A process
// that writes a file at PATH writes PATH.tmpPID first, or files whose names begin so, or with .dtpnode-PID. beside it,
// and renames: the driver removes these if the process dies.
//
// # The page
//
// A memory file that a fork maps, of one page of 4096 bytes, and behind it the text of the stack of a crash. All
// numbers are in the byte order of the host, and each is written by one store. Only stop is written by the driver.
//
//	  0  u64  packet      id of the packet that runs, or ran last
//	  8  i64  entry       that runs, -1 outside of entries; a fork begins with -1
//	 16  u64  progress    grows with each entry and each change of phase: a process that is busy must show some
//	 24  u64  stop        written by the driver: packets with seq <= stop end at the next entry
//	 32  u32  phase       index into Config.Phases; 0 while it waits for a request
//	 36  u32  signal      set by the handler of a crash, before anything else
//	 40  i64  first, last the entries that an error of reading at entry spoils: its cluster
//	 56  u32  read error  1: the file lacks what the code reads; 2: it cannot be read; set last
//	 60  u32  length      of the text of the read error, which follows: at most 1024 bytes
//	 64       text
//	1088 u64  fault       the address that could not be used, of SIGSEGV and SIGBUS
//	1096 u64  data        bytes that RLIMIT_DATA counts, then; 0 if unknown
//	1104 u32  errno       then
//	1108 u32  known       fault is so
package child
