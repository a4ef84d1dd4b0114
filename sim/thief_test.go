package sim

import (
	"testing"
	"time"
)

// forAudits is the time of the audits that find the units lost with a thief; it does not depend on the length of the
// job.
const forAudits = 5 * time.Second

// TestThief: one member takes all the work that it can get and does nothing. The job takes at most twice as long as
// without it, and some seconds.
func TestThief(t *testing.T) {
	for s := range uint64(12) {
		c := Config{Seed: s, Nodes: 4 + int(s%3)*4, Slots: 1 + int(s%4), UnitTime: time.Millisecond, Files: 8, Replicas: 3,
			Latency: time.Millisecond, Calm: time.Millisecond, Deal: s%2 == 0, Even: true, Thieves: 1}
		c.Units = int64(10+20*(s%3)) * 1000 * int64(c.Slots*(c.Nodes-1)) // 10, 30 or 50 s of the honest nodes' time
		res := checkSeed(t, c)
		alone := time.Duration(10+20*(s%3)) * time.Second
		t.Logf("seed %d: %d nodes, %d slots: %v, %v without the thief; it took %.2f of the work", s, c.Nodes, c.Slots,
			res.Makespan, alone, float64(res.Stolen)/float64(c.Units))
		if res.Makespan > 2*alone+forAudits {
			t.Errorf("seed %d: %v, and %v without the thief", s, res.Makespan, alone)
		}
	}
}
