package quorum_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// link makes a Link of a set of voters and its signers.
func link(seq, term uint64, voters []quorum.Voter, by ...tasks.PeerID) quorum.Link {
	c := quorum.Conf{Seq: seq, Term: term, Voters: voters}
	return quorum.Link{Conf: c, Sigs: sign(quorum.ConfText(group, c), by...)}
}

// elect makes the mandate of a voter at the end of a chain.
func elect(c quorum.Chain, term uint64, leader tasks.PeerID, by ...tasks.PeerID) quorum.Mandate {
	m := quorum.Mandate{Chain: c, Term: term}
	id := map[tasks.PeerID]uint64{}
	for _, v := range c.Conf().Voters {
		id[v.Peer] = v.ID
	}
	m.Leader = id[leader]
	for _, p := range by {
		m.Votes = append(m.Votes, sign(quorum.VoteText(group, term, m.Leader, id[p]), p)...)
	}
	return m
}

// elected is a mandate of the third set of voters.
func elected() quorum.Mandate {
	return elect(quorum.Chain{Founders: voters("s"), Links: []quorum.Link{
		link(1, 1, voters("s", "a", "b"), "s"),
		link(2, 4, voters("a", "b", "c"), "a", "b"),
	}}, 5, "b", "b", "c")
}

func TestMandate(t *testing.T) {
	if err := quorum.CheckMandate(trust("s"), elected()); err != nil {
		t.Fatal(err)
	}
	if h := elected().LeaderPeer(); h != "b" {
		t.Error("its home is", h)
	}
	for what, spoil := range map[string]func(*quorum.Mandate, *quorum.Trust){
		"another group":        func(_ *quorum.Mandate, t *quorum.Trust) { t.Group = "other" },
		"other founders":       func(_ *quorum.Mandate, t *quorum.Trust) { t.Founders = []tasks.PeerID{"x"} },
		"more founders":        func(m *quorum.Mandate, _ *quorum.Trust) { m.Chain.Founders = voters("s", "x") },
		"another term":         func(m *quorum.Mandate, _ *quorum.Trust) { m.Term++ },
		"another leader":       func(m *quorum.Mandate, _ *quorum.Trust) { m.Leader = voters("a")[0].ID },
		"no voter leads":       func(m *quorum.Mandate, _ *quorum.Trust) { *m = elect(m.Chain, 5, "s", "a", "b", "c") },
		"one vote":             func(m *quorum.Mandate, _ *quorum.Trust) { m.Votes = m.Votes[:1] },
		"one vote twice":       func(m *quorum.Mandate, _ *quorum.Trust) { m.Votes[1] = m.Votes[0] },
		"another's vote":       func(m *quorum.Mandate, _ *quorum.Trust) { m.Votes[1].By = "a" },
		"a stranger's vote":    func(m *quorum.Mandate, _ *quorum.Trust) { *m = elect(m.Chain, 5, "b", "b", "x") },
		"the voters' own term": func(m *quorum.Mandate, _ *quorum.Trust) { *m = elect(m.Chain, 4, "b", "b", "c") },
		"an absurd term":       func(m *quorum.Mandate, _ *quorum.Trust) { *m = elect(m.Chain, 1<<63, "b", "b", "c") },
		"another voter": func(m *quorum.Mandate, _ *quorum.Trust) {
			m.Chain.Links[1].Conf.Voters = voters("b", "c", "x")
		},
		"a link by one": func(m *quorum.Mandate, _ *quorum.Trust) {
			m.Chain.Links[1] = link(2, 4, voters("a", "b", "c"), "a")
		},
		"a link by newcomers": func(m *quorum.Mandate, _ *quorum.Trust) {
			m.Chain.Links[1] = link(2, 4, voters("a", "b", "c"), "b", "c")
		},
		"a link missing":     func(m *quorum.Mandate, _ *quorum.Trust) { m.Chain.Links = m.Chain.Links[1:] },
		"links turned round": func(m *quorum.Mandate, _ *quorum.Trust) { slices.Reverse(m.Chain.Links) },
		"a term that falls": func(m *quorum.Mandate, _ *quorum.Trust) {
			m.Chain.Links[1] = link(2, 0, voters("a", "b", "c"), "a", "b")
		},
		"a peer with two seats": func(m *quorum.Mandate, _ *quorum.Trust) {
			m.Chain.Links[1] = link(2, 4, append(voters("a", "b"), quorum.NewVoter("b", 9)), "a", "b")
		},
		"no voters":      func(m *quorum.Mandate, _ *quorum.Trust) { m.Chain.Links[1] = link(2, 4, nil, "a", "b") },
		"too many links": func(m *quorum.Mandate, _ *quorum.Trust) { m.Chain.Links = make([]quorum.Link, 1<<16) },
	} {
		m, tr := elected(), trust("s")
		spoil(&m, &tr)
		if err := quorum.CheckMandate(tr, m); !errors.Is(err, quorum.ErrUnproven) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAuthorityCountsForRecoveries: a group's authority may let it go on from one voter when most are lost. Its
// signature alone counts for no other change of the voters, and in no term that elections reach.
func TestAuthorityCountsForRecoveries(t *testing.T) {
	c := voters("c")[0]
	tr := trust("s")
	owner := func(p tasks.PeerID) bool { return p == "owner" }
	goesOn := func(l quorum.Link) quorum.Mandate {
		return elect(quorum.Chain{Founders: voters("s"), Links: []quorum.Link{l}}, l.Conf.Term+1, "c", "c")
	}
	m := goesOn(recovery(t, c, "owner", 4))
	if err := quorum.CheckMandate(tr, m); !errors.Is(err, quorum.ErrUnproven) {
		t.Error("anybody may name the voters:", err)
	}
	tr.Authority = owner
	if err := quorum.CheckMandate(tr, m); err != nil {
		t.Error(err)
	}
	m.Chain.Links[0].Sigs[0].Sig[0]++
	if err := quorum.CheckMandate(tr, m); !errors.Is(err, quorum.ErrUnproven) {
		t.Error("a bad signature of the owner holds:", err)
	}
	for what, l := range map[string]quorum.Link{
		"in the ordinary course": link(9, 4, voters("c"), "owner"),
		"from three voters":      link(9, 4, voters("a", "b", "c"), "owner"),
	} {
		if err := quorum.CheckMandate(tr, goesOn(l)); !errors.Is(err, quorum.ErrUnproven) {
			t.Errorf("the owner names the voters %s: %v", what, err)
		}
		s := quorum.Seal{
			Chain: quorum.Chain{Founders: voters("s"), Links: []quorum.Link{l}},
			Sigs:  sign(quorum.SealText(group, []byte("end")), "a", "b", "c"),
		}
		if err := quorum.CheckSeal(tr, []byte("end"), s); !errors.Is(err, quorum.ErrUnproven) {
			t.Errorf("and seals an end, %s: %v", what, err)
		}
	}
}

// TestReplacedVotersElectNobody: a node that knows a later set of voters accepts nothing from an earlier set in later
// terms.
func TestReplacedVotersElectNobody(t *testing.T) {
	now := elected().Chain.Conf() // set 2, of term 4
	now.Prior = 1
	c := elected().Chain
	c.Links = c.Links[:1]
	for term, want := range map[uint64]bool{3: true, 4: true, 5: false, 9: false} {
		if m := elect(c, term, "a", "a", "b"); quorum.CheckMandate(trust("s"), m) != nil || now.Admits(m) != want {
			t.Errorf("a mandate of set 1 in term %d: %v", term, now.Admits(m))
		}
	}
	if c.Links = nil; now.Admits(elect(c, 4, "s", "s")) {
		t.Error("the founder leads in the term of later voters")
	}
	if !now.Admits(elected()) {
		t.Error("the newest mandate is not believed")
	}
}

func TestSeal(t *testing.T) {
	text := []byte("it is over")
	s := quorum.Seal{Chain: elected().Chain, Sigs: sign(quorum.SealText(group, text), "a", "c")}
	if err := quorum.CheckSeal(trust("s"), text, s); err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func() error{
		"another text": func() error { return quorum.CheckSeal(trust("s"), []byte("it goes on"), s) },
		"one signature": func() error {
			return quorum.CheckSeal(trust("s"), text, quorum.Seal{Chain: s.Chain, Sigs: s.Sigs[:1]})
		},
		"a former voter": func() error {
			return quorum.CheckSeal(trust("s"), text, quorum.Seal{
				Chain: s.Chain,
				Sigs:  sign(quorum.SealText(group, text), "a", "s"),
			})
		},
		"other founders": func() error { return quorum.CheckSeal(trust("x"), text, s) },
	} {
		if err := f(); !errors.Is(err, quorum.ErrUnproven) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestShorten: a chain stays valid after Shorten, and while one founder stays a voter the founder's signature alone is
// enough.
func TestShorten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := quorum.Chain{Founders: voters("s")}
		stays := rapid.Bool().Draw(t, "stays")
		for i := range rapid.IntRange(0, 40).Draw(t, "links") {
			before := c.Conf().Voters
			next := voters("s", fmt.Sprint("p", i), fmt.Sprint("p", i+1))
			if !stays {
				next = voters(fmt.Sprint("p", i), fmt.Sprint("p", i+1), fmt.Sprint("p", i+2))
			}
			var by []tasks.PeerID
			for _, m := range before[:len(before)/2+1] {
				by = append(by, m.Peer)
			}
			c.Links = append(c.Links, link(uint64(i)+1, uint64(i), next, by...))
		}
		last := c.Conf().Voters
		short := elect(c.Shorten(), 100, last[0].Peer, last[0].Peer, last[len(last)-1].Peer)
		if err := quorum.CheckMandate(trust("s"), short); err != nil {
			t.Fatal(err)
		}
		if n := len(short.Chain.Links); stays && n > 1 {
			t.Errorf("%d links are left though the founder signed all", n)
		}
	})
}

// FuzzMandate: no bytes are accepted as a mandate or a seal except those that were made with the keys.
func FuzzMandate(f *testing.F) {
	m := elected()
	b, err := wire.Marshal(&m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var got quorum.Mandate
		if wire.Unmarshal(b, &got) != nil {
			return
		}
		got.Chain.Shorten()
		if err := quorum.CheckMandate(trust("s"), got); err == nil && (got.Leader != m.Leader || got.Term != m.Term) {
			t.Errorf("%+v holds", got)
		}
		var s quorum.Seal
		if wire.Unmarshal(b, &s) == nil && quorum.CheckSeal(trust("s"), []byte("x"), s) == nil {
			t.Error("a seal out of nothing:", bytes.Clone(b))
		}
	})
}

