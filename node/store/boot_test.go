package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Each life has a number above all earlier ones, whatever the clock says, also where the count was lost.
func TestLivesAreCounted(t *testing.T) {
	dir := t.TempDir()
	clock := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	next := func(now time.Time) uint64 {
		t.Helper()
		n, err := NextBoot(dir, now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	last := next(clock)
	for name, now := range map[string]time.Time{
		"at once":         clock,
		"set back":        clock.Add(-time.Hour),
		"before all time": time.Unix(-5, 0),
		"later":           clock.Add(time.Hour),
	} {
		n := next(now)
		if n <= last {
			t.Errorf("%s: %d after %d", name, n, last)
		}
		last = n
	}
	if err := os.Remove(filepath.Join(dir, bootFile)); err != nil {
		t.Fatal(err)
	}
	if n := next(clock.Add(2 * time.Hour)); n <= last {
		t.Errorf("without the count: %d after %d", n, last)
	}
	for _, text := range []string{"", "x", "-1", "99999999999999999999", "600000000000"} {
		if err := os.WriteFile(filepath.Join(dir, bootFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := NextBoot(dir, clock); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}
