package jobs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// A file that Terminate writes to the path of the result is kept beside it, whatever is there; what an earlier job has
// left there is not.
func TestFilesOfTheResultsName(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.root")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s has %q (%v), want %q", path, got, err, want)
		}
	}
	var fin exec.Finished
	write(out, "of an earlier job")
	before := wayOf(out)
	if err := spareOwnFile(out, before, &fin); err != nil || len(fin.Files) > 0 {
		t.Fatalf("what an earlier job left was named: %v, %v", fin.Files, err)
	}
	holds(out, "of an earlier job")

	taken := filepath.Join(filepath.Dir(out), "out-1.root")
	write(taken, "the user's")
	write(out, "Terminate's own")
	if err := spareOwnFile(out, before, &fin); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(filepath.Dir(out), "out-2.root")
	holds(taken, "the user's")
	holds(kept, "Terminate's own")
	if _, err := os.Lstat(out); err == nil {
		t.Error("the file is still under the result's name")
	}
	if len(fin.Files) != 1 || fin.Files[0].Path != kept || fin.Files[0].Note == "" || fin.Files[0].Size != 15 {
		t.Errorf("told of %+v, want %s", fin.Files, kept)
	}

	write(out, "merged")
	fin.Files = []exec.OutputFile{{Name: "out.root", Path: out, Size: 6}}
	if err := spareOwnFile(out, nil, &fin); err != nil {
		t.Fatal(err)
	}
	if len(fin.Files) != 1 || fin.Files[0].Name != "out.root" || filepath.Base(fin.Files[0].Path) != "out-3.root" {
		t.Errorf("told of %+v, want the merged file as out-3.root", fin.Files)
	}
	if err := spareOwnFile("", nil, &fin); err != nil {
		t.Errorf("a job whose result is not written anywhere: %v", err)
	}
}
