package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

const units = 1000

// desk drives a Home and keeps what it wants done.
type desk struct {
	*testing.T
	home   *Home
	now    time.Duration
	seq    uint64
	held   map[tasks.PeerID]tasks.Cover
	fail   map[tasks.PeerID][]Failure
	out    []Effect
	rate   float64                      // of each node, as it says
	well   map[tasks.PeerID]int64       // units that it says that it has processed
	deaf   bool                         // the log takes nothing
	dark   map[tasks.PeerID]tasks.Cover // what a node reports that it does not see,
	leaves map[tasks.PeerID]bool        // say that they leave
	idle   map[tasks.PeerID]tasks.Cover // and has not tried
	fetch  map[merge.ID]uint64          // the last request to bring a blob
}

// newDesk returns the home "h" of a job of 1000 units, with workers that hold nothing; the home holds
// what it was given at the start.
func newDesk(t *testing.T, cfg Config, workers ...tasks.PeerID) *desk {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: units}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Self = "h"
	d := &desk{
		T:    t,
		home: New(cfg, &Record{Want: data.Space()}, data, false),
		held: map[tasks.PeerID]tasks.Cover{},
		fail: map[tasks.PeerID][]Failure{},

		fetch: map[merge.ID]uint64{},
	}
	d.take(d.home.Start(0, nil))
	d.step(Replicas{Ready: true})
	for _, id := range workers {
		d.step(NodeUp{ID: id, Slots: 1})
	}
	d.held[workers[0]] = tasks.CoverOf(tasks.R(0, units))
	d.home.Granted(tasks.CoverOf(tasks.R(0, units)))
	d.reports()
	return d
}

// step has the home handle an event. Where a test does not say which fetch has ended, it is the last of that blob.
func (d *desk) step(ev Event) []Effect {
	switch e := ev.(type) {
	case Stored:
		e.Seq = cmp.Or(e.Seq, d.fetch[e.Partial.ID])
		ev = e
	case NotStored:
		e.Seq = cmp.Or(e.Seq, d.fetch[e.Partial.ID])
		ev = e
	}
	return d.take(d.home.Step(d.now, ev))
}

// take keeps effects, and is the log: what is proposed is applied at once, unless the test holds it back.
func (d *desk) take(out []Effect) []Effect {
	d.out = append(d.out, out...)
	for _, e := range out {
		if f, ok := e.(Fetch); ok {
			d.fetch[f.Partial.ID] = f.Seq
		}
		if p, ok := e.(Propose); ok && !d.deaf {
			v, changed := d.home.Record().Apply(p.Entry)
			out = append(out, d.step(Applied{Entry: p.Entry, Verdict: v, Changed: changed})...)
		}
	}
	return out
}

func (d *desk) report(id tasks.PeerID) {
	d.seq++
	r := Report{
		Seq:      d.seq,
		Ready:    !d.leaves[id],
		Leaving:  d.leaves[id],
		Held:     d.held[id],
		Stats:    Stats{Rate: d.rate, Units: d.well[id]},
		Failures: slices.Clone(d.fail[id]),
		Presumed: d.idle[id],
	}
	if c := d.dark[id]; !c.Empty() {
		r.Unseen = []Unseen{{Where: "a", Cover: c, Cause: "missing", Reason: "No such file", Files: 1}}
	}
	d.step(Reported{From: id, Report: r})
}

func (d *desk) reports() {
	for _, id := range slices.Clone(d.home.nodes.order) {
		d.report(id)
	}
}

// audit lets time pass for one audit, with a word from every node before.
func (d *desk) audit() {
	d.now += 500 * time.Millisecond
	d.reports()
	d.step(Tick{})
}

func (d *desk) fails(id tasks.PeerID, f Failure) {
	f.Seq = d.seq + 1
	d.fail[id] = []Failure{f}
	d.report(id)
	d.fail[id] = nil
}

