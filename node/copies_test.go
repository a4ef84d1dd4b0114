package node

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// TestOnlyProvenCopiesCount: members answer for their copies of a ledger that the submitter s founded and that s, a and
// b keep; others say what they like.
func TestOnlyProvenCopiesCount(t *testing.T) {
	id := tasks.NameOf([]byte("job"))
	m := func(p tasks.PeerID) quorum.Voter { return quorum.NewVoter(p, 1) }
	founders := []quorum.Voter{m("s")}
	voters := []quorum.Voter{m("s"), m("a"), m("b")}
	slices.SortFunc(voters, func(a, b quorum.Voter) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	link := func(by tasks.PeerID, seq uint64, voters ...quorum.Voter) quorum.Link {
		c := quorum.Conf{Seq: seq, Term: 1, Prior: 0, Voters: voters}
		return quorum.Link{
			Conf: c,
			Sigs: []quorum.Signature{{By: by, Sig: modelkeys.Keys(by).Sign(quorum.ConfText(engine.GroupName(id), c))}},
		}
	}
	chain := quorum.Chain{Founders: founders, Links: []quorum.Link{link("s", 1, voters...)}}
	copyOf := func(p tasks.PeerID, index uint64, c quorum.Chain) copyReport {
		return copyReport{
			Name:      "0123456789abcdef",
			ID:        id,
			Submitter: "s",
			on:        p,
			Copy:      engine.CopyView{Voter: m(p), Index: index, Term: 1, Chain: c, Seats: [][]quorum.Voter{c.Conf().Voters}},
		}
	}
	honest := copyOf("a", 10, chain)
	alone := quorum.Chain{Founders: founders, Links: []quorum.Link{link("x", 1, m("x"))}}
	own := quorum.Chain{Founders: []quorum.Voter{m("x")}}
	trust := quorum.Trust{
		Keys:      modelkeys.Keys("s"),
		Group:     engine.GroupName(id),
		Founders:  []tasks.PeerID{"s"},
		Authority: func(by tasks.PeerID) bool { return by == "s" },
	}
	for name, tc := range map[string]struct {
		lie     copyReport
		accused bool
		proven  bool
	}{
		"no chain":                           {lie: copyOf("x", 1<<40, quorum.Chain{}), accused: true},
		"a chain that it founded":            {lie: copyOf("x", 1<<40, own), accused: true},
		"a chain that it has signed":         {lie: copyOf("x", 1<<40, alone), accused: true},
		"the true chain, in which it is not": {lie: copyOf("x", 1<<40, chain)},
		"another's member": {lie: func() copyReport {
			c := copyOf("x", 1<<40, chain)
			c.Copy.Voter = m("b")
			return c
		}(), accused: true},
		"it leads, and most are alive": {lie: func() copyReport {
			c := copyOf("x", 1<<40, chain)
			c.Leads, c.Copy.Majority, c.Copy.Alive = true, true, []tasks.PeerID{"x"}
			return c
		}()},
		"a voter that claims to lead, without a mandate": {lie: func() copyReport {
			c := copyOf("b", 5, chain)
			c.Leads = true
			return c
		}(), proven: true},
		"a voter in the term of a recovery that nobody has signed": {lie: func() copyReport {
			c := copyOf("b", 1<<40, chain)
			c.Copy.Term = 1 << 61
			return c
		}()},
	} {
		accused := false
		s := surveyed(func(_ tasks.PeerID, check func(quorum.Trust) error) error {
			return check(trust)
		}, []copyReport{tc.lie, honest}, func(c copyReport, _ string) {
			accused = accused || c.on == tc.lie.on
		})
		if accused != tc.accused {
			t.Errorf("%s: accused %v", name, accused)
		}
		if first := s.copies[0]; first.on != "a" || !first.proven || s.copies[1].proven != tc.proven {
			t.Errorf("%s: the copy of %s is first, that of the liar is proven %v", name, first.on, s.copies[1].proven)
		}
		if slices.ContainsFunc(s.copies, func(c copyReport) bool { return c.Leads || c.Copy.Majority }) {
			t.Errorf("%s: it is believed to lead", name)
		}
		if _, most := s.alive(); most != tc.proven { // a and b are two of three
			t.Errorf("%s: most are alive %v", name, most)
		}
		if ts := s.terms(); slices.ContainsFunc(ts, func(t uint64) bool { return t > 100 }) {
			t.Errorf("%s: goes on above the terms %v", name, ts)
		}
		if err := s.choose(tc.lie.on, func(id tasks.PeerID) string {
			return id
		}); err != nil || s.copies[0].on != tc.lie.on || len(s.copies) != 2 {
			t.Errorf("%s: the user's choice: %v, %v", name, err, s.copies[0].on)
		}
	}
}

// TestProofsOfCopiesAreCharged has a member answer for its copies with one long chain of voters after the other: no
// more of them are checked than its share, those that are not do not count, and it is not accused for that.
func TestProofsOfCopiesAreCharged(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	id, liar := tasks.NameOf([]byte("job")), d.net.ID() // whose key is at hand
	m := quorum.NewVoter(liar, 1)
	checked := d.checkerOf(id, liar)
	for term := uint64(1); ; term++ {
		chain := quorum.Chain{Founders: []quorum.Voter{m}}
		for seq := range uint64(200) {
			c := quorum.Conf{Seq: seq + 1, Term: term, Prior: seq, Voters: []quorum.Voter{m}}
			chain.Links = append(chain.Links, quorum.Link{
				Conf: c,
				Sigs: []quorum.Signature{{By: liar, Sig: d.net.Sign(quorum.ConfText(engine.GroupName(id), c))}},
			})
		}
		err := errors.New("not checked")
		once := func(_ tasks.PeerID, check func(quorum.Trust) error) error {
			err = checked("x", check)
			return err
		}
		c := copyReport{
			Name:      "0123456789abcdef",
			ID:        id,
			Submitter: liar,
			on:        liar,
			Copy:      engine.CopyView{Voter: m, Term: term, Chain: chain},
		}
		s := surveyed(once, []copyReport{c}, func(_ copyReport, why string) { t.Fatalf("chain %d: accused: %s", term, why) })
		if s.copies[0].proven != (err == nil) {
			t.Fatalf("chain %d: proven is %v: %v", term, s.copies[0].proven, err)
		}
		if errors.Is(err, engine.ErrTooMuch) {
			return
		}
		if err != nil || term == 200 {
			t.Fatalf("chain %d was checked: %v", term, err)
		}
	}
}

// TestAnswersAboutCopiesAreBounded: what a member answers of its copies of a ledger, or of its links, takes no more
// memory than an honest answer of the largest size.
func TestAnswersAboutCopiesAreBounded(t *testing.T) {
	for _, element := range []string{"{}", "[]", `{"nodes":[{}]}`, "null", "0"} {
		times := (p2p.MaxRequest - 2) / (len(element) + 1)
		b := []byte("[" + strings.TrimSuffix(strings.Repeat(element+",", times), ",") + "]")
		for name, read := range map[string]func() error{
			"superseded": func() error {
				_, err := wire.ReadJSONList[copyReport](b, maxAsides, members.MostValues)
				return err
			},
			"lacks": func() error {
				var l members.Lacks
				return wire.ReadJSON([]byte(`{"Lacks":`+string(b)+`}`), members.MostValues, &l)
			},
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := read()
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 128<<20 {
				t.Errorf("%s of %s: %v, and took %d bytes", name, element, err, used)
			}
		}
	}
}
