// Package store is what a node has on its disk. It knows files, their hashes and which of them other nodes may fetch;
// it owns the folders below the daemon's state and scratch folder, and gives each file format a type. It never decides:
// what is to be kept, made or deleted the layers above say, and it runs no protocol, no child and no job.
//
//	blobs.go      bytes that others may fetch by their SHA-256, wherever they lie
//	transfers.go  what is on its way here
//	signature.go  who signed a job's description
//	hash.go       files and their hashes
//	disk.go       which errors are this node's disk's, and how full it is
package store