// all returns the effects of one type so far, and forgets them.
func all[E Effect](d *desk) (out []E) {
	d.out = slices.DeleteFunc(d.out, func(e Effect) bool {
		x, ok := e.(E)
		if ok {
			out = append(out, x)
		}
		return ok
	})
	return out
}

func part(node tasks.PeerID, seq uint64, first, last int64) merge.Partial {
	return merge.Partial{
		ID:     merge.ID{Node: node, Seq: seq},
		Cover:  tasks.CoverOf(tasks.R(first, last)),
		Units:  last - first,
		Canary: uint64(first ^ last),
		Size:   last - first,
		Holder: node,
	}
}

// commit offers p and stores its blob.
func (d *desk) commit(p merge.Partial) {
	d.step(Offered{Partial: p})
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
}

func TestStrikes(t *testing.T) {
	bad := tasks.R(5, 6)
	for _, c := range []struct {
		name    string
		workers []tasks.PeerID
		here    bool
		want    []tasks.PeerID // who tries after each failure
	}{
		{"one node", []tasks.PeerID{"h"}, false, []tasks.PeerID{"h", "h"}},
		{"two nodes", []tasks.PeerID{"a", "h"}, false, []tasks.PeerID{"h", "a"}},
		{"the home first if the file may be missing here", []tasks.PeerID{"a", "b", "h"}, true, []tasks.PeerID{"h", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, Config{}, c.workers...)
			at := c.workers[0]
			for i := range 3 {
				if len(d.home.Record().Lost) > 0 {
					t.Fatalf("set aside after %d failures", i)
				}
				d.fails(at, Failure{Blame: bad, Kind: "signal", Reason: "boom", Here: c.here})
				if tries := all[Try](d); i < 2 {
					if len(tries) != 1 || tries[0].Range != bad || tries[0].To != c.want[i] {
						t.Fatalf("after failure %d: %+v, want a try at %s", i+1, tries, c.want[i])
					}
					at = tries[0].To
				}
			}
			lost := d.home.Record().Lost
			if len(lost) != 1 || lost[0].Range != bad || lost[0].Tries != 3 || len(lost[0].Nodes) != min(3, len(c.workers)) {
				t.Fatalf("set aside: %+v", lost)
			}
		})
	}
}

// TestTwoNodesMustFail keeps a range that only one of two nodes has failed at, however often.
func TestTwoNodesMustFail(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	for range 5 {
		d.fails("a", Failure{Blame: tasks.R(1, 2), Kind: "signal"})
	}
	if len(d.home.Record().Lost) > 0 {
		t.Fatal("a range was set aside for one bad node")
	}
	d.fails("b", Failure{Blame: tasks.R(1, 2), Kind: "signal"})
	if len(d.home.Record().Lost) != 1 {
		t.Fatal("two nodes failed and nothing was set aside")
	}
}

// TestSecondNodeIsWaitedFor has a unit fail three times on the one node that is ready: the node may be to
// blame, so another that still loads the code gets to try it, if that does not take for ever.
func TestSecondNodeIsWaitedFor(t *testing.T) {
	bad := tasks.R(5, 6)
	begin := func() *desk {
		d := newDesk(t, Config{}, "a")
		d.step(NodeUp{ID: "b", Slots: 1})
		for range 3 {
			d.fails("a", Failure{Blame: bad, Kind: "signal"})
		}
		if lost := d.home.record.Lost; len(lost) > 0 {
			t.Fatalf("set aside %v after tries on one node", lost)
		}
		all[Try](d)
		return d
	}
	tick := func(d *desk) {
		d.now += 500 * time.Millisecond
		d.report("a")
		d.step(Tick{})
	}
	t.Run("comes", func(t *testing.T) {
		d := begin()
		tick(d)
		if tries := all[Try](d); len(tries) > 0 {
			t.Fatalf("tried by %v once more", tries)
		}
		d.audit() // b's first word comes after it
		d.audit()
		if tries := all[Try](d); len(tries) != 1 || tries[0].To != "b" {
			t.Fatalf("tried by %v, want b", tries)
		}
		d.fails("b", Failure{Blame: bad, Kind: "signal"})
		if lost := d.home.record.Lost; len(lost) != 1 || lost[0].Tries != 4 {
			t.Errorf("lost %v, want the unit after four tries", lost)
		}
	})
	t.Run("does not come", func(t *testing.T) {
		d := begin()
		for range secondWait {
			tick(d)
		}
		if lost := d.home.record.Lost; len(lost) != 1 || lost[0].Tries != 3 {
			t.Errorf("lost %v, want the unit after three tries", lost)
		}
	})
}

