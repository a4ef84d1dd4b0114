package child

import (
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

func TestWatch(t *testing.T) {
	limits := exec.Limits{
		Scratch:   100,
		Processes: 3,
		Stall:     60 * time.Second,
		EntryCPU:  10 * time.Second,
		Open:      30 * time.Second,
	}
	for _, c := range []struct {
		name  string
		after reading // than one at second 0 with progress 1 and 1 s of CPU time; at counts seconds
		sec   int
		kind  exec.Kind
		msg   string
	}{
		{"progress", reading{busy: true, progress: 2, cpu: 99 * time.Second}, 100, "", ""},
		{"idle", reading{progress: 1, cpu: 99 * time.Second}, 100, "", ""},
		{"slow", reading{busy: true, progress: 1, cpu: 2 * time.Second}, 59, "", ""},
		{"stalls", reading{busy: true, progress: 1, cpu: 2 * time.Second}, 60, exec.KindStall, "no progress for 1m0s"},
		{"opening", reading{busy: true, progress: 1, opening: true}, 29, "", ""},
		{"opens for ever", reading{busy: true, progress: 1, opening: true}, 30, exec.KindOpen, "longer than 30s"},
		{"CPU", reading{busy: true, progress: 1, cpu: 12 * time.Second}, 5, exec.KindLimit, "used 11s of CPU time"},
		{"processes", reading{progress: 2, processes: 4}, 1, exec.KindLimit, "runs 4 processes"},
		{"scratch", reading{progress: 2, scratch: 101}, 1, exec.KindLimit, "working folder holds"},
	} {
		start := time.Now()
		w := watch{limits: limits, since: start}
		if v, bad := w.look(reading{at: start, busy: true, progress: 1, cpu: time.Second}); bad {
			t.Fatalf("%s: ended at once: %+v", c.name, v)
		}
		c.after.at = start.Add(time.Duration(c.sec) * time.Second)
		v, bad := w.look(c.after)
		if bad != (c.kind != "") || v.kind != c.kind || !strings.Contains(v.msg, c.msg) {
			t.Errorf("%s: %v, %+v; want kind %q and %q", c.name, bad, v, c.kind, c.msg)
		}
		if _, again := w.look(c.after); again {
			t.Errorf("%s: ended twice", c.name)
		}
	}
}

// TestWatchTakesAnyLimit: what a job's description says must never end the process that takes it.
func TestWatchTakesAnyLimit(t *testing.T) {
	for _, stall := range []time.Duration{-time.Second, -1, 0, 1, 3, time.Millisecond, time.Hour, 1<<63 - 1} {
		w := watch{limits: exec.Limits{Stall: stall}}
		time.NewTicker(w.every()).Stop() // panics if it is not positive
	}
}
