package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// tally counts the signatures that a peer checks.
type tally struct {
	modelkeys.Keys
	n *int
}

func (k tally) Verify(by tasks.PeerID, text, sig []byte) bool {
	*k.n++
	return k.Keys.Verify(by, text, sig)
}

// madeUp is a valid mandate of the job's submitter whose voters have changed often: links from the first on are of
// their own.
func madeUp(term uint64, links, first int) *quorum.Mandate {
	m := &quorum.Mandate{Term: term, Leader: founders[0].ID, Chain: quorum.Chain{Founders: founders}}
	for i := range links {
		c := quorum.Conf{Seq: uint64(i + 1), Term: 1, Voters: []quorum.Voter{founders[0]}}
		if i >= first {
			c.Voters = append(c.Voters, quorum.NewVoter("x", term))
		}
		sign := func(by tasks.PeerID) quorum.Signature {
			return quorum.Signature{By: by, Sig: modelkeys.Keys(by).Sign(quorum.ConfText(GroupName(jobID), c))}
		}
		m.Chain.Links = append(m.Chain.Links, quorum.Link{Conf: c, Sigs: []quorum.Signature{sign("h"), sign("x")}})
	}
	for _, v := range m.Chain.Conf().Voters {
		m.Votes = append(
			m.Votes,
			quorum.Signature{
				By:  v.Peer,
				Sig: modelkeys.Keys(v.Peer).Sign(quorum.VoteText(GroupName(jobID), term, m.Leader, v.ID)),
			},
		)
	}
	return m
}

func tallied(t *testing.T) (r *rig, n *int) {
	n = new(int)
	p, err := New(Config{Boot: 1, Keys: tally{"m", n}, Steal: steal.Config{Self: "m", Slots: 1, Seed: 7}})
	if err != nil {
		t.Fatal(err)
	}
	r = &rig{t: t, peer: p, gens: map[steal.GenID]*ran{}}
	for _, id := range []tasks.PeerID{"h", "x", "y"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	r.step(Prepared{ID: jobID, Job: testJob(t)})
	return r, n
}

// TestMadeUpChainsTakeNoMoreThanTheirShare has a job's submitter show one long chain of voters after the other, each of
// which holds: of its signatures no more are checked than its share, it is told after a while, and others are heard.
func TestMadeUpChainsTakeNoMoreThanTheirShare(t *testing.T) {
	r, n := tallied(t)
	told := 0
	const lasts = 40 * time.Second
	term := uint64(1)
	for end := r.now + lasts; r.now < end; r.now += 50 * time.Millisecond {
		term++
		m := Message{Job: jobID, Moved: &Moved{Home: "h", Term: term, Proof: madeUp(term, 300, 0)}}
		for _, v := range find[Violation](r.step(Recv{From: "h", Msg: m})) {
			if v.From != "h" || v.What != TooMuch {
				t.Fatalf("told is %v", v)
			}
			if r.now < patience {
				t.Fatalf("told after %v", r.now)
			}
			told++
		}
	}
	if most := int((maxAhead+lasts)/checkCost) + 1000; *n > most {
		t.Errorf("%d signatures were checked in %v, more than %d", *n, lasts, most)
	}
	if told < 5 {
		t.Errorf("it was told %d times", told)
	}
	before := *n
	r.step(
		Recv{From: "x", Msg: Message{Job: jobID, Moved: &Moved{Home: "h", Term: term + 1, Proof: madeUp(term+1, 300, 0)}}},
	)
	if *n == before || r.peer.job(jobID).term != term+1 {
		t.Error("another is not heard")
	}
	r.now += 2 * maxAhead
	later := Moved{Home: "h", Term: term + 2, Proof: madeUp(term+2, 300, 0)}
	if r.step(Recv{From: "h", Msg: Message{Job: jobID, Moved: &later}}); r.peer.job(jobID).term != term+2 {
		t.Error("it is not heard again when it has been quiet")
	}
}

// TestGrownChainCostsItsNewLinks: of a chain that is known from an earlier mandate only what is new is checked.
func TestGrownChainCostsItsNewLinks(t *testing.T) {
	r, n := tallied(t)
	show := func(term uint64, links int) int {
		before := *n
		r.step(
			Recv{From: "h", Msg: Message{Job: jobID, Moved: &Moved{Home: "h", Term: term, Proof: madeUp(term, links, 300)}}},
		)
		if r.peer.job(jobID).term != term {
			t.Fatalf("%d links in term %d are not believed", links, term)
		}
		return *n - before
	}
	if first := show(2, 200); first < 200 {
		t.Errorf("200 links cost %d checks", first)
	}
	if more := show(3, 201); more != 2 { // one link, one vote
		t.Errorf("one link more costs %d checks", more)
	}
}

// leader is the home of a job on which x and y work.
func leader(t *testing.T) *rig {
	r := newRig(t, "h")
	for _, id := range []tasks.PeerID{"x", "y"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	r.step(Submit{ID: jobID, Job: testJob(t)})
	return r
}

func pieces(n int) (c tasks.Cover) {
	for i := range int64(n) {
		c = append(c, tasks.R(2*i, 2*i+1))
	}
	return c
}

// TestTornReportsAreRefused: nothing honest is torn into so many pieces.
func TestTornReportsAreRefused(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "x", Slots: 1})
	for name, c := range map[string]ledger.Report{
		"held": {Seq: 1, Held: pieces(maxRanges + 1)},
		"also": {Seq: 1, Also: pieces(maxRanges + 1)},
	} {
		if v := find[Violation](r.step(Recv{From: "x", Msg: Message{Job: jobID, Report: &c}})); len(v) != 1 ||
			v[0].What != Malformed {
			t.Errorf("%s: told is %v", name, v)
		}
	}
	most := ledger.Report{Seq: 1, Held: pieces(maxRanges)}
	if v := find[Violation](r.step(Recv{From: "x", Msg: Message{Job: jobID, Report: &most}})); len(v) > 0 {
		t.Errorf("one that may be is told as %v", v)
	}
}