// TestThirdNodeIsWaitedFor: what is said of a range that is missing is that it failed on three nodes where there are
// three, and so one that still loads the code gets to try it, too, if that does not take for ever.
func TestThirdNodeIsWaitedFor(t *testing.T) {
	for _, comes := range []bool{true, false} {
		d := newDesk(t, Config{}, "a", "b")
		d.step(NodeUp{ID: "c", Slots: 1})
		d.well = map[tasks.PeerID]int64{"a": 7, "b": 9}
		d.report("a")
		d.report("b")
		for _, id := range []tasks.PeerID{"a", "b", "a"} {
			d.fails(id, Failure{Blame: tasks.R(5, 6), Kind: "signal"})
		}
		if lost := d.lost(); len(lost) > 0 {
			t.Fatalf("set aside %v, and c has not tried", lost)
		}
		all[Try](d)
		for range secondWait {
			d.now += 500 * time.Millisecond
			d.report("a")
			d.report("b")
			if comes {
				d.report("c")
			}
			d.step(Tick{})
			for _, try := range all[Try](d) {
				if try.To != "c" {
					t.Errorf("%s tries it again", try.To)
				}
				d.fails(try.To, Failure{Blame: tasks.R(5, 6), Kind: "signal"})
			}
		}
		lost := d.lost()
		if len(lost) != 1 || len(lost[0].Nodes) != 2+btoi(comes) {
			t.Errorf("c comes: %v, lost %v", comes, lost)
		}
	}
}

func TestTooManyLostEndTheJob(t *testing.T) {
	for _, data := range []bool{false, true} {
		d := newDesk(t, Config{MaxLost: 4}, "h")
		for i := range int64(5) {
			for range 3 {
				d.fails("h", Failure{Blame: tasks.R(10*i, 10*i+1), Kind: "signal", Data: data})
			}
		}
		if stopped := len(all[StopAll](d)) > 0; stopped == data {
			t.Errorf("bad data %v: stopped %v", data, stopped)
		}
	}
}

func TestFailureOnOneNodeShunsIt(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.commit(part("b", 1, 0, 10))
	for range 3 {
		d.fails("a", Failure{Kind: "disk", Reason: "no space"})
	}
	if s := all[Shun](d); len(s) != 1 || s[0].ID != "a" {
		t.Fatalf("shunned %v", s)
	}
	if len(all[Fail](d)) > 0 {
		t.Fatal("the job was given up for one bad node")
	}
}

// TestNodeThatGetsRoom: a node that could not load the code for want of room is given work again once it has loaded it.
func TestNodeThatGetsRoom(t *testing.T) {
	d := newDesk(t, Config{}, "b")
	d.step(NodeUp{ID: "a", Slots: 1})
	d.commit(part("b", 1, 0, 10))
	says := func(ready, aside bool, fs ...Failure) {
		d.seq++
		d.step(Reported{From: "a", Report: Report{Seq: d.seq, Ready: ready, Aside: aside, Failures: fs}})
	}
	for i := range uint64(3) {
		says(false, false, Failure{Seq: i + 1, Kind: "disk", Reason: "no space"})
	}
	if why := d.home.Shunned()["a"]; why != "no space" {
		t.Fatalf("set aside for %q", why)
	}
	if says(false, true); d.home.Shunned()["a"] == "" {
		t.Fatal("given work again before it has the code")
	}
	if says(true, true); d.home.Shunned()["a"] == "" {
		t.Fatal("given work though it says that the job is taken from it")
	}
	if says(true, false); d.home.Shunned()["a"] != "" || !d.home.Ready("a") {
		t.Errorf("not given work again: %q", d.home.Shunned()["a"])
	}
}

