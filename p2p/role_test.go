package p2p

import (
	"errors"
	"testing"
	"time"
)

// The founder's role goes to another member, and with the recovery key to a third, though the founder's key was used in
// between. The cluster's name stays.
func TestFounderRolePassesOn(t *testing.T) {
	a, b := couple(t)
	c := open(t, config(t, "c"))
	c.join(a.invite(Worker))
	for _, n := range []*tnode{b, c} {
		n.up(0, a.ID())
	}
	c.up(0, b.ID())
	key, err := a.NewRecoveryKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.NewRecoveryKey(); !errors.Is(err, ErrRecoverySet) {
		t.Errorf("a second recovery key: %v", err)
	}
	if err := b.Handover(c.ID()); !errors.Is(err, ErrNotFounder) {
		t.Errorf("handover by who has not the role: %v", err)
	}
	if err := a.Handover(b.ID()); err != nil {
		t.Fatal(err)
	}
	founder := func(n *tnode, id PeerID) {
		t.Helper()
		n.wait(0, "the founder", func(Event) bool {
			for _, m := range n.Members() {
				if m.Founder {
					return m.ID == id && n.HasRight(id, Inviter)
				}
			}
			return false
		})
	}
	for _, n := range []*tnode{a, b, c} {
		founder(n, b.ID())
		n.wait(0, "the old founder as a member", func(Event) bool {
			return n.HasRight(a.ID(), Inviter) && n.HasRight(c.ID(), Worker)
		})
	}
	d := open(t, config(t, "d"))
	d.join(b.invite(Worker))
	d.up(0, c.ID())
	d.up(0, b.ID()) // the test waits for its end below
	if d.Cluster() != a.ID() {
		t.Errorf("the cluster is now called %s", d.Cluster())
	}
	if err := c.TakeBack("dtpkey1.AAAA"); !errors.Is(err, ErrRecoveryDamaged) {
		t.Errorf("a damaged key: %v", err)
	}
	at := d.seen()
	if err := c.TakeBack(key); err != nil {
		t.Fatal(err)
	}
	founder(d, c.ID())
	d.down(at, b.ID())
	d.wait(at, "MemberGone", func(e Event) bool { return e == MemberGone{ID: b.ID()} })
	if !c.HasRight(d.ID(), Worker) || d.HasRight(a.ID(), Worker) || c.HasRight(b.ID(), Worker) {
		t.Errorf("members after the take-back: %+v", c.Members())
	}
	// It all holds after a restart.
	c.stop()
	c = open(t, c.cfg)
	founder(c, c.ID())
	c.up(0, d.ID())
}

// A founder that gives its role to a node that is away stays a member until that node is back and publishes its
// register.
func TestHandoverToANodeThatIsAway(t *testing.T) {
	a, b := couple(t)
	b.stop()
	if err := a.Handover(b.ID()); err != nil {
		t.Fatal(err)
	}
	if !a.HasRight(a.ID(), Worker) || a.HasRight(a.ID(), Inviter) || len(a.Members()) != 2 {
		t.Errorf("members before the new founder has spoken: %+v", a.Members())
	}
	b = open(t, b.cfg)
	for _, n := range []*tnode{a, b} {
		n.wait(0, "the old founder with all rights", func(Event) bool {
			return n.HasRight(a.ID(), Inviter) && n.HasRight(b.ID(), Inviter)
		})
	}
}

// A member that leaves for good is gone everywhere at once, and its node is a cluster of its own afterwards.
func TestDepart(t *testing.T) {
	a, b := couple(t)
	if err := a.MayDepart(); !errors.Is(err, ErrFounderStays) {
		t.Errorf("the founder may leave: %v", err)
	}
	id := b.ID()
	if err := b.Depart(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.wait(0, "MemberGone", func(e Event) bool { return e == MemberGone{ID: id} })
	if len(a.Members()) != 1 {
		t.Errorf("members: %+v", a.Members())
	}
	a.Node.mu.Lock()
	if len(a.roster.departures) != 0 {
		t.Errorf("%d departures are kept", len(a.roster.departures))
	}
	a.Node.mu.Unlock()
	b = open(t, b.cfg)
	if b.Cluster() != b.ID() || b.ID() != id || len(b.Members()) != 1 {
		t.Errorf("it came back as %s in %s", b.ID(), b.Cluster())
	}
	b.join(a.invite(Worker))
	b.up(0, a.ID())
}

// An ephemeral member that vanishes is forgotten; one that is only slow to come back is not.
func TestEphemeralMembersAreForgotten(t *testing.T) {
	short := func(c *Config) { c.EphemeralFor = 3 * time.Second } // longer than a busy host needs to connect two nodes
	a, b := couple(t, short)
	cc := config(t, "c")
	c := open(t, cc)
	token, _, err := a.InviteEphemeral([]Right{Worker}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.join(token)
	d := open(t, config(t, "d"))
	if err := d.JoinEphemeral(t.Context(), a.invite(Worker)); err != nil {
		t.Fatal(err)
	}
	b.up(0, c.ID())
	b.up(0, d.ID())
	a.up(0, c.ID())
	a.up(0, d.ID())
	c.stop()
	d.stop()
	for _, n := range []*tnode{a, b} {
		for _, gone := range []*tnode{c, d} {
			n.wait(0, "MemberGone", func(e Event) bool { return e == MemberGone{ID: gone.ID()} })
		}
	}
	bid := b.ID()
	at := a.seen()
	b.stop()
	a.down(at, bid)
	a.Node.mu.Lock()
	changed, err := a.forget(time.Now().Add(8*7*24*time.Hour - time.Minute))
	still := a.roster.members[b.id].Peer == bid
	later, err2 := a.forget(time.Now().Add(8*7*24*time.Hour + time.Hour))
	_, in := a.roster.members[b.id]
	a.Node.mu.Unlock()
	if err != nil || err2 != nil || changed || !still || !later || in {
		t.Errorf("a member not seen for weeks: %v %v %v %v %v %v", changed, still, later, in, err, err2)
	}
	// It comes back by a new invitation, though it does not know that it was forgotten.
	b = open(t, b.cfg)
	b.join(a.invite(Worker))
	b.up(0, a.ID())
}
