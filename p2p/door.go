package p2p

import (
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	manet "github.com/multiformats/go-multiaddr/net"
)

// These are bounds on what strangers hold while an invitation is open. Early arrivals keep nobody out: when the places
// are taken, the stranger that connected first loses its place, of those at the address that holds the most. One that
// has shown a token's secret keeps its place.
const (
	firstWordTime = 3 * time.Second  // time within which a stranger must show a token
	strangerTime  = 15 * time.Second // time within which it must be a member
)

// places are how many connections of strangers there may be at a time.
type places struct {
	all     int
	address int // of one address, which may be that of a whole site
}

// strangersPlaces are those of every node. Tests have fewer, since whoever fills them does as much work as the node.
var strangersPlaces = places{all: 256, address: 128}

// stranger is a connection of a peer that is not a member.
type stranger struct {
	addr   string
	since  time.Time
	proven bool // it has shown the secret of an open invitation
}

// addressOf is the address by which strangers are counted: an IPv4 address, or the /64 network of an IPv6 one.
func addressOf(c network.ConnMultiaddrs) string {
	a, err := manet.ToNetAddr(c.RemoteMultiaddr())
	tcp, ok := a.(*net.TCPAddr)
	if err != nil || !ok {
		return ""
	}
	if v4 := tcp.IP.To4(); v4 != nil {
		return v4.String()
	}
	return tcp.IP.Mask(net.CIDRMask(64, 128)).String()
}

// watchStranger gives a stranger a place if there is one, and closes its connection when its time is over.
func (n *Node) watchStranger(c network.Conn) {
	id := c.RemotePeer()
	n.mu.Lock()
	if _, member := n.roster.members[id]; member || id == n.joining {
		n.mu.Unlock()
		return
	}
	addr := addressOf(c)
	evicted, ok := n.makeRoom(addr)
	if ok {
		n.strangers[c] = &stranger{addr: addr, since: time.Now()}
	}
	n.mu.Unlock()
	n.spawn(func() {
		if evicted != nil {
			_ = evicted.Close()
		}
		if ok {
			n.waitFor(c, firstWordTime)
			if n.isProven(c) {
				n.waitFor(c, strangerTime-firstWordTime)
			}
		}
		n.mu.Lock()
		delete(n.strangers, c)
		n.mu.Unlock()
		if !n.isMember(id) {
			_ = c.Close()
		}
	})
}

// makeRoom makes room for a stranger from addr. evicted is the connection that must be closed for it, if any; ok is
// false if all that could be closed have shown a token. n.mu is held.
func (n *Node) makeRoom(addr string) (evicted network.Conn, ok bool) {
	count := map[string]int{}
	for _, s := range n.strangers {
		count[s.addr]++
	}
	from := ""
	switch {
	case count[addr] >= n.places.address:
		from = addr
	case len(n.strangers) < n.places.all:
		return nil, true
	}
	for c, s := range n.strangers {
		if s.proven || from != "" && s.addr != from {
			continue
		}
		if evicted != nil {
			best := n.strangers[evicted]
			if a, b := count[s.addr], count[best.addr]; a < b || a == b && !s.since.Before(best.since) {
				continue
			}
		}
		evicted = c
	}
	if evicted == nil {
		return nil, false
	}
	delete(n.strangers, evicted)
	return evicted, true
}

// prove notes that a stranger has shown the secret of an invitation, and so keeps its place.
func (n *Node) prove(c network.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.strangers[c]; s != nil {
		s.proven = true
	}
}

func (n *Node) isProven(c network.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.strangers[c]
	return s != nil && s.proven
}
