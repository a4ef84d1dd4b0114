package rootexec_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestVersionsOfROOT runs a job with each other ROOT that the Python package index has, whose child is built for it,
// and compares it with that ROOT's own single process. All other tests use the pinned one.
func TestVersionsOfROOT(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "dtpnode")
	for wheel, version := range roottest.Wheels {
		t.Run(version, func(t *testing.T) {
			if wheel != roottest.OldestWheel {
				roottest.Long(t)
			}
			r := roottest.Wheel(t, wheel)
			root, err := rootexec.Find(t.Context(), rootexec.FindOptions{Prefix: r.Dir})
			if err != nil {
				t.Fatal(err)
			}
			if root.Version != version {
				t.Errorf("%s is ROOT %s, want %s", wheel, root.Version, version)
			}
			exe, err := rootexec.BuildChild(t.Context(), root, cache, nil)
			if err != nil {
				t.Fatal(err)
			}
			e, err := rootexec.Open(t.Context(), rootexec.Config{
				Exe: exe, Root: root, Scratch: t.TempDir(), Cache: cache,
				Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			dir := t.TempDir()
			job := roottest.Job{Selector: roottest.Selector(t, "Tally.C"), Tree: "Events", Files: r.MakeUneven(t, dir)}
			got, _ := runJobOn(t, e, job)
			want := filepath.Join(dir, "want.root")
			r.Reference(t, job, want)
			r.Compare(t, got, want)
		})
	}
}
