package p2p

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// TestFacingMembers: the address from which most of the other members are reached is chosen. This node's own addresses
// do not count, nor do those to which no route leads.
func TestFacingMembers(t *testing.T) {
	route := func(to ma.Multiaddr) string {
		ip, _ := to.ValueForProtocol(ma.P_IP4)
		switch {
		case strings.HasPrefix(ip, "10.1."):
			return "10.1.0.9"
		case strings.HasPrefix(ip, "10.2."):
			return "10.2.0.9"
		}
		return ""
	}
	for want, addrs := range map[string][]string{
		"10.1.0.9": {"10.1.0.9", "10.1.0.1", "10.2.0.2", "10.1.0.3"},
		"10.2.0.9": {"10.1.0.9", "10.2.0.2", "10.3.0.1"},
		"":         {"10.1.0.9", "10.3.0.1"},
	} {
		n := &Node{id: "0", roster: newRoster("0")}
		for i, a := range addrs {
			id := peer.ID(rune('0' + i))
			n.roster.members[id] = member{}
			n.roster.addresses[id] = place{addrs: []ma.Multiaddr{ma.StringCast("/ip4/" + a + "/tcp/4001")}}
		}
		if got := facing(n.others(), route); got != want {
			t.Errorf("%q: got %q, want %q", addrs, got, want)
		}
	}
}

// TestListenErrors: the error says why a node cannot listen on an address, in a form that callers can distinguish.
func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		addr, says string
		is         error
	}{
		{taken.Addr().String(), "another program uses this port", syscall.EADDRINUSE},
		{"192.0.2.77:0", "this host does not have that address", syscall.EADDRNOTAVAIL},
	} {
		n := &Node{cfg: Config{Listen: []string{tc.addr}}.withDefaults(), roster: newRoster("0")}
		_, err := n.listenOn(t.Context(), tc.addr)
		var no *ListenError
		if !errors.As(err, &no) || !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.addr, err)
		}
	}
}