// TestBadNodeIsFirst: the only node that is ready fails at everything, and the others still load the code.
func TestBadNodeIsFirst(t *testing.T) {
	for _, loads := range []bool{true, false} {
		d := newDesk(t, Config{}, "a")
		d.step(NodeUp{ID: "late", Slots: 1})
		for range 3 {
			d.fails("a", Failure{Kind: "disk", Reason: "no space"})
		}
		if s := all[Shun](d); len(s) != 1 || s[0].ID != "a" || len(all[Fail](d)) > 0 {
			t.Fatalf("shunned %v", s)
		}
		for range 2 * secondWait {
			d.now += 500 * time.Millisecond
			if d.report("a"); loads {
				d.report("late")
			}
			d.step(Tick{})
		}
		if failed := len(all[Fail](d)) > 0; failed == loads {
			t.Errorf("another node has come to work: %v, the job has failed: %v", loads, failed)
		}
	}
}

func TestFailureOnAllNodesEndsTheJob(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	for range 3 {
		d.fails("a", Failure{Kind: "code", Reason: "no TSelector"})
		d.fails("b", Failure{Kind: "code", Reason: "no TSelector"})
	}
	if f := all[Fail](d); len(f) != 1 || f[0].Failure.Reason != "no TSelector" {
		t.Fatalf("failed: %+v", f)
	}
}

func TestAuditReissuesWhatNobodyHolds(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	all[Reissue](d)
	d.held["a"] = tasks.CoverOf(tasks.R(0, 400), tasks.R(450, 1000))
	for i := range 3 {
		if got := all[Reissue](d); len(got) > 0 {
			t.Fatalf("reissued %v after %d audits", got, i)
		}
		d.audit()
	}
	if got := all[Reissue](d); len(got) != 1 || !got[0].Ranges.Equal(tasks.CoverOf(tasks.R(400, 450))) {
		t.Fatalf("reissued %v", got)
	}
}

// TestAuditWaitsForEveryNode does not take work for lost that is on its way between two nodes of which
// one has not spoken since.
func TestAuditWaitsForEveryNode(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	all[Reissue](d)
	d.held["a"] = nil // b has it, but b's reports are lost
	for range 5 {
		d.now += 500 * time.Millisecond
		d.report("a")
	}
	if got := all[Reissue](d); len(got) > 0 {
		t.Fatalf("reissued %v without the word of b", got)
	}
	d.held["b"] = tasks.CoverOf(tasks.R(0, units))
	for range 4 {
		d.audit()
	}
	if got := all[Reissue](d); len(got) > 0 {
		t.Fatalf("reissued %v, which b holds", got)
	}
}

func TestSilentNodeDoesNotStopAudits(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	all[Reissue](d)
	d.held["a"] = nil
	for range 40 {
		d.now += 500 * time.Millisecond
		d.report("a")
	}
	if got := all[Reissue](d); len(got) == 0 {
		t.Fatal("lost units were not reissued for a node that does not speak")
	}
}

func TestLostNodeIsReissued(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	all[Reissue](d)
	d.step(NodeDown{ID: "a"})
	for range 3 {
		d.audit()
	}
	if got := all[Reissue](d); len(got) != 1 || got[0].Ranges.Len() != units {
		t.Fatalf("reissued %v", got)
	}
}

