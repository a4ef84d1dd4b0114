package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestBlameOfMoreThanAFile has a node blame units of two files, which no honest one does: nothing becomes of it. All
// of one file may be to blame.
func TestBlameOfMoreThanAFile(t *testing.T) {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: 600}, {URL: "b", Entries: 400}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		blame tasks.Range
		tried bool
	}{
		{tasks.R(0, units), false},
		{tasks.R(599, 601), false},
		{tasks.R(0, 600), true},
		{tasks.R(600, units), true},
		{tasks.R(7, 8), true},
	} {
		d := newDesk(t, Config{}, "a", "b")
		d.home.data = data
		all[Try](d)
		d.fails("a", Failure{Blame: c.blame, Kind: "signal"})
		if got := len(all[Try](d)) > 0; got != c.tried {
			t.Errorf("%v blamed: tried %v, want %v", c.blame, got, c.tried)
		}
	}
}

// TestHowMuchANodeClaimsDoesNotMatter has a node claim all units, and do nothing: how long idle nodes wait to run
// them does not grow with how many there are.
func TestHowMuchANodeClaimsDoesNotMatter(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c")
	d.rate = 0.5
	all[Reissue](d)
	for len(all[Reissue](d)) == 0 {
		if d.audit(); d.now > 10*time.Minute {
			t.Fatal("after 10 minutes nobody else has got what one node says that it holds")
		}
	}
	if d.now < time.Minute {
		t.Errorf("a node was waited for no longer than %v", d.now)
	}
}

// TestBlink: a node that claims all units, and takes that back for a moment now and then, is believed no longer than
// one that claims them all the time.
func TestBlink(t *testing.T) {
	d := newDesk(t, Config{}, "h", "liar")
	d.held = map[tasks.PeerID]tasks.Cover{"liar": tasks.CoverOf(d.home.record.Want)}
	last := d.now
	for d.home.Counts().Doubted == 0 {
		if d.now > time.Hour {
			t.Fatal("after an hour it is believed still")
		}
		d.audit()
		if d.now-last >= 25*time.Second {
			last = d.now
			all := d.held["liar"]
			d.held["liar"] = nil
			d.audit()
			d.held["liar"] = all
		}
	}
}

// TestHostage: a node that is to merge what others made offers merges that it never hands out: the inputs are free
// again in bounded time.
func TestHostage(t *testing.T) {
	workers := []tasks.PeerID{"h"}
	for i := range 12 {
		workers = append(workers, fmt.Sprint("w", i))
	}
	workers = append(workers, "liar") // offers when all places are taken, and has the largest of eight
	d := newDesk(t, Config{}, workers...)
	sizes := []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 200, 100}
	for i, w := range workers[1:] {
		p := part(w, 1, int64(i), int64(i)+1)
		p.Size = sizes[i]
		d.step(Offered{Partial: p})
	}
	orders := all[Reduce](d)
	if len(orders) != 1 || orders[0].To != "liar" {
		t.Fatalf("orders %+v", orders)
	}
	from := d.now
	for others := int64(12); d.home.Record().Done.Cover().Len() < others; {
		if d.now-from > 5*time.Minute {
			t.Fatalf("%d units are committed of the %d that others have", d.home.Record().Done.Cover().Len(), others)
		}
		d.audit()
		hostage := merge.Sum(merge.ID{Node: "liar", Seq: uint64(d.now)}, orders[0].Inputs)
		hostage.Holder = "liar"
		d.step(Offered{Partial: hostage})
		for _, e := range all[Fetch](d) {
			if e.Partial.Holder == "liar" {
				d.step(NotStored{Partial: e.Partial})
			} else {
				d.step(Stored{Partial: e.Partial, Units: e.Partial.Units, Canary: e.Partial.Canary})
			}
		}
	}
	t.Logf("all that others have is committed after %v", d.now-from)
}

// TestSlowBlobs: blobs that come byte by byte keep nobody else's from being committed for long, nor does their number.
func TestSlowBlobs(t *testing.T) {
	d := newDesk(t, Config{}, "h", "a", "liar")
	d.home.custody.gave("liar", tasks.CoverOf(d.home.record.Want))
	for i := range int64(32) {
		p := part("liar", uint64(i+1), 500+i, 501+i)
		p.Size = merge.MaxSize // as it says
		d.step(Offered{Partial: p})
	}
	d.step(Offered{Partial: part("a", 1, 0, 10)})
	from := d.now
	for d.home.Record().Done.Cover().Empty() {
		if d.now-from > 10*time.Second {
			t.Fatalf("what a has is not committed after %v", d.now-from)
		}
		for _, e := range all[Fetch](d) {
			if e.Partial.Holder != "liar" {
				d.step(Stored{Partial: e.Partial, Units: e.Partial.Units, Canary: e.Partial.Canary})
			}
		}
		d.audit()
	}
}

// slowDesk is a home with work of its own, that has given out the rest: slow has 800 to 1000, and offers a part of
// it. Some of what a has done comes while that is fetched, if others is set; a has more.
func slowDesk(t *testing.T, others bool) *desk {
	d := newDesk(t, Config{}, "h", "a", "b", "slow")
	d.held = map[tasks.PeerID]tasks.Cover{
		"a":    span(0, 430),
		"b":    span(430, 750),
		"h":    span(750, 800),
		"slow": span(800, units),
	}
	for id, c := range d.held {
		d.home.custody.gave(id, c)
	}
	d.settled()
	d.step(Offered{Partial: part("slow", 1, 800, 900)})
	d.now += time.Second
	if others {
		d.step(Offered{Partial: part("a", 1, 0, 400)})
		first := part("a", 1, 0, 400)
		d.step(Stored{Partial: first, Units: 400, Canary: first.Canary})
	}
	d.now += 9 * time.Second
	d.settled()
	return d
}

