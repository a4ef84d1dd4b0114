// Package rootexec runs user code. It finds (or installs) a ROOT, builds the C++ child in child/
// against it once, and drives the processes of that child:
//
//	base zygote      ROOT loaded and warm, no user code; one for each daemon
//	└ selector zygote  fork of the base with one selector library loaded; one for each code hash
//	  ├ generation     fork; SlaveBegin, many packets, SlaveTerminate, one partial
//	  ├ merger         fork; reads partials, writes their merge
//	  └ client         fork; Begin, later Terminate and the output file
//	planner, compiler  forks of the base zygote
//
// dtpnode itself never links ROOT. Parent and child speak msgpack frames (4 bytes big-endian length,
// then one map) on Unix socket pairs; child/protocol.h lists the frames.
package rootexec