// TestHeldTwiceIsYieldedByOne tells one of two holders at a time, and neither while the work may be on
// its way.
func TestHeldTwiceIsYieldedByOne(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.held["b"] = tasks.CoverOf(tasks.R(100, 200))
	d.audit() // b's word comes after it
	d.audit()
	if got := all[Yield](d); len(got) > 0 {
		t.Fatalf("%v at the first sight", got)
	}
	told := map[tasks.PeerID]bool{}
	for range 2 {
		d.audit()
		got := all[Yield](d)
		if len(got) != 1 || !got[0].Cover.Equal(tasks.CoverOf(tasks.R(100, 200))) {
			t.Fatalf("yield %v", got)
		}
		told[got[0].To] = true
	}
	if len(told) != 2 {
		t.Fatalf("only %v was told", told)
	}
}

func TestCommittedIsDropped(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.commit(part("b", 1, 0, 10))
	all[Drop](d)
	d.report("a")
	if got := all[Drop](d); len(got) != 1 || got[0].To != "a" || !got[0].Cover.Equal(tasks.CoverOf(tasks.R(0, 10))) {
		t.Fatalf("drop %v", got)
	}
}

// TestRejectedPartialRunsAgainOnce puts what only a rejected partial had done back to work, once,
// however often it is offered.
func TestRejectedPartialRunsAgainOnce(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.commit(part("b", 1, 0, 10))
	d.held["a"] = tasks.CoverOf(tasks.R(20, 1000))
	d.reports()
	all[Reissue](d)
	for range 3 {
		d.step(Offered{Partial: part("b", 2, 5, 30)})
	}
	if got := all[Reject](d); len(got) != 3 {
		t.Fatalf("rejected %v", got)
	}
	if got := all[Reissue](d); len(got) != 1 || !got[0].Ranges.Equal(tasks.CoverOf(tasks.R(10, 20))) {
		t.Fatalf("reissued %v, want the ten units that nobody holds, once", got)
	}
}

func TestWrongBlobIsRejected(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	p := part("b", 1, 0, 10)
	d.step(Offered{Partial: p})
	d.step(Stored{Partial: p, Units: 9, Canary: p.Canary})
	if len(all[Reject](d)) != 1 || !d.home.Record().Done.Cover().Empty() {
		t.Fatal("a blob that counts 9 of 10 units was committed")
	}
}

// TestOfferThatCameTooLateRunsAgain: an offer that was fresh when it came, and overlaps what is committed before it,
// is put to work again at once, but for what others hold: till then nobody has it, and a liar could claim it.
func TestOfferThatCameTooLateRunsAgain(t *testing.T) {
	d := newDesk(t, Config{}, "h", "a", "b")
	d.held = map[tasks.PeerID]tasks.Cover{"h": tasks.CoverOf(d.home.record.Want).Minus(tasks.CoverOf(tasks.R(0, 100)))}
	d.reports()
	first, late := part("a", 1, 0, 60), part("b", 1, 50, 100)
	d.step(Offered{Partial: first})
	d.step(Offered{Partial: late})
	all[Reissue](d)
	d.step(Stored{Partial: first, Units: first.Units, Canary: first.Canary})
	var again tasks.Cover
	for _, e := range all[Reissue](d) {
		again = again.Union(e.Ranges)
	}
	if want := tasks.CoverOf(tasks.R(60, 100)); !again.Equal(want) {
		t.Errorf("%v runs again, want %v", again, want)
	}
}

// offerInVain offers p again and again, though its blob never comes; here is why it cannot be kept.
func (d *desk) offerInVain(p merge.Partial, here string) {
	for range 2 * maxUnstored {
		d.now += time.Second
		d.reports()
		d.step(Offered{Partial: p})
		if len(all[Fetch](d)) > 0 {
			d.step(NotStored{Partial: p, Here: here})
		}
	}
}

