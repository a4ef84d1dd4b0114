package engine

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// mixed are four hosts of which the first and the last have what the job needs.
func mixed(t *testing.T) *group {
	return newMixedGroup(t, 4, "root=2", map[tasks.PeerID][]tasks.Offer{
		"n0": {{"root", "root=2"}},
		"n1": {{"root", "root=1"}, {"test"}},
		"n3": {{"test"}, {"root", "root=2"}},
	})
}

// strangers fails for hosts that did something for a job which they cannot run.
func (g *group) strangers() {
	for _, id := range []string{"n1", "n2"} {
		h := g.at(id)
		if h.loads > 0 || len(h.gens) > 0 || g.ran[id] > 0 {
			g.Errorf("%s, which has nothing to run the job with, is asked %d times to load its code, begins %d generations and "+
				"runs %d units", id, h.loads, len(h.gens), g.ran[id])
		}
	}
}

// TestJobsAreForThoseThatCanRunThem has a job done by the two of four hosts that have what it needs. The others load no
// code and run nothing; they may keep the ledger, and are told of the end.
func TestJobsAreForThoseThatCanRunThem(t *testing.T) {
	g := mixed(t)
	g.submit()
	if !g.run(5*time.Second, func() bool { return g.replicas() == 3 }) {
		t.Fatal("no three replicas, though there are four hosts")
	}
	if !g.run(time.Minute, func() bool { return g.hosts[0].ended != nil }) {
		t.Fatal("the job did not end")
	}
	if g.ran["n3"] == 0 {
		t.Error("n3 had no part in the work")
	}
	g.run(10*time.Second, func() bool { return false })
	g.strangers()
	for _, h := range g.hosts { // also those that missed the word of the end have asked for it by their reports
		if len(h.logs) > 0 || len(h.peer.jobs) > 0 {
			t.Errorf("%s keeps %d ledgers, %d jobs", h.id, len(h.logs), len(h.peer.jobs))
		}
	}
}

// offers has a host, and all others, know that the host's runtimes are others now.
func (g *group) offers(id tasks.PeerID, has ...tasks.Offer) {
	g.has[id] = has
	g.at(id).step(Able{Offers: has})
	for _, o := range g.hosts {
		if o.id != id {
			o.step(PeerUp{ID: id, Slots: 1, Offers: has})
		}
	}
}

// TestRuntimesComeAndGo has the runtime of one host break before a job comes, and that of another mended while the job
// runs: the one is asked for nothing, the other loads the code and runs its part.
func TestRuntimesComeAndGo(t *testing.T) {
	g := mixed(t)
	g.hosts[0].slow = true
	g.offers("n3", tasks.Offer{"test"})
	g.submit()
	g.run(5*time.Second, func() bool { return false })
	if g.strangers(); g.at("n3").loads > 0 || g.ran["n3"] > 0 {
		t.Errorf("n3, whose runtime broke, loads code %d times and runs %d units", g.at("n3").loads, g.ran["n3"])
	}
	g.offers("n1", tasks.Offer{"root", "root=2"})
	if !g.run(5*time.Minute, func() bool { return g.hosts[0].ended != nil }) {
		t.Fatal("the job did not end")
	}
	if g.ran["n1"] == 0 || g.at("n3").loads > 0 {
		t.Errorf("n1, whose runtime was mended, runs %d units; n3 loads code %d times", g.ran["n1"], g.at("n3").loads)
	}
}

// TestLeadComesToWhoCanRunTheJob kills the home of a job that only one other host can run: whoever is elected hands the
// lead over, and the job ends.
func TestLeadComesToWhoCanRunTheJob(t *testing.T) {
	kills := 0
	for at := 20 * time.Millisecond; at < time.Second; at += 40 * time.Millisecond {
		g := mixed(t)
		g.submit()
		g.run(at, func() bool { return false })
		if g.replicas() < 3 || g.hosts[0].ended != nil {
			continue
		}
		kills++
		g.hosts[0].kill()
		if !g.run(2*time.Minute, g.endedSomewhere) {
			t.Fatalf("killed at %v: the job did not end", at)
		}
		g.strangers()
	}
	if kills < 5 {
		t.Errorf("only %d kills", kills)
	}
}

// TestLeadOnly has a job led by a host that can run none of it, though it has the runtime, or since it has none:
// another does all of the work.
func TestLeadOnly(t *testing.T) {
	for _, has := range [][]tasks.Offer{{{"root", "root=2"}}, {{"test"}}} {
		g := mixed(t)
		g.offers("n0", has...)
		h := g.hosts[0]
		h.step(Submit{ID: jobID, Job: groupJob(g), LeadOnly: true})
		if !g.run(time.Minute, g.endedSomewhere) {
			t.Fatalf("with %v: the job did not end", has)
		}
		if g.ran["n0"] > 0 || len(h.gens) > 0 || g.ran["n3"] == 0 {
			t.Errorf("with %v: n0, which only leads, runs %d units, n3 %d", has, g.ran["n0"], g.ran["n3"])
		}
	}
}

// TestWhoCannotRunTheJobGoesOnReporting has a node that has no runtime for a job be due to report: so it is told of the
// end should it miss that.
func TestWhoCannotRunTheJobGoesOnReporting(t *testing.T) {
	r := newRig(t, "m")
	r.step(PeerUp{ID: "h", Slots: 1})
	r.step(Recv{From: "h", Msg: open("h", 1)})
	job := testJob(t)
	job.Work.Needs = []string{"root=2"}
	r.step(Described{ID: jobID, From: "h", Job: job})
	for range 20 {
		wake := r.peer.Wake()
		if wake < 0 || wake > r.now+time.Second {
			t.Fatalf("at %v it is to be stepped at %v", r.now, wake)
		}
		r.now = max(r.now+time.Millisecond, wake)
		r.step(Tick{})
	}
	reports := 0
	for _, s := range r.sent {
		if s.Msg.Report != nil {
			reports++
		}
	}
	if reports < 5 {
		t.Errorf("%d reports in %v", reports, r.now)
	}
}

// TestNodeThatLacksWhatCodeRunsIn keeps out of a job, tells the home of no failure, and tries again only now and then.
func TestNodeThatLacksWhatCodeRunsIn(t *testing.T) {
	r := newRig(t, "m")
	for _, id := range []tasks.PeerID{"h", "x"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	r.step(Described{ID: jobID, From: "h", Job: testJob(t)})
	tries := func(d time.Duration) (n int) {
		for end := r.now + d; r.now < end; r.now += 100 * time.Millisecond {
			for _, e := range append(r.step(Tick{}), r.step(Recv{From: "h", Msg: open("h", 1)})...) {
				if _, ok := e.(Prepare); ok {
					n++
					r.step(NotPrepared{ID: jobID, Failure: ledger.Failure{Kind: "lacks", Reason: "no network"}})
				}
			}
		}
		return n
	}
	r.step(NotPrepared{ID: jobID, Failure: ledger.Failure{Kind: "lacks", Reason: "no network"}})
	if n := tries(time.Minute); n != 0 {
		t.Errorf("it has tried %d times in a minute", n)
	}
	if n := tries(2 * time.Minute); n != 1 {
		t.Errorf("it has tried %d times in two more", n)
	}
	if told := r.peer.jobs[0].work.failures; len(told) > 0 {
		t.Errorf("failures are told: %+v", told)
	}
	r.step(Prepared{ID: jobID, Job: testJob(t)})
	if !r.peer.jobs[0].loaded {
		t.Error("it does not take part once it can")
	}
}
