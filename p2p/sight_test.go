package p2p

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// member is n's view of another member.
func (n *tnode) member(id PeerID) Member {
	for _, m := range n.Members() {
		if m.ID == id {
			return m
		}
	}
	return Member{}
}

// TestLeftAndLost: a member that left is distinguished from one that was lost, also after a restart of the observer.
func TestLeftAndLost(t *testing.T) {
	a, b := couple(t)
	c := open(t, config(t, "c"))
	c.join(a.invite(Worker))
	a.up(0, c.ID())
	if m := a.member(c.ID()); m.Left || m.Seen.IsZero() {
		t.Errorf("of a member that is up: %+v", m)
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.down(0, b.ID())
	_ = c.host.Close() // without a farewell
	a.down(0, c.ID())
	for range 2 {
		if m := a.member(b.ID()); m.Up || !m.Left || m.Seen.IsZero() {
			t.Errorf("of a member that left: %+v", m)
		}
		if m := a.member(c.ID()); m.Up || m.Left || m.Seen.IsZero() {
			t.Errorf("of a member that is lost: %+v", m)
		}
		a.stop()
		a = open(t, a.cfg)
	}
}

// TestDialsAreDescribed: why a member is not up names each address that was tried.
func TestDialsAreDescribed(t *testing.T) {
	a, b := couple(t)
	id, addr := b.ID(), b.Addrs()[0]
	b.stop()
	a.down(0, id)
	for late := time.Now().Add(patience); !strings.Contains(a.member(id).Problem, addr); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the problem is %q", a.member(id).Problem)
		}
	}
	want := "could not connect to " + addr + ": connect: connection refused"
	if got := a.member(id).Problem; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := describeDial(&dialError{err: errors.New("no addresses")}); !strings.Contains(got, "no address") {
		t.Error(got)
	}
	if got := cause(&net.OpError{Op: "dial", Err: errors.New("no route to host")}, 0); got != "no route to host" {
		t.Error(got)
	}
}

// TestRevokedWhileAway: a member that was expelled while it was away learns so, with signed proof, when it comes back,
// and remembers by whom.
func TestRevokedWhileAway(t *testing.T) {
	for _, revoke := range []bool{true, false} {
		a, b := couple(t)
		id := b.ID()
		if err := a.Forget(t.Context(), id); !errors.Is(err, ErrStillUp) {
			t.Errorf("a member that is up was forgotten: %v", err)
		}
		b.stop()
		a.down(0, id)
		end := a.Forget
		if revoke {
			end = a.Revoke
		}
		if err := end(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		a.stop()
		a = open(t, a.cfg) // a also remembers former members after a restart
		b = open(t, b.cfg)
		b.wait(0, "its own end", func(Event) bool { return !b.HasRight(id, Worker) })
		for range 2 {
			out, is := b.Expelled()
			if !is || out.By != a.ID() || out.ByName != "a" || out.Revoked != revoke || out.Since.IsZero() {
				t.Errorf("revoked %v: told %+v, %v", revoke, out, is)
			}
			b.stop()
			b = open(t, b.cfg)
		}
		b.join(a.invite(Worker))
		b.up(0, a.ID())
		if out, is := b.Expelled(); is {
			t.Errorf("a member again, and %+v", out)
		}
	}
}

// TestDepartWhereRevoked: a node that was expelled can leave for good and begin anew.
func TestDepartWhereRevoked(t *testing.T) {
	a, b := couple(t)
	if err := a.Revoke(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	b.wait(0, "its revocation", func(Event) bool { return !b.HasRight(b.ID(), Worker) })
	if err := b.Depart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b = open(t, b.cfg)
	if _, is := b.Expelled(); is || len(b.Members()) != 1 || b.Cluster() != b.ID() {
		t.Errorf("%+v of %s", b.Members(), b.Cluster())
	}
}

// TestProofIsNotForStrangers: a peer that never was a member is not told who is.
func TestProofIsNotForStrangers(t *testing.T) {
	a, b := couple(t)
	if err := a.Revoke(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	a.wait(0, "MemberGone", func(e Event) bool { return e == MemberGone{ID: b.ID()} })
	a.Node.mu.Lock()
	a.invites = nil
	a.Node.mu.Unlock()
	if stranger := someone(t); a.mayComeIn(stranger.id) {
		t.Error("a stranger may connect")
	}
	if !a.mayComeIn(b.id) || a.mayConnect(b.id) {
		t.Error("who was a member may not ask")
	}
}

// TestMeta: what a node tells of itself reaches linked members when it changes, and one that changes it all the time is
// heard now and then.
func TestMeta(t *testing.T) {
	a, b := couple(t)
	if err := b.SetMeta(strings.Repeat("x", MaxMeta+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a text that is too long: %v", err)
	}
	for _, meta := range []string{"has ROOT", "has none"} {
		if err := b.SetMeta(meta); err != nil {
			t.Fatal(err)
		}
		a.wait(0, "what it tells", func(e Event) bool {
			c, ok := e.(PeerChanged)
			return ok && c.ID == b.ID() && c.Info.Meta == meta && c.Info.Name == b.Name()
		})
		if got := a.member(b.ID()).Meta; got != meta {
			t.Errorf("it is taken to tell %q", got)
		}
	}
	a.Node.mu.Lock()
	l := a.links[b.id]
	a.Node.mu.Unlock()
	for i := range 100 {
		a.metaChanged(l, strings.Repeat("x", 1+i%2))
	}
	a.wait(0, "a change", func(e Event) bool { c, ok := e.(PeerChanged); return ok && c.Info.Meta == "x" })
	taken := 0
	a.mu.Lock()
	for _, e := range a.log {
		if _, ok := e.(PeerChanged); ok {
			taken++
		}
	}
	a.mu.Unlock()
	if taken > 50 {
		t.Errorf("%d changes at once are taken", taken)
	}
}

// TestRename: a new name reaches all members at once, and in the end the register of the inviter.
func TestRename(t *testing.T) {
	a, b := couple(t)
	for _, name := range []string{"", " x", "a\tb", strings.Repeat("x", maxName+1), "\xff"} {
		if err := b.Rename(name); err == nil {
			t.Errorf("renamed to %q", name)
		}
	}
	if err := b.Rename("Zürich-3"); err != nil {
		t.Fatal(err)
	}
	a.wait(0, "the new name", func(Event) bool { return a.member(b.ID()).Name == "Zürich-3" })
	a.Node.mu.Lock()
	changed, err := a.refreshNames()
	again, _ := a.refreshNames()
	name := a.roster.members[b.id].Name
	a.Node.mu.Unlock()
	if !changed || again || err != nil || name != "Zürich-3" {
		t.Errorf("changed %v, again %v, %v: the register says %q", changed, again, err, name)
	}
	a.Node.mu.Lock()
	l := a.links[b.id]
	a.Node.mu.Unlock()
	for range 100 {
		a.renamed(l, "x")
		a.renamed(l, "y")
	}
	if name := a.member(b.ID()).Name; name != "x" && name != "y" {
		t.Errorf("it is called %q", name)
	}
}
