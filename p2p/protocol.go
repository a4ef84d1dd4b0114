package p2p

import (
	"fmt"
	"strconv"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// protocolNumber changes when the meaning of what nodes say to each other does. A node also speaks the number
// before its own, down to oldestProtocol, so a cluster can be upgraded host by host; on each link the highest
// number that both sides speak counts. Number 1 told of members by statements, number 2 proved
// nothing of who leads a job.
const (
	protocolNumber = 3
	oldestProtocol = 3
)

// protocolStamp is another number for a build that tests how numbers get on with each other, set by the
// linker: -X github.com/dtpnode/dtpnode/p2p.protocolStamp=4
var protocolStamp string

// ownProtocol is the number of this build.
func ownProtocol() int {
	if n, err := strconv.Atoi(protocolStamp); err == nil && n > protocolNumber {
		return n
	}
	return protocolNumber
}

// speaks is what a node says of the protocol: the range of numbers that it understands.
type speaks struct {
	Protocol int // the newest
	Oldest   int // 0: that one alone
}

// Protocols are the numbers that nodes of this build speak, from the oldest to the newest.
func Protocols() (oldest, newest int) {
	s := Config{protocol: ownProtocol()}.speaks()
	return s.Oldest, s.Protocol
}

// Speaks is the newest number that this node speaks.
func (n *Node) Speaks() int { return n.cfg.protocol }

// speaks is the range of this node.
func (c Config) speaks() speaks {
	return speaks{Protocol: c.protocol, Oldest: max(min(oldestProtocol, c.protocol), c.protocol-1)}
}

// common is the number for a link between two nodes, 0 if there is none.
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

// versioned is the id of a protocol among nodes whose link has that number.
func versioned(number int, name string) protocol.ID {
	return protocol.ID(fmt.Sprintf("/dtpnode/%d/%s", number, name))
}

// Protocol is the number that this node and a linked peer talk by, 0 if there is no link: what an older peer
// would not understand is not said to it.
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
