package local

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestSweepTemporary: folders of dead owners are removed, but none that somebody uses or is about to use.
func TestSweepTemporary(t *testing.T) {
	temp, paths := t.TempDir(), Paths{State: t.TempDir()}
	t.Setenv("TMPDIR", temp)
	folder := func(name string, locks ...string) string {
		dir := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Join(dir, "jobs"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, lock := range locks {
			if err := os.WriteFile(filepath.Join(dir, lock), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	hold := func(path string) {
		lock := flock.New(path)
		if ok, err := lock.TryLock(); err != nil || !ok {
			t.Fatalf("%v %v", ok, err)
		}
		t.Cleanup(func() { _ = lock.Unlock() })
	}
	old := time.Now().Add(-2 * unownedFor)
	dead, bare := folder("dtpnode-run-dead", ownerLock, filepath.Base(api.LockPath(""))), folder("dtpnode-run-bare")
	if err := os.Chtimes(bare, old, old); err != nil {
		t.Fatal(err)
	}
	orphan := folder("dtpnode-run-orphan", ownerLock, filepath.Base(api.LockPath("")))
	hold(api.LockPath(orphan)) // its owner is dead, and its daemon is about to leave
	young := folder("dtpnode-run-young")
	other := folder("dtpnode-kept-abc", ownerLock)
	mine, lock, err := makeTemporary([]string{"--slots=3"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(temp, "dtpnode-run-link")); err != nil {
		t.Fatal(err)
	}
	if got := SweepTemporary(paths); !slices.Equal(got, []string{bare, dead}) {
		t.Errorf("removed %q", got)
	}
	for _, dir := range []string{orphan, young, other, mine} {
		if _, err := os.Stat(filepath.Join(dir)); err != nil {
			t.Errorf("removed too: %v", err)
		}
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if got := SweepTemporary(paths); !slices.Equal(got, []string{mine}) {
		t.Errorf("once its owner has gone %q were removed, want %q", got, mine)
	}
}

// TestSweepKeepsWork: owners die at all stages of their jobs, and what is committed and not yet delivered to the user
// is kept.
func TestSweepKeepsWork(t *testing.T) {
	const job, id = "abcdef012345", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	partial, result := "ledgers/"+id+"/00ff-3."+id, "jobs/"+job+"/"+api.ResultFile
	for name, tc := range map[string]struct {
		work  string
		noted api.JobStatus
		kept  string
		state api.JobState
	}{
		"nothing committed":  {"ledgers/" + id + "/journal", api.JobStatus{ID: job, State: api.Running}, "", ""},
		"committed":          {partial, api.JobStatus{ID: job, State: api.Running, Committed: 7}, job, api.Waiting},
		"cannot finish":      {partial, api.JobStatus{ID: job, State: api.CannotFinish}, job, api.CannotFinish},
		"cancelled":          {partial, api.JobStatus{ID: job, State: api.Cancelled}, "", ""},
		"nothing noted":      {partial, api.JobStatus{}, id, api.Waiting},
		"a name that is not": {partial, api.JobStatus{ID: "../up"}, id, api.Waiting},
		"result not written": {result, api.JobStatus{ID: job, State: api.Done}, job, api.Waiting},
		"result written":     {result, api.JobStatus{ID: job, State: api.Done, Output: "/data/out.root"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			temp, paths := t.TempDir(), Paths{State: t.TempDir()}
			t.Setenv("TMPDIR", temp)
			dir := filepath.Join(temp, tempPrefix+"1")
			err := os.MkdirAll(filepath.Join(dir, filepath.Dir(tc.work)), 0o700)
			for _, file := range []string{ownerLock, tc.work} {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
			}
			if err = errors.Join(err, NoteKept(dir, tc.noted)); err != nil {
				t.Fatal(err)
			}
			if removed := SweepTemporary(paths); (len(removed) > 0) != (tc.kept == "") {
				t.Errorf("removed %q", removed)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is where it was: %v", err)
			}
			all := AllKept(paths)
			if tc.kept == "" {
				if len(all) > 0 {
					t.Errorf("kept %v", all)
				}
				return
			}
			st := ReadKept(all[tc.kept])
			if _, err := os.Stat(filepath.Join(all[tc.kept], tc.work)); err != nil || len(all) != 1 || st.State != tc.state ||
				st.Committed != tc.noted.Committed {
				t.Errorf("kept %v, which stands so: %+v (%v)", all, st, err)
			}
		})
	}
}

// TestKept: kept jobs are found by unique beginnings of their names, in both places.
func TestKept(t *testing.T) {
	temp, paths := t.TempDir(), Paths{State: t.TempDir()}
	t.Setenv("TMPDIR", temp)
	inState := filepath.Join(paths.State, keptFolder)
	for _, dir := range []string{inState + "/abcd1", inState + "/abcd2", inState + "/ffff0.part",
		temp + "/dtpnode-kept-eeee1"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for job, want := range map[string]string{
		"abcd1":         inState + "/abcd1",
		"abcd":          "",
		"abc":           "",
		"ffff0":         "",
		"":              "",
		"eeee":          temp + "/dtpnode-kept-eeee1",
		"../kept/abcd1": "",
	} {
		if got := Kept(paths, job); got != want {
			t.Errorf("%q: found %q, want %q", job, got, want)
		}
	}
}

// TestCopyFolder: a kept folder is moved to another file system completely or not at all.
func TestCopyFolder(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "job")
	if err := os.MkdirAll(filepath.Join(from, "ledgers"), 0o700); err != nil {
		t.Fatal(err)
	}
	modes := map[string]os.FileMode{"ledgers/journal": 0o600, "identity.key": 0o400, "tool": 0o755, "list": 0o664}
	for name, mode := range modes {
		path := filepath.Join(from, name)
		if err := errors.Join(os.WriteFile(path, []byte("all"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.Listen("unix", filepath.Join(from, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := copyFolder(from, to); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes {
		path := filepath.Join(to, name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != "all" {
			t.Errorf("%s: got %q, %v", name, got, err)
			continue
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has the mode %v, want %v (%v)", name, info.Mode(), mode, err)
		}
	}
	if info, err := os.Stat(filepath.Join(to, "ledgers")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder in it has the mode %v, want that it had (%v)", info.Mode(), err)
	}
	if err := copyFolder(from, filepath.Join(to, "ledgers", "journal", "x")); err == nil {
		t.Error("copied into a file")
	}
	half := filepath.Join(filepath.Dir(to), "half")
	if err := os.Symlink(filepath.Join(from, "none"), half+".part"); err != nil { // what an earlier try has left
		t.Fatal(err)
	}
	if err := copyFolder(filepath.Join(from, "none"), half); err == nil {
		t.Error("copied what is not there")
	}
	for _, path := range []string{half, half + ".part"} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}
