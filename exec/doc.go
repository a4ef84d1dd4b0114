// Package exec is the contract between a node and what runs user code, in words that fit ROOT, Python and the runtime
// of the tests alike. It owns the types of that contract, and runs nothing; it knows no job, no network and no ROOT.
//
//	runtime.go     Finder, Runtime, Program, Session, Generation: who does what
//	describe.go    what a user asks of a kind, and what becomes of it in a job's description
//	generation.go  how a generation runs, and what it reports
//	packet.go      inputs, packets and partials
//	result.go      results of jobs, and the files in them
//	placed.go      these files as they are written to a user's folder
//	selection.go   which entries of files are run, and what is read beside these
//	snapshot.go    what is there of an output that is not finished
//	items.go       blobs of items, which a job's user may append as its inputs
//	values.go      the values of single units, as far as a kind of work has any
//	failure.go     the closed set of ways to fail
//	limits.go      what a generation may take of its host
//
// A node meets a kind of work in this order. A Finder lists the runtimes of its kind on the host, which the node tells
// the other members; it starts nothing. Open makes one of them ready. On the node of who submits, Describe makes a
// Program from what the user named, and says what must be shipped so that any other node's Prepare makes the same
// Program. Each node then runs generations: Start, Lease packets, Seal a partial. Merge makes one partial of several.
// The submitting side is a Session: Begin before the first packet, Finish over the last partials.
//
// The words stand for these of the kinds there are:
//
//	contract           ROOT                                      a Python function
//	Program            a TSelector's class in a loaded library   the function, unpickled in a process
//	Session.Begin      TSelector::Begin                          nothing
//	Generation         SlaveBegin, Process..., SlaveTerminate    calls, and the sum of their results
//	Lease              a range of a tree's entries               a range of items
//	Partial            the output list, a blob                   the results, pickled
//	Merge              TObject::Merge                            the function that adds two results
//	Session.Finish     TSelector::Terminate, a ROOT file         the last sum, pickled
package exec
