package p2p

import (
	"fmt"
	"strconv"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// protocolNumber is raised when the meaning of what nodes send to each other changes. A node also speaks the number
// before its own, down to oldestProtocol, so that a cluster can be upgraded host by host; a link uses the highest
// number that both sides speak. Number 1 described members by statements; number 2 had no proof of who leads a job;
// number 3 told of one version of ROOT for each node, and described jobs of selectors alone.
const (
	protocolNumber = 4
	oldestProtocol = 4
)

// protocolStamp overrides the number in a build that tests how different numbers work together. The linker sets it: -X
// github.com/dtpnode/dtpnode/p2p.protocolStamp=5
var protocolStamp string

// ownProtocol is the number of this build.
func ownProtocol() int {
	if n, err := strconv.Atoi(protocolStamp); err == nil && n > protocolNumber {
		return n
	}
	return protocolNumber
}

// speaks is the range of protocol numbers that a node understands.
type speaks struct {
	Protocol int // the newest
	Oldest   int // 0: Protocol alone
}

// Protocols returns the range of protocol numbers that nodes of this build speak.
func Protocols() (oldest, newest int) {
	s := Config{protocol: ownProtocol()}.speaks()
	return s.Oldest, s.Protocol
}

// Speaks is the newest protocol number that this node speaks.
func (n *Node) Speaks() int { return n.cfg.protocol }

// speaks is the range of protocol numbers of a node with this configuration.
func (c Config) speaks() speaks {
	return speaks{Protocol: c.protocol, Oldest: max(min(oldestProtocol, c.protocol), c.protocol-1)}
}

// common is the number to use between two nodes, 0 if they have none in common.
func (s speaks) common(o speaks) int {
	n := min(s.Protocol, o.Protocol)
	if n < s.oldest() || n < o.oldest() || n < 1 {
		return 0
	}
	return n
}

func (s speaks) oldest() int {
	if s.Oldest == 0 {
		return s.Protocol
	}
	return s.Oldest
}

// versioned is the libp2p protocol id of a service on links with a protocol number.
func versioned(number int, name string) protocol.ID {
	return protocol.ID(fmt.Sprintf("/dtpnode/%d/%s", number, name))
}

// Protocol is the protocol number of the link to a peer, 0 without a link. Callers use it to send older peers nothing
// that they do not understand.
func (n *Node) Protocol(id PeerID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p, l := range n.links {
		if p.String() == id {
			return l.protocol
		}
	}
	return 0
}

// protocolError says which of two hosts must be upgraded for them to talk.
func (n *Node) protocolError(theirs speaks, name, version string) error {
	if name = clip(name); name == "" {
		name = "the peer"
	}
	old, oldName, least := n.cfg.speaks(), fmt.Sprintf("this host (%s)", n.Name()), theirs.oldest()
	if theirs.Protocol < old.Protocol {
		old, oldName, least = theirs, name, n.cfg.speaks().oldest()
	}
	return fmt.Errorf("%w: %s runs dtpnode %s (protocol %d), this host (%s) runs %s (protocol %d): upgrade dtpnode on "+
		"%s, which speaks protocol %d, to one that speaks %d or later",
		ErrProtocol, name, clip(version), theirs.Protocol, n.Name(), n.cfg.Version, n.cfg.protocol, oldName, old.Protocol,
		least)
}
