// Package store is what a node has on its disk. It knows files, their hashes and which of them other nodes may fetch;
// it owns the folders below the daemon's state and scratch folder, and gives each file format a type. It never decides:
// what is to be kept, made or deleted the layers above say, and it runs no protocol, no child and no job.
//
//	blobs.go       bytes that others may fetch by their SHA-256, wherever they lie
//	transfers.go   what is on its way here
//	signature.go   who signed a job's description
//	copy.go        one copy of a job's ledger: its files, its log and the room that is held for that
//	ledgers.go     the copies of ledgers, each with one writer, through restarts
//	kept.go        committed partials that lie with a copy
//	superseded.go  copies that were given up for a recovery
//	results.go     jobs that have ended: status, output, and what is noted of them
//	ends.go        proofs of how jobs ended
//	parts.go       what partial results were made of, for a retry
//	retention.go   how long all that stays, and by whose clock: ages.go
//	boot.go        how often the daemon was started
//	damage.go      files that cannot be used, with what to do about it
//	hash.go        files and their hashes
//	disk.go        which errors are this node's disk's, and how full it is
package store
