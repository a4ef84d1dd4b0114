package engine

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/steal"
)

// TestTimeInSlotsIsCounted: a job's reports tell for how long its generations have had slots, those that run still and
// those that have ended, each second once.
func TestTimeInSlotsIsCounted(t *testing.T) {
	j, other := &jobState{}, &jobState{}
	p := &Peer{gens: map[steal.GenID]*genState{}}
	at := func(now time.Duration) { p.now = now * time.Second }
	check := func(job *jobState, want int64) {
		t.Helper()
		if got := p.slotTime(job); got != 1000*want {
			t.Errorf("after %v: %d ms, want %d s", p.now, got, want)
		}
	}
	p.gens[1] = &genState{job: j, slot: p.now}
	at(2)
	p.gens[2] = &genState{job: j, slot: p.now}
	p.gens[3] = &genState{job: other, slot: p.now}
	check(j, 2)
	at(5)
	check(j, 8)
	check(j, 8)
	p.dropGen(1)
	p.dropGen(1)
	at(9)
	p.dropGen(2)
	at(100)
	check(j, 12)
	check(other, 98)
}