// TestBlobThatCannotBeHadIsDoneAgain rejects a partial whose holder goes on offering it and never delivers.
func TestBlobThatCannotBeHadIsDoneAgain(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.held["a"], d.held["b"] = tasks.CoverOf(tasks.R(10, 1000)), tasks.CoverOf(tasks.R(0, 10))
	d.offerInVain(part("b", 1, 0, 10), "")
	if len(all[Reject](d)) == 0 {
		t.Fatal("a partial that cannot be had was never rejected")
	}
	if got := all[Reissue](d); len(got) == 0 || !got[len(got)-1].Ranges.Equal(tasks.CoverOf(tasks.R(0, 10))) {
		t.Fatalf("reissued %v, want what the partial had", got)
	}
}

// TestHomeThatCannotKeep: with replicas another is to lead a job whose home has a full disk, nobody's partial is
// rejected for that, and the reason is told until something can be kept again.
func TestHomeThatCannotKeep(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c")
	d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
	p := part("b", 1, 0, 10)
	d.offerInVain(p, "no space left on device")
	if !d.home.Full() || d.home.FullReason() != "no space left on device" || len(all[Reject](d)) > 0 {
		t.Fatalf("full %v for %q", d.home.Full(), d.home.FullReason())
	}
	d.now += time.Minute
	d.step(Offered{Partial: p})
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
	if d.home.Full() || d.home.FullReason() != "" {
		t.Errorf("still full for %q", d.home.FullReason())
	}
}

// TestHomeThatCannotKeepResultsSaysSo winds a job up, with the reason, whose home has a full disk.
func TestHomeThatCannotKeepResultsSaysSo(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.offerInVain(part("b", 1, 0, 10), "no space left")
	d.now += 20 * time.Second
	d.step(Tick{})
	if got := all[Finish](d); len(got) != 1 || len(got[0].Lost) == 0 ||
		!strings.Contains(got[0].Lost[0].Reason, "no space left") {
		t.Fatalf("ended with %v", got)
	}
}

// TestManyOffersAreReduced orders merges, repeats the order, and fetches inputs by themselves when it
// is refused.
func TestManyOffersAreReduced(t *testing.T) {
	d := newDesk(t, Config{Fetches: 1}, "a", "b")
	for i := range int64(10) {
		d.step(Offered{Partial: part("a", uint64(i), 10*i, 10*i+10)})
	}
	first := all[Reduce](d)
	if len(first) != 1 || len(first[0].Inputs) != merge.FanIn || first[0].To != "a" {
		t.Fatalf("reduce %v", first)
	}
	d.now += 3 * time.Second
	d.reports()
	if again := all[Reduce](d); len(again) != 1 || again[0].Inputs[0].ID != first[0].Inputs[0].ID {
		t.Fatalf("the order was not repeated: %v", again)
	}
	var ids []merge.ID
	for _, p := range first[0].Inputs {
		ids = append(ids, p.ID)
	}
	d.step(NotReduced{From: "b", Inputs: ids})
	if d.home.offers.find(ids[0]).state != reducing {
		t.Fatal("a refusal by another node was believed")
	}
	d.step(NotReduced{From: "a", Inputs: ids})
	for range 20 { // each fetched by itself
		for _, f := range all[Fetch](d) {
			d.step(Stored{Partial: f.Partial, Units: f.Partial.Units, Canary: f.Partial.Canary})
		}
	}
	if got := d.home.Record().Done.Cover().Len(); got != 100 {
		t.Fatalf("committed %d units", got)
	}
	if len(all[Reduce](d)) > 0 {
		t.Fatal("a refused order was given again")
	}
}

func TestOverlappingOffersAreNotReduced(t *testing.T) {
	d := newDesk(t, Config{Fetches: 1}, "a", "b")
	for i := range int64(12) {
		d.step(Offered{Partial: part("a", uint64(i), i, i+10)})
	}
	if got := all[Reduce](d); len(got) > 0 {
		t.Fatalf("overlapping partials in %v", got)
	}
}

