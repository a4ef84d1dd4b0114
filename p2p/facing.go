package p2p

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Auto is the host of a listen address that the node chooses, at each start and again whenever this host loses the
// chosen address: the address by which it reaches the other members. The choice is not saved, since networks give hosts
// other addresses over time.
const Auto = "auto"

// OpenHost reports whether a listen address, host:port, leaves the host open, and which port it names.
func OpenHost(listen string) (port string, ok bool) {
	host, port, err := net.SplitHostPort(listen)
	return port, err == nil && host == Auto
}

// Facing is the address by which this host reaches the inviter of a token, with its present routes. It is empty if that
// is a loopback address, or there is no route. Nothing is sent.
func Facing(text string) (string, error) {
	t, err := parseToken(text)
	if err != nil {
		return "", err
	}
	for _, a := range t.addrs {
		if own := routed(a); own != "" {
			return own, nil
		}
	}
	return "", nil
}

// routed is the address of this host from which its routes lead to an address. It is empty for loopback and without a
// route.
func routed(to ma.Multiaddr) string {
	addr, err := manet.ToNetAddr(to)
	if err != nil {
		return ""
	}
	c, err := net.Dial("udp", addr.String()) // the kernel chooses the local address by the route; no packet is sent
	if err != nil {
		return ""
	}
	local, ok := c.LocalAddr().(*net.UDPAddr)
	_ = c.Close()
	if !ok || local.IP.IsLoopback() || local.IP.IsUnspecified() {
		return ""
	}
	return local.IP.String()
}

// anywhere is an address that no host has (TEST-NET-1), so the route to it is the default route.
var anywhere = ma.StringCast("/ip4/192.0.2.1/tcp/1")

// resolve replaces an open host in a listen address by the address that faces the other members, else by that of the
// default route, else by loopback. From loopback a node can still dial others, and it moves once there is a route.
func (n *Node) resolve(listen string) string {
	port, open := OpenHost(listen)
	if !open {
		return listen
	}
	own := n.cfg.Face
	if own == "" {
		own = facing(n.others(), routed)
	}
	if own == "" {
		own = "127.0.0.1"
		if len(n.roster.members) > 1 {
			n.cfg.Log.Warn("no route leads to any other member: this node listens on this host alone until one does")
		}
	}
	return net.JoinHostPort(own, port)
}

// others returns the addresses of the other members, in the order of their ids. n.mu is held, once the node runs.
func (n *Node) others() (all [][]ma.Multiaddr) {
	for _, id := range slices.Sorted(maps.Keys(n.roster.members)) {
		if id != n.id {
			all = append(all, n.roster.addresses[id].addrs)
		}
	}
	return all
}

// facing is the address from which routes lead to the most of the other members, the first in order if several do, else
// that of the default route. It is empty if there is none of these.
func facing(others [][]ma.Multiaddr, route func(ma.Multiaddr) string) string {
	count := map[string]int{}
	for _, addrs := range others {
		for _, a := range addrs {
			if own := route(a); own != "" {
				count[own]++
				break
			}
		}
	}
	best := ""
	for own, c := range count {
		if cmp.Or(cmp.Compare(c, count[best]), strings.Compare(best, own)) > 0 {
			best = own
		}
	}
	return cmp.Or(best, route(anywhere))
}

// ListenError says why a node could not listen on an address.
type ListenError struct {
	Addr string // host:port
	Err  error
}

func (e *ListenError) Error() string {
	why := e.Err.Error()
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		why = "another program uses this port"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		why = "this host does not have that address"
		if own := ownAddresses(); len(own) > 0 {
			why += ", but " + strings.Join(own, ", ")
		}
	case errors.Is(e.Err, syscall.EACCES):
		why = "ports below 1024 need rights"
	}
	return fmt.Sprintf("could not listen on %s: %s", e.Addr, why)
}

func (e *ListenError) Unwrap() error { return e.Err }

// ownAddresses returns the addresses by which other hosts may reach this one.
func ownAddresses() (own []string) {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			own = append(own, n.IP.String())
		}
	}
	slices.Sort(own)
	return own
}

// tryListen reports why a node could not listen on a now. The errors of libp2p do not tell the reason in a form that a
// program can read.
func tryListen(ctx context.Context, a ma.Multiaddr) error {
	n, err := manet.ToNetAddr(a)
	if err != nil {
		return &ListenError{a.String(), err}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", n.String())
	if err != nil {
		return &ListenError{n.String(), err}
	}
	return l.Close()
}
