// Package pyexec runs Python code over items: it is the kind of work "Python" of package exec. What runs the code is an
// interpreter of the host, driven by package child, as child/ has it in Python.
//
//	finder.go    interpreters on this host
//	libs.go      what the child needs of other people's libraries
//	place.go     interpreters that run: the runtime's own, and those of environments
//	envs.go      environments in the cache; envbuild.go, lockfile.go, untar.go: how one is made
//	along.go     what a job brings beside its code: an environment, files
//	runtime.go   an interpreter that runs, warm
//	spec.go      what a user asks of Python, and what of that goes to other nodes
//	spare.go     a process that waits for the next generation
//	warm.go      processes that have imported modules, and wait for code
//	apart.go     processes for what may have killed others
//	program.go   code that was loaded: generations and merges
//	session.go   the submitting side
//	partial.go   the file format of partials and results
//	merge.go     merging values, without Python
//	show.go      values as text, by show.py
//	stack.go     where a process crashed
//
// The package owns the processes that it starts. It never decides what is run where, and knows no network.
package pyexec