// TestCheckedLinkNeedsItsSignatures: a verified link is cached with its signatures, so it does not verify without them;
// and a set cannot have more voters than any group has.
func TestCheckedLinkNeedsItsSignatures(t *testing.T) {
	tr := trust("s")
	tr.Checked = &quorum.Checked{}
	for range 2 {
		if err := quorum.CheckMandate(tr, elected()); err != nil {
			t.Fatal(err)
		}
	}
	m := elected()
	m.Chain.Links[1].Sigs[0].Sig[0]++
	if err := quorum.CheckMandate(tr, m); !errors.Is(err, quorum.ErrUnproven) {
		t.Error("a spoiled signature holds:", err)
	}
	tr.Group = "other"
	if err := quorum.CheckMandate(tr, elected()); !errors.Is(err, quorum.ErrUnproven) {
		t.Error("it holds for another group:", err)
	}
	many := voters("s", "a", "b", "c", "d", "e", "f", "g", "h")
	m = elect(quorum.Chain{
		Founders: voters("s"),
		Links:    []quorum.Link{link(1, 1, many, "s")},
	}, 5, "b", "s", "a", "b", "c", "d")
	if err := quorum.CheckMandate(trust("s"), m); !errors.Is(err, quorum.ErrUnproven) {
		t.Error("nine voters are taken:", err)
	}
}
