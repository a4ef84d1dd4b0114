// Package rootexec runs user code with ROOT. It finds (or installs) a ROOT, builds the C++ child in child/
// against it once, and has package exec/child drive the processes of that child:
//
//	base zygote      ROOT loaded and warm, no user code; one for each daemon
//	└ selector zygote  fork of the base with one selector library loaded; one for each code hash
//	  ├ generation     fork; SlaveBegin, many packets, SlaveTerminate, one partial
//	  ├ input          fork with a large fInput, for one job; generations are forked from it then
//	  ├ collector      fork; puts objects of files into a blob for fInput
//	  ├ merger         fork; reads partials, writes their merge
//	  ├ viewer         fork that stays; merges what is watched of a job that runs
//	  ├ client         fork; Begin, later Terminate and the output file
//	  └ check          fork; makes one object of the class, to see that it can be made
//	planner, compiler  forks of the base zygote
//
// It owns the cache of compiled code and what ROOT's frames mean (child/protocol.h); it never links ROOT itself, and
// knows no job and no network.
//
// A ROOT, and the child that is built for it:
//
//	finder.go      exec.Finder                     root.go        an installation, by its files
//	install.go     the wheel                       version.go     which versions
//	build.go       compiling child/                prooflib.go    compiling proof/
//	executor.go    exec.Runtime                    driver.go      what exec/child has to know of the child
//	frames.go      what is said to processes       lock.go        daemons that share a cache
//
// The code of a user, from what is asked for to a selector that is loaded:
//
//	spec.go        what a user asks for            source.go      code, and what goes with it
//	libs.go        libraries                       packages.go    PAR packages
//	compile.go     ACLiC                           explain.go     errors of compiling and loading
//	cache.go       what was compiled               pack.go        the same on its way to other nodes
//	prune.go       what of it goes                 selector.go    selectors that are loaded
//	whole.go       code that may give files up     seed.go        generators that a seed does not reach
//	perfile.go     code that adds up files         named.go       files and variables that code names
//	casts.go       types of parameters that code names
//
// What runs of a job:
//
//	program.go     exec.Program                    inputlist.go   fInput
//	plan.go        inputs, and lists in them       generation.go  SlaveBegin to SlaveTerminate
//	merge.go       partials become one             counted.go     what one counts, without ROOT
//	client.go      Begin and Terminate             canvases.go    pictures of canvases
//	viewer.go      what is watched                 cause.go       why a file cannot be opened
//
// The child, in child/, by what its files are about; each header says what is in it:
//
//	processes      main warm zygote roles channel page protocol guard rootguard isolate
//	code           code selector proof compat
//	inputs         input friends lastrows selection runs listing inputlist number place
//	a generation   generation notifies perfile clones namesakes skips status random limits drawn entrylist localfiles
//	               outputfile
//	outputs        blob spanfile merge combine tally axes filemerge mergefiles results kepttree aside feedback client
//	               world
package rootexec