func TestStopEndsWithWhatIsDone(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.commit(part("a", 1, 0, 100))
	d.step(Stop{Reason: "asked to"})
	if len(all[StopAll](d)) != 1 || d.home.Ended() {
		t.Fatal("not winding up")
	}
	d.held["a"] = tasks.CoverOf(tasks.R(100, 150))
	d.reports()
	if d.home.Ended() {
		t.Fatal("ended before a's last partial")
	}
	d.commit(part("a", 2, 100, 150))
	d.held["a"] = nil
	d.reports()
	f := all[Finish](d)
	if len(f) != 1 || len(f[0].Lost) != 1 || f[0].Lost[0].Range != tasks.R(150, units) ||
		f[0].Lost[0].Reason != "asked to" {
		t.Fatalf("finish %+v", f)
	}
}

func TestStopDoesNotWaitForever(t *testing.T) {
	d := newDesk(t, Config{StopWait: time.Second}, "a")
	d.step(Stop{Reason: "asked to"})
	d.now += 2 * time.Second
	d.step(Tick{})
	if len(all[Finish](d)) != 1 {
		t.Fatal("still waiting for a node that says nothing")
	}
}

// TestCommitsAddUp offers partials at random, with and without blobs, and holds the record against sets
// of units: none twice, and the job ends when all are in.
func TestCommitsAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDesk(t, Config{}, "a", "b")
		seen := map[int64]bool{}
		var n uint64
		offer := func(first, last int64, stored bool) {
			n++
			p := part("a", n, first, last)
			d.step(Offered{Partial: p})
			if o := d.home.offers.find(p.ID); o == nil || o.state != fetching {
				return
			}
			if !stored {
				d.step(NotStored{Partial: p})
				return
			}
			d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
			for u := first; u < last; u++ {
				if seen[u] {
					rt.Fatalf("unit %d is committed twice", u)
				}
				seen[u] = true
			}
		}
		for i := range rapid.IntRange(0, 20).Draw(rt, "offers") {
			first := rapid.Int64Range(0, units-1).Draw(rt, fmt.Sprint("first", i))
			offer(
				first,
				rapid.Int64Range(first+1, units).Draw(rt, fmt.Sprint("last", i)),
				rapid.Bool().Draw(rt, fmt.Sprint("stored", i)),
			)
		}
		if got := d.home.Record().Done.Cover().Len(); got != int64(len(seen)) {
			rt.Fatalf("committed %d units, want %d", got, len(seen))
		}
		for _, r := range tasks.CoverOf(tasks.R(0, units)).Minus(d.home.Record().Done.Cover()) {
			offer(r.First, r.Last, true)
		}
		if f := all[Finish](d); len(f) != 1 || len(f[0].Lost) > 0 {
			rt.Fatalf("finish %v", f)
		}
	})
}

// TestReplicaThatCameBackIsAskedAgain: what it kept before, it has deleted, or lost with its disk if it is there again
// at once as another voter of the log.
func TestReplicaThatCameBackIsAskedAgain(t *testing.T) {
	for name, change := range map[string]func(d *desk){
		"after a while": func(d *desk) {
			d.step(Replicas{IDs: []tasks.PeerID{"c"}, Voters: []uint64{3}, Ready: true})
			d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
		},
		"at once, as another voter": func(d *desk) {
			d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{20, 3}, Ready: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, Config{}, "a", "b", "c")
			d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
			p := part("a", 1, 0, 500)
			d.commit(p)
			for _, k := range all[Keep](d) {
				d.step(Kept{From: k.To, ID: p.ID, OK: true, Seq: k.Seq})
			}
			if d.home.Record().Done.Cover().Len() != 500 || !d.home.SafeWithout([]tasks.PeerID{"b"}) {
				t.Fatal("it is not kept by all three")
			}
			change(d)
			all[Keep](d)
			if d.home.SafeWithout([]tasks.PeerID{"c"}) {
				t.Error("it is taken for kept by a replica that has lost it")
			}
			for range 20 {
				d.audit()
			}
			asked := all[Keep](d)
			if !slices.ContainsFunc(asked, func(k Keep) bool { return k.To == "b" }) ||
				slices.ContainsFunc(asked, func(k Keep) bool { return k.To == "c" }) {
				t.Errorf("asked %v", asked)
			}
			d.step(Kept{From: "b", ID: p.ID, OK: true, Seq: 100})
			if !d.home.SafeWithout([]tasks.PeerID{"c"}) {
				t.Error("it is not taken for kept")
			}
		})
	}
}

