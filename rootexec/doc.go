// Package rootexec runs user code with ROOT. It finds (or installs) a ROOT, builds the C++ child in child/
// against it once, and has package exec/child drive the processes of that child:
//
//	base zygote      ROOT loaded and warm, no user code; one for each daemon
//	└ selector zygote  fork of the base with one selector library loaded; one for each code hash
//	  ├ generation     fork; SlaveBegin, many packets, SlaveTerminate, one partial
//	  ├ input          fork with a large fInput, for one job; generations are forked from it then
//	  ├ collector      fork; puts objects of files into a blob for fInput
//	  ├ merger         fork; reads partials, writes their merge
//	  └ client         fork; Begin, later Terminate and the output file
//	planner, compiler  forks of the base zygote
//
// It owns the cache of compiled code and what ROOT's frames mean (child/protocol.h); it never links ROOT itself, and
// knows no job and no network.
package rootexec
