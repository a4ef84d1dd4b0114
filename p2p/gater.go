package p2p

import (
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// gater is the allow-list of connections.
type gater struct {
	dial   func(peer.ID) bool // may be dialled
	accept func(peer.ID) bool // may connect
	listen func() bool        // anybody at all may connect
}

func (g *gater) InterceptPeerDial(id peer.ID) bool { return g.dial(id) }

func (g *gater) InterceptAddrDial(id peer.ID, _ ma.Multiaddr) bool { return g.dial(id) }

func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return g.listen() }

func (g *gater) InterceptSecured(dir network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	if dir == network.DirOutbound {
		return g.dial(id)
	}
	return g.accept(id)
}

func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
