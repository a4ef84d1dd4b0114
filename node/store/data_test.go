package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDataIsKeptByItsAge removes a folder when nothing in it was written for as long as it is to be kept, and not one
// with a single file that is younger.
func TestDataIsKeptByItsAge(t *testing.T) {
	t.Parallel()
	d := Data{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	write := func(name string, age time.Duration) string {
		path := filepath.Join(d.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		for p := path; p != d.Dir; p = filepath.Dir(p) {
			if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	write("old/0.1.2/tree.root", 3*time.Hour)
	young := write("used/0.1.2/young.root", time.Hour)
	old := write("used/0.1.3/old.root", 3*time.Hour)
	d.Prune(now, 2*time.Hour)
	for path, want := range map[string]bool{filepath.Join(d.Dir, "old"): false, young: true, old: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
	Data{Dir: filepath.Join(d.Dir, "none"), Log: d.Log}.Prune(now, 0)
}
