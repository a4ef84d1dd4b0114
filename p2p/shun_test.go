package p2p

import (
	"strings"
	"testing"
	"time"
)

// A shunned member is disconnected with a reason that both sides know, cannot come back for a while, and can
// afterwards. It stays a member.
func TestShun(t *testing.T) {
	a, b := couple(t, func(c *Config) { c.ShunFor = time.Second })
	at, bt := a.seen(), b.seen()
	if err := a.Shun(b.ID(), "it lied\nabout work"); err != nil {
		t.Fatal(err)
	}
	at = a.down(at, b.ID())
	e, bt := b.wait(bt, "PeerDown", func(e Event) bool { _, ok := e.(PeerDown); return ok })
	if d := e.(PeerDown); !strings.Contains(d.Reason, "shunned") || !strings.Contains(d.Reason, "it lied") {
		t.Errorf("the shunned member was told %q", d.Reason)
	}
	for _, m := range a.Members() {
		if m.ID == b.ID() && (m.Up || !strings.Contains(m.Problem, "it lied") || strings.Contains(m.Problem, "\n")) {
			t.Errorf("the one that shuns shows %+v", m)
		}
	}
	if !a.isMember(b.id) {
		t.Error("a shunned member is no member any more")
	}
	a.up(at, b.ID())
	b.up(bt, a.ID())
}

func TestShunGrows(t *testing.T) {
	a, b := couple(t)
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if err := a.Shun(b.ID(), "again"); err != nil {
			t.Fatal(err)
		}
		a.Node.mu.Lock()
		left := time.Until(a.shunned[b.id].until)
		a.Node.mu.Unlock()
		if left > want || left < want/2 {
			t.Errorf("time %d: shunned for %v, want %v", i, left, want)
		}
	}
	for range 100 {
		_ = a.Shun(b.ID(), "again")
	}
	a.Node.mu.Lock()
	left := time.Until(a.shunned[b.id].until)
	a.Node.mu.Unlock()
	if left > maxShun || left <= 0 {
		t.Errorf("in the end shunned for %v", left)
	}
	if a.mayConnect(b.id) || a.mayDial(b.id) {
		t.Error("the gater lets a shunned member in")
	}
	if a.Shun(a.ID(), "") == nil || a.Shun(someone(t).id.String(), "") == nil || a.Shun("nobody", "") == nil {
		t.Error("shunned who is no other member")
	}
}
