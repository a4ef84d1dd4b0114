package p2p

import (
	"net"
	"slices"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

// TestSuccessor: a listener moves only from loopback, and from an address that the host no longer has.
func TestSuccessor(t *testing.T) {
	for _, tc := range []struct {
		was    string
		own    []string
		facing string
		want   string
	}{
		{"10.1.0.9", []string{"10.1.0.9"}, "10.1.0.9", ""},
		{"10.1.0.9", []string{"10.1.0.9", "10.2.0.9"}, "10.2.0.9", ""}, // a better route alone is no reason to move
		{"10.1.0.9", []string{"10.2.0.9"}, "10.2.0.9", "10.2.0.9"},
		{"10.1.0.9", nil, "", ""}, // no network
		{"127.0.0.1", []string{"10.2.0.9"}, "10.2.0.9", "10.2.0.9"},
		{"127.0.0.1", nil, "", ""},
	} {
		if got := successor(net.ParseIP(tc.was), tc.own, func() string { return tc.facing }); got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}

// TestListenersFollow: a node that had no network at its start later listens where the others reach it, on the same
// port, and announces that.
func TestListenersFollow(t *testing.T) {
	n := ownAddresses()
	i := slices.IndexFunc(n, func(a string) bool { return net.ParseIP(a).To4() != nil })
	if i < 0 {
		t.Skip("NOT TESTED: this host has no address but loopback")
	}
	own := n[i]
	cfg := config(t, "b")
	cfg.Listen, cfg.Face = []string{"auto:0"}, "127.0.0.1"
	cfg.AddressCheck = 1 << 50 // the test calls follow itself
	a, b := open(t, config(t, "a")), open(t, cfg)
	b.join(a.invite(Worker))
	a.up(0, b.ID())
	was := b.Addrs()[0]
	if b.follow(n, func(ma.Multiaddr) string { return "" }) {
		t.Error("it moved without an address to move to")
	}
	if !b.follow(n, func(ma.Multiaddr) string { return own }) {
		t.Fatal("it did not move")
	}
	b.membersChanged()
	_, port, _ := net.SplitHostPort(was)
	want := []string{net.JoinHostPort(own, port)}
	if got := b.Addrs(); !slices.Equal(got, want) {
		t.Errorf("it tells %q, want %q", got, want)
	}
	told := func(Event) bool {
		return slices.ContainsFunc(a.Members(), func(m Member) bool { return m.ID == b.ID() && slices.Equal(m.Addrs, want) })
	}
	a.wait(0, "the new address", told)
	if _, err := net.Dial("tcp", was); err == nil {
		t.Errorf("it still listens on %s", was)
	}
	if lost, _ := b.StaleListeners(); len(lost) > 0 {
		t.Errorf("adrift: %q", lost)
	}
	if b.follow(n, func(ma.Multiaddr) string { return own }) {
		t.Error("it moved again")
	}
}
