package quorum_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/quorum"
)

// TestVotersSeal has a text sealed by three, of whom some were given another one.
func TestVotersSeal(t *testing.T) {
	for others := range 3 {
		m := newModel(1, 3)
		m.run(2 * time.Second)
		lead, text := m.leader(), []byte("the end")
		for i, n := range m.nodes {
			if n == lead {
				m.step(n, quorum.ToSeal{Text: text})
			} else if i <= others {
				m.step(n, quorum.ToSeal{Text: []byte("another end")})
			} else {
				m.after(700*time.Millisecond, func() { m.step(n, quorum.ToSeal{Text: text}) }) // asked again
			}
		}
		m.run(2 * time.Second)
		s, ok := lead.r.Sealed()
		if want := others < 2; ok != want || len(m.wrong) > 0 {
			t.Errorf("%d of 3 have another text: sealed %v; %v", others, ok, m.wrong)
		}
		if err := quorum.CheckSeal(trust("p0", "p1", "p2"), text, s); ok && err != nil {
			t.Error(err)
		}
	}
}

// TestLoneFounderProvesItself: a single voter proves that it leads without anybody else.
func TestLoneFounderProvesItself(t *testing.T) {
	self := voters("a")
	g := newRig(t, quorum.Log{Self: self[0], Voters: self})
	if _, ok := g.r.Mandate(); ok {
		t.Error("shows a mandate before it leads")
	}
	g.step(quorum.Campaign{})
	p, ok := g.r.Mandate()
	if err := quorum.CheckMandate(trust("a"), p); !ok || err != nil {
		t.Error(ok, err)
	}
	g.step(quorum.ToSeal{Text: []byte("x")})
	s, ok := g.r.Sealed()
	if err := quorum.CheckSeal(trust("a"), []byte("x"), s); !ok || err != nil {
		t.Error(ok, err)
	}
}

// TestVotersAreProven: the voters change one after another. The chain that proves them stays short while a majority of
// earlier voters stays, and is complete at voters that received a snapshot or restarted.
func TestVotersAreProven(t *testing.T) {
	m := newModel(1, 1)
	m.cfg.SnapshotEntries, m.cfg.SnapshotTail = 8, 1
	m.crash(m.nodes[0])
	m.start(m.nodes[0])
	m.step(m.nodes[0], quorum.Campaign{})
	m.run(time.Second)
	for i := range 20 {
		lead := m.leader()
		ch := quorum.Change{Add: []quorum.Voter{m.add(quorum.NewVoter(fmt.Sprint("q", i), 1)).self}}
		if i >= 2 {
			for _, x := range lead.r.Voters() {
				if x.ID != lead.self.ID {
					ch.Remove = []uint64{x.ID}
					break
				}
			}
		}
		m.step(lead, ch)
		m.run(3 * time.Second)
		m.propose()
		m.run(300 * time.Millisecond)
	}
	for _, n := range m.nodes {
		if n.r != nil && !n.removed {
			m.crash(n)
			m.start(n)
		}
	}
	m.run(5 * time.Second)
	m.propose()
	m.run(time.Second)
	m.calm()
	if len(m.wrong) > 0 || m.restored < 10 {
		t.Fatal(m.wrong, m.restored)
	}
	if n := len(m.leader().r.Chain().Links); n < 1 || n > 2 || m.shown.Seq != 20 {
		t.Errorf("a chain of %d links shows voters %d", n, m.shown.Seq)
	}
}
