package p2p

import (
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// gater is the allow-list of connections: libp2p's ConnectionGater.
type gater struct {
	dial    func(peer.ID) bool // a peer may be dialled
	accept  func(peer.ID) bool // an authenticated peer's incoming connection is accepted
	listen  func() bool        // incoming connections are expected at all
	pending *handshakes
}

func (g *gater) InterceptPeerDial(id peer.ID) bool { return g.dial(id) }

func (g *gater) InterceptAddrDial(id peer.ID, _ ma.Multiaddr) bool { return g.dial(id) }

func (g *gater) InterceptAccept(c network.ConnMultiaddrs) bool {
	if !g.listen() {
		return false
	}
	g.pending.add(c)
	return true
}

func (g *gater) InterceptSecured(dir network.Direction, id peer.ID, c network.ConnMultiaddrs) bool {
	if dir == network.DirOutbound {
		return g.dial(id)
	}
	g.pending.finish(c)
	return g.accept(id)
}

func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
