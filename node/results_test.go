package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// TestWhatIsPromisedIsKept: how long a result is kept is a matter of its age, not of how many jobs came after it.
func TestWhatIsPromisedIsKept(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const hour, day = time.Hour, 24 * time.Hour
	cfg := Config{KeepJobs: 2, KeepWhole: 3, KeepBytes: 100, KeepFor: 14 * day}
	for name, c := range map[string]struct {
		f            finished
		forget, drop bool // after many newer jobs
	}{
		"partial, written":                 {f: finished{ended: ago(hour), result: true, fetched: ago(hour), partial: true}},
		"partial, written long ago":        {f: finished{ended: ago(2 * day), result: true, fetched: ago(25 * hour), partial: true}, forget: true},
		"partial, fetched again":           {f: finished{ended: ago(20 * day), result: true, fetched: ago(23 * hour), partial: true}},
		"never fetched":                    {f: finished{ended: ago(13 * day), result: true}},
		"never fetched, and long ago":      {f: finished{ended: ago(15 * day), result: true}, forget: true},
		"owed":                             {f: finished{ended: ago(13 * day), owed: true}},
		"owed for long":                    {f: finished{ended: ago(15 * day), owed: true}, forget: true},
		"failed":                           {f: finished{ended: ago(hour)}, forget: true},
		"whole, and its user has it":       {f: finished{ended: ago(hour), result: true, fetched: ago(hour), bytes: 1}, drop: true},
		"whole, fetched after a fortnight": {f: finished{ended: ago(15 * day), result: true, fetched: ago(hour), bytes: 1}, drop: true},
	} {
		var newer []finished
		for range 10 {
			newer = append(newer, finished{ended: now, result: true, fetched: now, bytes: 1}, finished{ended: now})
		}
		c.f.job = newJob(t.Context(), name)
		has := func(all []finished) bool {
			for _, f := range all {
				if f.job == c.f.job {
					return true
				}
			}
			return false
		}
		forget, drop := cfg.expired(now, append(newer, c.f))
		if has(forget) != c.forget || has(drop) != c.drop {
			t.Errorf("%s: forgotten %v, result dropped %v", name, has(forget), has(drop))
		}
		if f, dr := cfg.expired(now, []finished{c.f}); !c.drop && now.Sub(c.f.ended) < day && len(f)+len(dr) > 0 {
			t.Errorf("%s: it goes though it is the only one", name)
		}
	}
	big := finished{ended: now, result: true, fetched: now, bytes: 60}
	if forget, drop := cfg.expired(now, []finished{big, big}); len(forget) != 0 || len(drop) != 1 {
		t.Errorf("of 120 bytes with room for 100, %d results went, and %d jobs", len(drop), len(forget))
	}
}

// TestPartialJobOutlivesNewerOnes: a loop over many files does not take from its user what a retry of one needs.
func TestPartialJobOutlivesNewerOnes(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	partial := d.ended(t, "a", "", "some histograms")
	partial.status.State = api.Partial
	parts := filepath.Join(d.partsDir(partial.name), "part")
	if err := durable.Write(parts, []byte("some")); err != nil {
		t.Fatal(err)
	}
	d.wasFetched(partial.name)
	for i := range d.cfg.KeepJobs + 10 {
		j := d.ended(t, fmt.Sprintf("%02d", i)[:1], "", "histograms")
		j.name = fmt.Sprintf("%032x", i)
		d.mu.Lock()
		d.byName[j.name] = j
		d.mu.Unlock()
		if err := durable.Write(d.resultPath(j.name), []byte("histograms")); err != nil {
			t.Fatal(err)
		}
		d.wasFetched(j.name)
		d.sweep()
	}
	if found := d.find(partial.name); len(found) != 1 || store.SizeOf(d.resultPath(partial.name)) < 0 || store.SizeOf(parts) < 0 {
		entries, _ := os.ReadDir(d.jobsDir())
		t.Errorf("a partial job is gone after newer ones, %d are left", len(entries))
	}
}
