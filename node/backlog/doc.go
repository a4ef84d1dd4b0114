// Package backlog keeps calls of a program that are not in their job yet, so that they run when the program has been
// killed.
//
// A program appends to its job no more calls than the pool runs soon, so that those which wait can be cancelled. What
// has waited for some time it hands over to its daemon (api.ExchangeKeep), which keeps it in a file in the job's
// folder. As long as the program lives, its own appends say how far they have come, and nothing else is done with what
// is kept. When it is gone, the daemon appends the rest.
//
// Each call is in the job once, wherever the program or the daemon is killed. The program numbers its calls in the
// order in which it appends them, and each of its appends says below which number all calls are in the job, or were
// cancelled. Before an append is given to the engine, its number, the hash of its items and how far it comes are on
// file (Send), and outlive the host. Where the ledger has an append of which the file, since damaged, does not tell,
// nothing more is appended: calls are lost rather than run twice. The job's ledger takes one append with a number, and
// refuses others. So what the ledger has says, after any crash, from which call on the next append is to be made:
// Machine decides that, and has no input or output of its own.
//
//	machine.go   what is to be done          file.go      what is on disk
//	items.go     appends of what is kept     process.go   whether a program has ended
//	backlog.go   all of it for one job
package backlog
