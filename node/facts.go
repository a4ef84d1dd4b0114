package node

import "github.com/dtpnode/dtpnode/p2p"

// What commands need to know of the network without a daemon.

// Facing is the address, as host:port, with port 0, at which the inviter of a token would reach this host.
func Facing(token string) (string, error) { return p2p.Facing(token) }

// Auto is the host of a listen address that is chosen at each start, and anew when the host has another address.
const Auto = p2p.Auto

// CheckName says why a name is none for a node.
func CheckName(name string) error { return p2p.CheckName(name) }

// Protocols are the oldest and the newest number of the protocol between nodes that this binary speaks.
func Protocols() (oldest, newest int) { return p2p.Protocols() }
