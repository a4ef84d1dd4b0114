package sim

import (
	"testing"
	"time"
)

// large is a job of 10 s a node on n nodes that do not all know each other. docs/scale.md has larger ones.
func large(n, replicas int) Config {
	return Config{
		Seed:       1,
		Nodes:      n,
		Slots:      1,
		Files:      n / 10,
		UnitTime:   10 * time.Millisecond,
		Units:      int64(n) * 1000,
		Replicas:   replicas,
		Latency:    time.Millisecond,
		View:       16,
		Deal:       true,
		Generation: 30 * time.Second,
		Packet:     200 * time.Millisecond,
	}
}

// TestManyNodes checks the share of time that a thousand nodes work, and how many messages their home gets; nothing may
// be taken for lost that is not.
func TestManyNodes(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and it would take a minute")
	}
	var efficiency [2]float64
	for i, replicas := range []int{0, 3} {
		c := large(1000, replicas)
		r := Run(c)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		efficiency[i] = r.Efficiency(c)
		in, out := r.Load.Messages()
		t.Logf("%d replicas: efficiency %.3f, home %d messages in, %d out, depth %d", replicas, efficiency[i], in, out,
			r.Load.Depth)
		if efficiency[i] < 0.95 || r.Counts.Reissued > 0 || r.Counts.Rejected > 0 || r.Rerun > 0 {
			t.Errorf("%d replicas: efficiency %.3f, rerun %.4f, %+v", replicas, efficiency[i], r.Rerun, r.Counts)
		}
		if perSecond := float64(in+out) / r.Makespan.Seconds(); perSecond > 1000 {
			t.Errorf("%d replicas: the home has %.0f messages a second", replicas, perSecond)
		}
		if r.Load.Depth < 3 {
			t.Errorf("%d replicas: partials are merged %d deep: the tree is not used", replicas, r.Load.Depth)
		}
	}
	if cost := efficiency[0] - efficiency[1]; cost > 0.01 {
		t.Errorf("replicas cost %.3f", cost)
	}
}
