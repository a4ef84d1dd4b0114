// Package control serves the control interface (node/api) as HTTP and JSON over a Unix socket in the daemon's state
// folder. It knows requests, bounds, streams and status codes; it owns the socket. It never decides and keeps no state:
// what a daemon, its members and its jobs are it asks through the interfaces below, one for each kind of thing that a
// user asks about.
//
//	books.go   the interfaces
//	server.go  the socket, routes, and what every request has in common
//	stream.go  answers that grow while they are read
package control