// slowAgain has the first offer of slow fail for its pace, once more.
func (d *desk) slowAgain() {
	d.step(NotStored{Partial: merge.Partial{ID: merge.ID{Node: "slow", Seq: 1}}, Slow: true})
}

// reissued is what was put to work again.
func reissued(d *desk) (again tasks.Cover) {
	for _, r := range all[Reissue](d) {
		again = again.Union(r.Ranges)
	}
	return again
}

// TestWhoIsSlowIsWaitedForOnce: after one fetch that was too slow others run all that its holder has, once they have
// nothing else to do; it is named, offers of others come first, and no more work is for it.
func TestWhoIsSlowIsWaitedForOnce(t *testing.T) {
	d := slowDesk(t, true)
	d.slowAgain()
	if !d.home.standings.shady("slow") || d.home.Slow()["slow"] != 1 || len(d.home.Tardy()) != 1 ||
		d.home.Tardy()[0].ID != "slow" {
		t.Fatalf(
			"slow is shady %v, %d times, tardy are %v",
			d.home.standings.shady("slow"),
			d.home.Slow()["slow"],
			d.home.Tardy(),
		)
	}
	d.out = nil
	d.wait(2 * d.home.cfg.Audits)
	if again := reissued(d); again.Intersects(span(800, units)) {
		t.Errorf("put to work again while all others have work: %v", again)
	}
	d.step(Offered{Partial: part("a", 2, 400, 430)}) // a has nothing to do after that
	second := part("a", 2, 400, 430)
	d.step(Stored{Partial: second, Units: 30, Canary: second.Canary})
	d.out = nil
	d.wait(2 * d.home.cfg.Audits)
	if again := reissued(d); !again.Equal(span(800, units)) {
		t.Errorf("put to work again is %v", again)
	}
	d.step(Offered{Partial: part("slow", 1, 800, 900)}) // its link is better now
	late := part("slow", 1, 800, 900)
	d.step(Stored{Partial: late, Units: 100, Canary: late.Canary})
	if d.home.standings.shady("slow") || len(d.home.Tardy()) > 0 || d.home.Slow()["slow"] != 1 ||
		!d.home.Record().Done.Cover().Covers(span(800, 900)) {
		t.Errorf(
			"it has delivered %v: shady %v, tardy %v",
			d.home.Record().Done.Cover(),
			d.home.standings.shady("slow"),
			d.home.Tardy(),
		)
	}
}

// TestSlowNetwork: where no blob comes from anybody it may be the home's own link, and nobody is taken for slow.
func TestSlowNetwork(t *testing.T) {
	d := slowDesk(t, false)
	d.slowAgain()
	if d.home.standings.shady("slow") || len(d.home.Slow()) > 0 {
		t.Errorf("slow is named %v", d.home.Slow())
	}
}

// TestSlowAgain: who is slow time and again must deliver more often each time until it is waited for.
func TestSlowAgain(t *testing.T) {
	d := slowDesk(t, true)
	for i, want := range []int{1, 2, 4, 8, 16, 32, 64, 64} {
		d.home.standings.of("a").cameAt = d.now + 1
		d.home.tooSlowFrom("slow", d.now)
		if got := d.home.standings.of("slow").tardy; got != want {
			t.Errorf("after %d times it has to deliver %d times, want %d", i+1, got, want)
		}
		d.home.standings.of("slow").tardy = 0
	}
}

// TestSlowBySize: a partial that is said to be much larger than all that is committed is not waited for the longer;
// one whose size is like the others' is, and each next time twice as long.
func TestSlowBySize(t *testing.T) {
	for _, c := range []struct {
		name            string
		committed, size int64
		from, to        time.Duration // given up after from, and before to
	}{
		{"small", 1000, 1000, 30 * time.Second, 31 * time.Second},
		{"as large as the others", 4 << 20, 4 << 20, 90 * time.Second, 100 * time.Second},
		{"hours, as it says", 1000, merge.MaxSize, 40 * time.Second, 50 * time.Second},
		{"hours, among large ones", 1 << 30, merge.MaxSize, 5 * time.Minute, 15 * time.Minute},
		{"hours, first of all", 0, merge.MaxSize, time.Minute, 5 * time.Minute},
	} {
		d := newDesk(t, Config{}, "h", "a", "b", "slow")
		d.home.custody.gave("slow", span(500, units))
		d.home.custody.gave("a", span(0, 500))
		d.held = map[tasks.PeerID]tasks.Cover{"a": span(0, 500), "slow": span(500, units)}
		commit := func(i int64) {
			p := part("a", uint64(i), i-1, i)
			p.Size = c.committed
			d.step(Offered{Partial: p})
			d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
		}
		if c.committed > 0 {
			commit(1)
		}
		for try := range time.Duration(2) {
			p := part("slow", 1, 500, 501)
			p.Size = c.size
			d.out = nil
			d.step(Offered{Partial: p})
			if len(all[Fetch](d)) != 1 {
				t.Fatalf("%s: it is not fetched", c.name)
			}
			begun := d.now
			for try := d.home.offers.unstored[p.ID]; d.home.offers.unstored[p.ID] == try; {
				if d.now-begun > time.Hour {
					t.Fatalf("%s: it is waited for for an hour", c.name)
				}
				d.now += time.Second / 4
				d.reports()
			}
			took := d.now - begun
			if most := c.to << try; took < c.from || took > most {
				t.Errorf("%s: given up after %v, want %v to %v", c.name, took, c.from, most)
			}
		}
	}
}
