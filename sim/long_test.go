package sim

import (
	"os"
	"testing"
	"time"
)

// long is a job of a given length on nodes of 8 slots, with a commit by each node every 30 s, as with real ones, or
// three commits a second in total if that is fewer, since the simulator could not follow more for a day. Its units are
// long, because what matters here grows with time and not with the number of units.
func long(nodes int, last time.Duration) Config {
	unit := 2 * time.Second
	if nodes >= 1000 {
		unit *= time.Duration(nodes / 100)
	}
	return Config{
		Seed:       1,
		Nodes:      nodes,
		Slots:      8,
		Units:      int64(last/unit) * int64(nodes) * 8,
		Files:      200,
		UnitTime:   unit,
		Latency:    time.Millisecond,
		Blob:       10 * time.Millisecond,
		Packet:     5 * unit,
		Generation: 15 * unit,
		Replicas:   3,
		Deal:       true,
		Limit:      last*2 + time.Hour,
		Watch:      time.Second,
	}
}

// TestLongJobs plays 20 minutes of a job on 10 nodes and 4 minutes on 100; with $DTPNODE_LONG (24h in make soak) as
// long as that says on 10 and on 1,000. What is committed and what lies on each disk must be bounded all the time,
// whether outputs are histograms or trees.
func TestLongJobs(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine; runs without the race detector")
	}
	cases := []struct {
		name  string
		nodes int
		last  time.Duration
	}{{"10 nodes for 20 minutes", 10, 20 * time.Minute}, {"100 nodes for 4 minutes", 100, 4 * time.Minute}}
	if d := os.Getenv("DTPNODE_LONG"); d != "" {
		last, err := time.ParseDuration(d)
		if err != nil {
			t.Fatal(err)
		}
		cases[0].name, cases[0].last = "10 nodes for "+d, last
		cases[1].name, cases[1].nodes, cases[1].last = "1,000 nodes for "+d, 1000, last
	}
	for _, tc := range cases {
		for _, out := range []struct {
			name          string
			flat, perUnit int64
		}{{"small histograms", 1 << 20, 0}, {"large histograms", 50 << 20, 0}, {"trees", 0, 1 << 20}} {
			t.Run(tc.name+", "+out.name, func(t *testing.T) {
				t.Parallel()
				c := long(tc.nodes, tc.last)
				c.Flat, c.PerUnit = out.flat, out.perUnit
				res := Run(c)
				if res.Err != nil || !res.Finished {
					t.Fatalf("after %v: %v", res.Makespan, res.Err)
				}
				if res.Commits < 50 || res.Folds == 0 {
					t.Errorf("%d commits and %d folds: this was to be a long job", res.Commits, res.Folds)
				}
				if best := tc.last; res.Makespan > best*115/100+time.Minute {
					t.Errorf("it took %v: commits that wait must not hold up work", res.Makespan)
				}
				t.Logf("%v, %d commits, %d folds; at most %d committed at once, %d blobs and %d bytes on a disk", res.Makespan,
					res.Commits, res.Folds, res.MostParts, res.MostBlobs, res.MostBytes)
			})
		}
	}
}

// TestLongEntries has entries that take from seconds to more than the commit interval each: they are stolen like
// others, at least one for each slot, and no node is suspected for working on one.
func TestLongEntries(t *testing.T) {
	for _, tc := range []struct{ unit, packet, commits time.Duration }{
		{2 * time.Second, 2 * time.Second, 30 * time.Second}, {10 * time.Second, 10 * time.Second, 30 * time.Second},
		{40 * time.Second, 40 * time.Second, 30 * time.Second}, {5 * time.Second, 25 * time.Second, 75 * time.Second},
		{20 * time.Second, 100 * time.Second, 5 * time.Minute},
	} {
		const nodes, slots, each = 20, 8, 30
		best := each * tc.unit
		r := Run(Config{
			Seed:       1,
			Nodes:      nodes,
			Slots:      slots,
			Units:      nodes * slots * each,
			Files:      200,
			UnitTime:   tc.unit,
			Latency:    time.Millisecond,
			Blob:       10 * time.Millisecond,
			Packet:     tc.packet,
			Generation: tc.commits,
			Replicas:   3,
			Deal:       true,
			Limit:      10 * best,
		})
		if r.Err != nil || !r.Finished {
			t.Errorf("entries of %v: after %v: %v", tc.unit, r.Makespan, r.Err)
			continue
		}
		if r.Makespan > best*120/100+5*time.Second || r.Rerun > 0.01 {
			t.Errorf("entries of %v took %v, at best %v; %.3f of them ran again; %+v", tc.unit, r.Makespan, best, r.Rerun,
				r.Counts)
		}
		t.Logf("entries of %v: %v, at best %v", tc.unit, r.Makespan, best)
	}
}

// TestFewLongEntries has only a few entries for each slot, in a job of unknown speed: they run in parallel from the
// start, since none is queued behind another while a slot is free.
func TestFewLongEntries(t *testing.T) {
	const slots = 4
	for _, unit := range []time.Duration{2 * time.Second, time.Minute, 10 * time.Minute} {
		for _, nodes := range []int{2, 4, 10} {
			for _, each := range []int64{1, 3, 6} {
				r := Run(Config{
					Seed:       1,
					Nodes:      nodes,
					Slots:      slots,
					Units:      int64(nodes) * slots * each,
					Files:      1,
					UnitTime:   unit,
					Latency:    time.Millisecond,
					Blob:       10 * time.Millisecond,
					Packet:     time.Second,
					Generation: 30 * time.Second,
					Replicas:   3,
					Deal:       true,
					Limit:      time.Hour * 10,
				})
				// The slowest node takes 1.25 times as long, and there may be one entry more or less on a slot.
				if most := time.Duration(each)*unit*5/4 + unit + time.Second; r.Err != nil || !r.Finished || r.Makespan > most {
					t.Errorf("%d entries of %v on %d nodes of %d slots took %v, want at most %v: %v, %+v", int64(nodes)*slots*each,
						unit, nodes, slots, r.Makespan, most, r.Err, r.Counts)
				}
			}
		}
	}
}
