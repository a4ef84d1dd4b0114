package dimuon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

func rootDir(t *testing.T) string { return roottest.Find(t).Dir }

func TestGenerateKeepsCompleteFiles(t *testing.T) {
	opts := Options{Dir: t.TempDir(), Files: 3, EventsPerFile: 60_000}
	last, total := 0, 0
	progress := func(done, all int) {
		if done < last {
			t.Errorf("progress went back from %d to %d", last, done)
		}
		last, total = done, all
	}
	files, err := Generate(context.Background(), rootDir(t), opts, progress)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 || last != 180_000 || total != 180_000 {
		t.Errorf("got %d files, progress %d of %d, want 3 files and 180000 of 180000", len(files), last, total)
	}
	first, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}

	if _, err := Generate(context.Background(), rootDir(t), opts, nil); err != nil {
		t.Fatal(err)
	}
	again, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(first, again) {
		t.Errorf("complete file %q was made again", files[0])
	}
	if _, err := os.Stat(files[1]); err != nil {
		t.Errorf("removed file was not made again: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(opts.Dir, ".build-*")); len(left) > 0 {
		t.Errorf("build directories left: %v", left)
	}
}

func TestGenerateReplacesOtherSize(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "events_0.root")
	if err := os.WriteFile(stale, []byte("of another size"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(context.Background(), rootDir(t), Options{
		Dir:           dir,
		Files:         1,
		EventsPerFile: 10,
	}, nil); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(stale); err != nil || string(text[:4]) != "root" {
		t.Errorf("stale file was kept: %q %v", text[:4], err)
	}
}

func TestGenerateReportsRootsFailure(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho no compiler here >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(root, "bin", "root.exe"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Generate(context.Background(), root, Options{Dir: t.TempDir(), Files: 1}, nil)
	if err == nil || !strings.Contains(err.Error(), "no compiler here") {
		t.Errorf("got error %v, want ROOT's own words", err)
	}
}
