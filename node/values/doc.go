// Package values keeps what units of a job have made for other units of it, on the node where they ran.
//
// A graph of tasks is a job whose units take results of others (tasks.File, Depends). What they hand to each other is
// in no partial, since it is nothing that the user has asked for, and may be far more than that: it stays on the node
// that made it, and goes straight to a node where a unit needs it. Nothing here is part of what the ledger promises. A
// value whose node is gone is made again by whoever needs it, from the unit's item and what that takes, so that exactly
// what is needed is made again; that is the child's work (python/src/dtpnode), since it is user code.
//
//	store.go  which values are here, and in which files
//	fetch.go  values that come from other members
//	trim.go   values that nobody needs any more
//	serve.go  what children ask for, over a socket
//
// A unit's outcome is a list of values, its slots, which are counted from 0. They are bytes to this package. Files of
// values are packs: a process writes the values of all units that it runs into one, and the node has it under a name of
// its own from the first of them on, so that it outlives the process. Packs are on disk, and in memory as far as the
// system has room for them.
//
// # What children ask for
//
// A child finds the path of a Unix stream socket in the environment variable DTPNODE_VALUES. Requests and answers are
// maps in msgpack behind their length, four bytes, big-endian. Answers come in the order of the requests:
//
//	{op: "keep", unit, path, values: [[at, size, SHA-256], ...], hold} -> {op: "kept"}
//	    the outcome of a unit is in the file at path, below the job's folder; it is removed when all units that take it
//	    are committed, unless hold says that others may come
//	{op: "get", want: [[unit, slot], ...]} -> {op: "got", values: [[path, at, size] or nil, ...]}
//	    where values are on this host; nil for one that nobody has who can be asked
//	{op: "item", unit} -> {op: "item", path, at}
//	    the blob of items (exec/items.go) in which the unit's item is, and its number there
//
// A request may have the name of an earlier job, as job, whose units are meant then: what is persisted stays with the
// job that has made it, which is open for as long as its user wants that, and is taken by units of later ones.
//
// What fails is answered with {op: "failed", why, over}, where over says that the earlier job has ended.
package values
