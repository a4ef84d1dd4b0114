package p2p

import (
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// The address of a host can change while a node runs, or appear only after it has started: at boot, after sleep, in
// another room. A listener whose address was left open (Auto) moves to the new address; one whose address the user
// named stays where it is, and StaleListeners reports it.

// autoListener is a listener whose address the user left open.
type autoListener struct {
	listen string       // as it was configured
	at     ma.Multiaddr // where it listens
}

// listener returns the listen address in got that results from the request wanted, whose port may be 0.
func listener(got []ma.Multiaddr, wanted ma.Multiaddr) ma.Multiaddr {
	ip, port := ipOf(wanted), portOf(wanted)
	for _, a := range got {
		if ipOf(a).Equal(ip) && (port == 0 || port == portOf(a)) {
			return a
		}
	}
	return wanted
}

func ipOf(a ma.Multiaddr) net.IP {
	ip, err := manet.ToIP(a)
	if err != nil {
		return nil
	}
	return ip
}

// followAddresses moves the open listeners whenever the addresses of this host change, until the node closes.
func (n *Node) followAddresses() {
	tick := time.NewTicker(n.cfg.AddressCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
		if n.follow(ownAddresses(), routed) {
			n.membersChanged()
		}
	}
}

// follow moves the open listeners that nobody can connect to any more, and reports whether it moved any.
func (n *Node) follow(own []string, route func(ma.Multiaddr) string) (moved bool) {
	n.mu.Lock()
	all, others := slices.Clone(n.autoListeners), n.others()
	n.mu.Unlock()
	for i, c := range all {
		to := successor(ipOf(c.at), own, func() string { return facing(others, route) })
		if to == "" {
			continue
		}
		at, err := n.move(c, to)
		if err != nil {
			n.log.Warn("could not listen on the address that this host has now", "err", err)
			continue
		}
		n.mu.Lock()
		n.autoListeners[i].at = at
		if err = n.refreshAddresses(); err == nil {
			err = n.save()
		}
		n.mu.Unlock()
		if err != nil {
			n.log.Warn("could not note this node's new address", "err", err)
		}
		n.log.Info("this host has another address, and this node listens there now", "was", hostPort(c.at),
			"is", hostPort(at))
		moved = true
	}
	return moved
}

// successor is the address that a listener should move to, or empty if it should stay. It moves when it listens on
// loopback, for want of another address at the start, or when its address no longer belongs to this host.
func successor(was net.IP, own []string, facing func() string) string {
	if !was.IsLoopback() && slices.Contains(own, was.String()) {
		return ""
	}
	if to := facing(); to != was.String() {
		return to
	}
	return ""
}

// move opens a listener on another address, on the same port if that is free, and then closes the old one.
func (n *Node) move(c autoListener, to string) (ma.Multiaddr, error) {
	port, _ := OpenHost(c.listen)
	addr := net.JoinHostPort(to, port)
	a, err := listenAddr(n.ctx, addr, portOf(c.at))
	if err == nil && wantsAnyPort(addr) && tryListen(n.ctx, a) != nil {
		a, err = listenAddr(n.ctx, addr, 0)
	}
	if err == nil {
		err = n.host.Network().Listen(a)
	}
	if err != nil {
		return nil, err
	}
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.ListenClose(c.at)
	}
	return listener(n.host.Network().ListenAddresses(), a), nil
}

// StaleListeners returns the addresses, host:port, on which this node listens but which this host no longer has, so
// that nobody can connect to them. follows is true if all of them were left open, so that the node moves by itself once
// the host has another address.
func (n *Node) StaleListeners() (addrs []string, follows bool) {
	own := ownAddresses()
	n.mu.Lock()
	defer n.mu.Unlock()
	follows = true
	for _, a := range n.host.Network().ListenAddresses() {
		ip := ipOf(a)
		if ip == nil || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() ||
			slices.Contains(own, ip.String()) {
			continue
		}
		addrs = append(addrs, hostPort(a))
		follows = follows && slices.ContainsFunc(n.autoListeners, func(c autoListener) bool { return c.at.Equal(a) })
	}
	return addrs, follows
}