// TestFileFailsBesideWhatIsAside: an entry that is set aside does not hide that its file fails.
func TestFileFailsBesideWhatIsAside(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	for range 3 {
		d.fails("a", Failure{Blame: tasks.R(5, 6), Kind: "signal"})
		d.fails("b", Failure{Blame: tasks.R(5, 6), Kind: "signal"})
	}
	if len(d.home.Record().Lost) != 1 {
		t.Fatalf("set aside: %v", d.home.Record().Lost)
	}
	for range 3 {
		d.fails("a", Failure{Blame: tasks.R(0, 100), Kind: "open", Data: true})
		d.fails("b", Failure{Blame: tasks.R(0, 100), Kind: "open", Data: true})
	}
	if got := d.home.Record().lostCover(); !got.Equal(tasks.CoverOf(tasks.R(0, 100))) {
		t.Errorf("set aside is %v, failing %v", got, d.home.Failing())
	}
}

// TestStopIsProposedUntilItIsInTheLog: the user was told that the job is being wound up.
func TestStopIsProposedUntilItIsInTheLog(t *testing.T) {
	d := newDesk(t, Config{}, "a")
	d.deaf = true
	d.step(Stop{Reason: "enough"})
	d.deaf = false
	for i := 0; d.home.Record().Stop == nil; i++ {
		if i == 100 {
			t.Fatal("the stop is lost")
		}
		d.audit()
	}
	if s := d.home.Record().Stop; s.Reason != "enough" {
		t.Errorf("stopped for %q", s.Reason)
	}
}

// TestStoppedInManyPieces: the end of a job fits into the log, whatever is open.
func TestStoppedInManyPieces(t *testing.T) {
	r := Record{Want: tasks.R(0, 100_000)}
	for i := range int64(10_000) {
		r.Done.Commit(part("a", uint64(i+1), 10*i, 10*i+5))
	}
	if _, changed := r.Apply(Entry{End: &End{}}); changed {
		t.Error("a job that is neither complete nor stopped has ended")
	}
	r.Apply(Entry{Stop: &Stop{Reason: "enough"}})
	if _, changed := r.Apply(Entry{End: &End{}}); !changed || len(r.Lost) != 10_000 || !r.Open().Empty() ||
		r.Lost[7].Reason != "enough" {
		t.Errorf("%d pieces are lost, %v", len(r.Lost), changed)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	d := newDesk(t, Config{}, "a")
	long := strings.Repeat("ä", 1<<20)
	d.fails("a", Failure{Blame: tasks.R(5, 6), Reason: "what: " + long, Stack: long, Tail: long + "end"})
	f := d.home.Failing()[0]
	if max(len(f.Reason), len(f.Stack), len(f.Tail)) > maxText+10 || !strings.HasPrefix(f.Reason, "what: ") ||
		!strings.HasSuffix(f.Tail, "end") {
		t.Errorf("texts of %d, %d and %d bytes", len(f.Reason), len(f.Stack), len(f.Tail))
	}
	if !utf8.ValidString(f.Reason) || !utf8.ValidString(f.Tail) {
		t.Error("cut within a character")
	}
}
