package rootexec

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestCacheIsPruned: what nobody has used for a month goes, and beyond a limit what was used longest ago, but nothing
// that was used within a day; what is not whole goes by its own time. It is not looked at again at once.
func TestCacheIsPruned(t *testing.T) {
	cache, now := t.TempDir(), time.Now()
	put := func(dir string, idle time.Duration, whole bool) {
		t.Helper()
		dir = filepath.Join(cache, dir)
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "sub", "a.so"), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
		timed := dir
		if whole {
			timed = filepath.Join(dir, libMeta)
			if err := os.WriteFile(timed, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(timed, now.Add(-idle), now.Add(-idle)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (out []string) {
		t.Helper()
		for _, pattern := range []string{"lib/*", "foreign/*/*"} {
			found, err := filepath.Glob(filepath.Join(cache, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range found {
				if info, err := os.Stat(path); err == nil && info.IsDir() {
					out = append(out, filepath.Base(path))
				}
			}
		}
		slices.Sort(out)
		return out
	}
	const day = 24 * time.Hour
	for name, idle := range map[string]time.Duration{
		"lib/now": 0, "lib/lately": day - time.Hour, "lib/week": 7 * day, "lib/weeks": 20 * day, "lib/old": 31 * day,
		"foreign/m/days": 3 * day, "foreign/m/older": 40 * day,
	} {
		put(name, idle, true)
	}
	put("lib/begun", time.Hour, false)
	put("lib/broken", 32*day, false)
	prune := func(most int64, at time.Time) []string {
		t.Helper()
		if err := pruneLibraries(t.Context(), cache, at, most); err != nil {
			t.Fatal(err)
		}
		return left()
	}
	if got := prune(1000, now); !slices.Equal(got, []string{"begun", "days", "lately", "now", "week", "weeks"}) {
		t.Errorf("after a month without use: %v", got)
	}
	if got := prune(45, now.Add(time.Hour)); len(got) != 6 {
		t.Errorf("an hour later: %v", got)
	}
	if got := prune(45, now.Add(13*time.Hour)); !slices.Equal(got, []string{"begun", "days", "lately", "now"}) {
		t.Errorf("four fit: %v", got)
	}
	if got := prune(0, now.Add(14*time.Hour)); len(got) != 4 { // too soon
		t.Errorf("an hour later: %v", got)
	}
	put("lib/begun", -12*time.Hour, true) // used again
	if got := prune(0, now.Add(26*time.Hour)); !slices.Equal(got, []string{"begun"}) {
		t.Errorf("none fits: %v", got)
	}
	if usedAt(filepath.Join(cache, "lib", "week")) != (time.Time{}) {
		t.Error("what is gone was used")
	}
}

// TestWhatIsLoadedIsInUse: a selector that stays loaded for weeks is not pruned, since its folder has what its
// processes are given.
func TestWhatIsLoadedIsInUse(t *testing.T) {
	e := executor(t)
	load(t, "Hists")
	meta := filepath.Join(suite.lib.Dir, libMeta)
	old := time.Now().Add(-2 * keepUnused)
	if err := os.Chtimes(meta, old, old); err != nil {
		t.Fatal(err)
	}
	e.selectors.noteUse()
	if idle := time.Since(usedAt(suite.lib.Dir)); idle > time.Hour {
		t.Errorf("it was used %v ago", idle)
	}
}
