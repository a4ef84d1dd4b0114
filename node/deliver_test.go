package node

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
)

// ended makes a job of this node known, with a result that is kept here, as if its ledger had told of its end.
func (d *Daemon) ended(t *testing.T, name, out, result string) *jobs.Job {
	t.Helper()
	sum := sha256.Sum256([]byte(result))
	j := d.jobs.Book().New(strings.Repeat(name, 32/len(name)))
	j.With(func(s *jobs.State) { s.SubmittedHere, s.Req.Output = true, out })
	if err := durable.Write(d.results.Path(j.Name), []byte(result)); err != nil {
		t.Fatal(err)
	}
	j.Adopt(api.JobStatus{ID: j.Name, State: api.Done, Submitted: time.Now(), SHA256: hex.EncodeToString(sum[:])}, true)
	d.jobs.Book().Add(j)
	return j
}

// until polls until it is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: " + what)
		}
	}
}

func holds(path, want string) bool {
	got, err := os.ReadFile(path)
	return err == nil && string(got) == want
}

// An output that could not be written is told of, and owed beyond the daemon's life.
func TestAnOutputIsOwedUntilItIsWritten(t *testing.T) {
	d := openWithout(t, "submitter")
	dir := filepath.Join(t.TempDir(), "later")
	out := filepath.Join(dir, "out.root")
	j := d.ended(t, "a", out, "histograms")
	d.jobs.SaveStatus(j)
	d.jobs.AfterEnd(j)
	if st := d.jobs.StatusOf(j); st.State != api.Done || st.Output != "" || !strings.Contains(st.OutputError, out) {
		t.Errorf("want done, and why there is no output: %+v", st)
	}
	restart := func() {
		t.Helper()
		cfg := d.cfg
		err := d.Close()
		if err == nil {
			d, err = Open(t.Context(), cfg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	restart()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "the output is written", func() bool {
		j, err := d.jobs.Book().Told(j.Name)
		return err == nil && d.jobs.StatusOf(j).Output == out
	})
	if !holds(out, "histograms") {
		t.Error("the output is not the result")
	}
	restart() // what is paid is owed no more
	now, err := d.jobs.Book().Told(j.Name)
	if err != nil || d.jobs.Owed(now) != "" || d.jobs.StatusOf(now).Output != out {
		t.Errorf("still owed: %v, %v", now, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// The files beside an output go to the folder that the user has named also when the output is written in the daemon's
// next life, which has heard of the job from its own disk alone.
func TestLateFilesGoWhereTheUserWants(t *testing.T) {
	d := openWithout(t, "submitter")
	later, dir := filepath.Join(t.TempDir(), "later"), filepath.Join(t.TempDir(), "files")
	index := `[{"name":"more.root","offset":10,"size":4}]`
	result := "histogramsmore" + index
	for _, n := range []int{len(index), len("histograms")} {
		result += string(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	out := filepath.Join(later, "out.root")
	j := d.ended(t, "a", out, result+"DTPFILES")
	j.With(func(s *jobs.State) { s.Req.OutputDir, s.Status.EndedIn = dir, &api.Elsewhere{Node: "other"} })
	d.jobs.SaveStatus(j)
	d.jobs.AfterEnd(j)
	cfg := d.cfg
	if err := errors.Join(d.Close(), os.Mkdir(later, 0o700)); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	until(t, "the output is written", func() bool { return holds(out, "histograms") })
	if !holds(filepath.Join(dir, "more.root"), "more") {
		t.Error("the file is not in the folder that was named")
	}
}

// A late output does not take the place of a later job's.
func TestALaterOutputStays(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	dir := filepath.Join(t.TempDir(), "later")
	out := filepath.Join(dir, "out.root")
	first := d.ended(t, "a", out, "old")
	d.jobs.AfterEnd(first)
	first.With(func(s *jobs.State) {
		s.OutNext = time.Now().Add(time.Hour) // the test says when it is tried again
	})
	second := d.ended(t, "b", out, "new")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.jobs.DeliverLate(second)
	d.jobs.DeliverLate(first)
	if !holds(out, "new") || d.jobs.StatusOf(first).Output != "" || d.jobs.StatusOf(first).OutputError == "" ||
		d.jobs.Owed(first) != "" {
		t.Errorf("the older result is there: %+v", d.jobs.StatusOf(first))
	}
}

// Who follows a job is told of its end when its output is there, or why it is not.
func TestAFollowerWaitsForTheOutput(t *testing.T) {
	d := openWithout(t, "submitter")
	ctl, err := d.serveControl()
	if err != nil {
		t.Fatal(err)
	}
	client := api.NewClient(api.SocketPath(d.cfg.StateDir))
	out := filepath.Join(t.TempDir(), "out.root")
	j := d.jobs.Book().New(strings.Repeat("c", 32))
	j.Delivering.Lock()
	j.With(func(s *jobs.State) { s.SubmittedHere, s.Req.Output = true, out })
	if err := durable.Write(d.results.Path(j.Name), []byte("histograms")); err != nil {
		t.Fatal(err)
	}
	j.Adopt(api.JobStatus{ID: j.Name, State: api.Partial, SHA256: store.HashOf([]byte("histograms"))}, true)
	d.jobs.Book().Add(j)
	d.spawn(func() { d.jobs.AfterEnd(j) })
	waited := 0
	st, err := client.Follow(t.Context(), j.Name, func(ev api.Event) error {
		switch {
		case ev.Status == nil:
		case ev.Status.State.Final() && !holds(out, "histograms"):
			t.Error("told of the end without an output")
		case !ev.Status.State.Final():
			if waited++; waited == 1 {
				j.Delivering.Unlock()
			}
		}
		return nil
	})
	if err != nil || st.State != api.Partial || st.Output != out || waited == 0 {
		t.Errorf("%d events before the last: %+v, %v", waited, st, err)
	}
	client.Close()
	if err := errors.Join(ctl.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// The hash of a result is known: who asks for it must not wait until gigabytes are read.
func TestSharingAResultDoesNotReadIt(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	j := d.ended(t, "a", "", "histograms")
	want := stateOf(j).Status.SHA256
	if err := os.WriteFile(d.results.Path(j.Name), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := d.jobs.ShareResult(j) // who fetches it compares
	if err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := os.Remove(d.results.Path(j.Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.jobs.ShareResult(j); err == nil {
		t.Error("shares what is not there")
	}
}

// A result that was fetched goes a day later, and the job stays known.
func TestAFetchedResultGoes(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	fetched, kept := d.ended(t, "a", "", "fetched"), d.ended(t, "b", "", "kept")
	d.jobs.SaveStatus(fetched)
	d.results.NoteFetched(fetched.Name)
	d.jobs.Sweep()
	if !d.results.Has(fetched.Name) {
		t.Error("the result cannot be fetched once more")
	}
	past := time.Now().Add(-store.KeepFetched - time.Minute)
	if err := os.Chtimes(filepath.Join(d.results.FolderOf(fetched.Name), "fetched"), past, past); err != nil {
		t.Fatal(err)
	}
	d.jobs.Sweep()
	if d.results.Has(fetched.Name) || !d.results.Has(kept.Name) {
		t.Error("want the result gone that was fetched, and that alone")
	}
	if _, err := d.jobs.Book().Told(fetched.Name); err != nil {
		t.Errorf("the job is forgotten: %v", err)
	}
	if _, err := d.jobs.Result(fetched); err == nil || !strings.Contains(err.Error(), "was fetched at") {
		t.Errorf("does not say where the result is: %v", err)
	}
}

// That a result was fetched may be heard before the job's end; what is no name of a job goes nowhere.
func TestFetchedIsHeardBeforeTheEnd(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	name := strings.Repeat("ab", 16)
	if err := durable.Write(d.results.Path(name), []byte("histograms")); err != nil {
		t.Fatal(err)
	}
	j := d.jobs.Book().New(name)
	j.With(func(s *jobs.State) { s.SubmittedHere = true })
	d.jobs.Book().Add(j)
	for from, ok := range map[string]bool{"stranger": false, d.net.ID(): true} {
		if _, err := d.serve(t.Context(), from, "fetched", []byte(name)); (err == nil) != ok {
			t.Errorf("%s: %v", from, err)
		}
	}
	if d.results.FetchedAt(name).IsZero() {
		t.Error("not noted")
	}
	if _, err := d.serve(t.Context(), d.net.ID(), "fetched", []byte("../"+name)); err == nil {
		t.Error("took a path for a job")
	}
}

// Jobs end while they are listed.
func TestJobsEndWhileTheyAreListed(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	var all []*jobs.Job
	for i := range 50 {
		j := d.jobs.Book().New(fmt.Sprintf("%032d", i))
		j.With(func(s *jobs.State) { s.Led = true })
		all = append(all, j)
		d.jobs.Book().Add(j)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, j := range all {
			j.Adopt(api.JobStatus{ID: j.Name, State: api.Done, Submitted: time.Now()}, true)
		}
	}()
	for range 50 {
		d.jobs.Book().AllTold()
	}
	<-done
	led := d.jobs.Book().AllTold()
	for i, j := range led {
		if j != all[i] {
			t.Fatalf("job %d is out of order", i)
		}
	}
}