// TestReportsTakeNoMoreThanTheirShare has a worker send large reports much faster than it was asked to, and another as
// an honest one does.
func TestReportsTakeNoMoreThanTheirShare(t *testing.T) {
	r := leader(t)
	told, taken := 0, 0
	seq, held := uint64(0), pieces(400)
	for end := r.now + 40*time.Second; r.now < end; r.now += 50 * time.Millisecond {
		for range 50 {
			seq++
			report := ledger.Report{Seq: seq, Ready: true, Held: held}
			for _, v := range find[Violation](r.step(Recv{From: "x", Msg: Message{Job: jobID, Report: &report}})) {
				if v.From != "x" || v.What != TooMuch {
					t.Fatalf("told is %v", v)
				}
				told++
			}
			if n := len(r.sent); n > 0 {
				for _, s := range r.sent {
					if s.To == "x" && s.Msg.Ack != nil && s.Msg.Ack.Seq == seq {
						taken++
					}
				}
				r.sent = r.sent[:0]
			}
		}
		report := ledger.Report{Seq: seq, Ready: true, Held: held}
		if v := find[Violation](r.step(Recv{From: "y", Msg: Message{Job: jobID, Report: &report}})); len(v) > 0 {
			t.Fatalf("an honest one is told as %v", v)
		}
	}
	if most := int((maxAhead + 40*time.Second) / costOf(&ledger.Report{Held: held})); taken == 0 || taken > most+1 {
		t.Errorf("%d reports were taken of %d, more than %d", taken, seq, most)
	}
	if told < 5 {
		t.Errorf("it was told %d times", told)
	}
}

// TestOwnReportsStayWithinTheShare: however much news there is, a node does not report so often that it would be told.
func TestOwnReportsStayWithinTheShare(t *testing.T) {
	r := member(t)
	cost := time.Duration(0)
	from := r.now
	for end := from + 40*time.Second; r.now < end; r.now += 100 * time.Microsecond {
		r.peer.job(jobID).reports.urgent = true
		r.peer.Step(r.now, Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Order: OrderStop}})
		for _, e := range r.peer.out {
			if s, ok := e.(Send); ok && s.Msg.Report != nil {
				cost += costOf(s.Msg.Report)
			}
		}
	}
	if cost == 0 || cost > r.now-from+maxAhead/2 {
		t.Errorf("reports of %v in %v", cost, r.now-from)
	}
}

// TestProofsInAnswersAreChargedToo has a member answer requests with one long chain after the other: no more of its
// signatures are checked than its share, which is that of its messages.
func TestProofsInAnswersAreChargedToo(t *testing.T) {
	r, n := tallied(t)
	const lasts = 40 * time.Second
	term, refused := uint64(1), 0
	for end := r.now + lasts; r.now < end; r.now += 50 * time.Millisecond {
		term++
		r.step(Tick{})
		proof := madeUp(term, 300, 0)
		err := r.peer.CheckFor("x", jobID, "h", func(t quorum.Trust) error { return quorum.CheckMandate(t, *proof) })
		if errors.Is(err, ErrTooMuch) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if most := int((maxAhead+lasts)/checkCost) + 1000; *n > most || refused == 0 {
		t.Errorf("%d signatures were checked in %v, more than %d; refused %d times", *n, lasts, most, refused)
	}
	before := *n
	r.step(
		Recv{From: "x", Msg: Message{Job: jobID, Moved: &Moved{Home: "h", Term: term + 1, Proof: madeUp(term+1, 300, 0)}}},
	)
	if *n != before {
		t.Error("its messages have a share of their own")
	}
	if err := r.peer.CheckFor("y", jobID, "h", func(quorum.Trust) error { return nil }); err != nil {
		t.Error("another pays for it:", err)
	}
}

// TestLedgersAreAskedForAtAPrice has a member ask for copies of ledgers without end: it has no more of them than its
// share, is told after a while, and another member has its own.
func TestLedgersAreAskedForAtAPrice(t *testing.T) {
	r := member(t)
	const lasts = 40 * time.Second
	answered, told := 0, 0
	from := r.now
	for end := from + lasts; r.now < end; r.now += 10 * time.Millisecond {
		r.step(Tick{})
		tell, err := r.peer.Pay("x")
		if err == nil {
			answered++
		} else if !errors.Is(err, ErrAsked) {
			t.Fatal(err)
		}
		if tell && r.now-from < patience {
			t.Fatalf("told after %v", r.now-from)
		}
		if tell {
			told++
		}
	}
	if most := int((maxAhead+lasts)/askCost) + 1; answered > most || answered < most/2 || told == 0 {
		t.Errorf("%d requests were answered in %v, of at most %d, and it was told %d times", answered, lasts, most, told)
	}
	if _, err := r.peer.Pay("y"); err != nil {
		t.Error("another pays for it:", err)
	}
}
