package store

import (
	"testing"
	"time"
)

// TestWhatIsPromisedIsKept: how long a result is kept is a matter of its age, not of how many jobs came after it.
func TestWhatIsPromisedIsKept(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const hour, day = time.Hour, 24 * time.Hour
	cfg := Retention{KeepJobs: 2, KeepWhole: 3, KeepBytes: 100, KeepFor: 14 * day}
	for name, c := range map[string]struct {
		f            Finished
		forget, drop bool // after many newer jobs
	}{
		"partial, written": {f: Finished{Ended: ago(hour), Result: true, Fetched: ago(hour), Partial: true}},
		"partial, written long ago": {
			f:      Finished{Ended: ago(2 * day), Result: true, Fetched: ago(25 * hour), Partial: true},
			forget: true,
		},
		"partial, fetched again": {f: Finished{
			Ended:   ago(20 * day),
			Result:  true,
			Fetched: ago(23 * hour),
			Partial: true,
		}},
		"never fetched":               {f: Finished{Ended: ago(13 * day), Result: true}},
		"never fetched, and long ago": {f: Finished{Ended: ago(15 * day), Result: true}, forget: true},
		"never fetched, but told":     {f: Finished{Ended: ago(13 * day), Result: true, Taken: true, Bytes: 1}, drop: true},
		"told in part":                {f: Finished{Ended: ago(13 * day), Result: true, Taken: true, Partial: true}},
		"owed":                        {f: Finished{Ended: ago(13 * day), Owed: true}},
		"owed for long":               {f: Finished{Ended: ago(15 * day), Owed: true}, forget: true},
		"failed":                      {f: Finished{Ended: ago(hour)}, forget: true},
		"whole, and its user has it": {
			f:    Finished{Ended: ago(hour), Result: true, Fetched: ago(hour), Bytes: 1},
			drop: true,
		},
		"whole, fetched after a fortnight": {
			f:    Finished{Ended: ago(15 * day), Result: true, Fetched: ago(hour), Bytes: 1},
			drop: true,
		},
	} {
		var newer []Finished
		for range 10 {
			newer = append(newer, Finished{Ended: now, Result: true, Fetched: now, Bytes: 1}, Finished{Ended: now})
		}
		c.f.Name = name
		has := func(all []Finished) bool {
			for _, f := range all {
				if f.Name == c.f.Name {
					return true
				}
			}
			return false
		}
		forget, drop := cfg.Expired(now, append(newer, c.f))
		if has(forget) != c.forget || has(drop) != c.drop {
			t.Errorf("%s: forgotten %v, result dropped %v", name, has(forget), has(drop))
		}
		if f, dr := cfg.Expired(now, []Finished{c.f}); !c.drop && now.Sub(c.f.Ended) < day && len(f)+len(dr) > 0 {
			t.Errorf("%s: it goes though it is the only one", name)
		}
	}
	told := []Finished{{Ended: ago(13 * day), Result: true, Taken: true, Bytes: 60}}
	if forget, drop := cfg.Expired(now, told); len(forget)+len(drop) > 0 {
		t.Error("values that were told go while there is room")
	}
	big := Finished{Ended: now, Result: true, Fetched: now, Bytes: 60}
	if forget, drop := cfg.Expired(now, []Finished{big, big}); len(forget) != 0 || len(drop) != 1 {
		t.Errorf("of 120 bytes with room for 100, %d results went, and %d jobs", len(drop), len(forget))
	}
}
