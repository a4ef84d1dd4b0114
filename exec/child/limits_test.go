package child

import (
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
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

// TestFullDiskIsNoLimit: what has no room on a full disk is not said to have gone beyond --max-scratch, which nobody
// has set and which would not help.
func TestFullDiskIsNoLimit(t *testing.T) {
	for _, c := range []struct {
		limits exec.Limits
		kind   exec.Kind
		msg    string
	}{
		{exec.Limits{Scratch: 2 << 10, Within: "/s/1"}, exec.KindDisk, "no space left on the disk of /s/1: 8 KiB were free"},
		{exec.Limits{Scratch: 2 << 10}, exec.KindLimit, "the limit is 2 KiB (--max-scratch)"},
		{exec.Limits{Scratch: 1 << 30, Within: "/s/1"}, exec.KindLimit, "the limit is 1024 MiB (--max-scratch)"},
	} {
		w := watch{limits: c.limits}
		v, bad := w.look(reading{busy: true, progress: 1, scratch: c.limits.Scratch + 1})
		if !bad || v.kind != c.kind || !strings.Contains(v.msg, c.msg) {
			t.Errorf("%+v: %v, %+v", c.limits, bad, v)
		}
	}
	full := exec.Limits{}.WithDefaults(t.TempDir())
	if asked := (exec.Limits{Scratch: 5}).WithDefaults(t.TempDir()); full.Within == "" || asked.Within != "" {
		t.Errorf("%+v, %+v", full, asked)
	}
}

// TestStallNamesItsLimit: who runs into the limit of time is told how to allow more in the interface that was used.
func TestStallNamesItsLimit(t *testing.T) {
	for word, says := range map[string]string{"": "(--stall)", "stall= in Python": "(stall= in Python)"} {
		w := watch{limits: exec.Limits{Stall: time.Second}, stall: word}
		v, bad := w.look(reading{at: time.Time{}.Add(time.Minute), busy: true})
		if !bad || !strings.HasSuffix(v.msg, says) {
			t.Errorf("%q: %v, %+v", word, bad, v)
		}
	}
	w := watch{limits: exec.Limits{Stall: tasks.NoLimit}}
	if v, bad := w.look(reading{at: time.Time{}.Add(100 * 365 * 24 * time.Hour), busy: true}); bad {
		t.Errorf("without a limit: %+v", v)
	}
}

// TestWatchTakesAnyLimit: what a job's description says must never end the process that takes it.
func TestWatchTakesAnyLimit(t *testing.T) {
	for _, stall := range []time.Duration{-time.Second, -1, 0, 1, 3, time.Millisecond, time.Hour, tasks.NoLimit} {
		w := watch{limits: exec.Limits{Stall: stall}}
		time.NewTicker(w.every()).Stop() // panics if it is not positive
	}
}
