package p2p

import (
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Networks give hosts other addresses while a node runs, or one only after it has started: at boot, after sleep, in
// another room. A listener whose address was left open (Auto) goes along; one whose address was named stays, and Adrift
// tells of it.

// chosen is a listener whose address was left open.
type chosen struct {
	listen string       // as it was configured
	at     ma.Multiaddr // where it listens
}

// listener is the one of got that was asked for as wanted, of which the port may be open.
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

// followAddresses has the chosen listeners follow the addresses of this host.
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

// follow moves the chosen listeners that nobody else can connect to any more, and reports whether there were any.
func (n *Node) follow(own []string, route func(ma.Multiaddr) string) (moved bool) {
	n.mu.Lock()
	all, others := slices.Clone(n.chosen), n.others()
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
		n.chosen[i].at = at
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

// successor is where a listener moves to whose address is one of loopback, since there was no other, or is not among
// this host's own any more; empty if it stays.
func successor(was net.IP, own []string, facing func() string) string {
	if !was.IsLoopback() && slices.Contains(own, was.String()) {
		return ""
	}
	if to := facing(); to != was.String() {
		return to
	}
	return ""
}

// move listens on another address, if possible on the same port, and then no more on the one before.
func (n *Node) move(c chosen, to string) (ma.Multiaddr, error) {
	port, _ := Chosen(c.listen)
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

// Adrift are the addresses, host:port, on which this node listens and which this host does not have any more, so that
// nobody can connect to them. follows says that it will listen elsewhere when the host has another address.
func (n *Node) Adrift() (addrs []string, follows bool) {
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
		follows = follows && slices.ContainsFunc(n.chosen, func(c chosen) bool { return c.at.Equal(a) })
	}
	return addrs, follows
}
