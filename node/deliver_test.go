package node

import (
	"crypto/sha256"
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
	"github.com/dtpnode/dtpnode/node/store"
)

// ended makes a job of this node known, with a result that is kept here, as if its ledger had told of its end.
func (d *Daemon) ended(t *testing.T, name, out, result string) *job {
	t.Helper()
	sum := sha256.Sum256([]byte(result))
	j := d.book.New(strings.Repeat(name, 32/len(name)))
	j.submittedHere, j.req.Output = true, out
	if err := durable.Write(d.results.Path(j.name), []byte(result)); err != nil {
		t.Fatal(err)
	}
	j.adopt(api.JobStatus{ID: j.name, State: api.Done, Submitted: time.Now(), SHA256: hex.EncodeToString(sum[:])}, true)
	d.book.Add(j)
	return j
}

// until polls until it is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
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
	d.saveStatus(j)
	d.afterEnd(j)
	if st := d.statusOf(j); st.State != api.Done || st.Output != "" || !strings.Contains(st.OutputError, out) {
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
		j, err := d.book.Told(j.name)
		return err == nil && d.statusOf(j).Output == out
	})
	if !holds(out, "histograms") {
		t.Error("the output is not the result")
	}
	restart() // what is paid is owed no more
	now, err := d.book.Told(j.name)
	if err != nil || d.owed(now) != "" || d.statusOf(now).Output != out {
		t.Errorf("still owed: %v, %v", now, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A late output does not take the place of a later job's.
func TestALaterOutputStays(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	dir := filepath.Join(t.TempDir(), "later")
	out := filepath.Join(dir, "out.root")
	first := d.ended(t, "a", out, "old")
	d.afterEnd(first)
	first.mu.Lock()
	first.outNext = time.Now().Add(time.Hour) // the test says when it is tried again
	first.mu.Unlock()
	second := d.ended(t, "b", out, "new")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.deliverLate(second)
	d.deliverLate(first)
	if !holds(out, "new") || d.statusOf(first).Output != "" || d.statusOf(first).OutputError == "" || d.owed(first) != "" {
		t.Errorf("the older result is there: %+v", d.statusOf(first))
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
	j := d.book.New(strings.Repeat("c", 32))
	j.delivering.Lock()
	j.submittedHere, j.req.Output = true, out
	if err := durable.Write(d.results.Path(j.name), []byte("histograms")); err != nil {
		t.Fatal(err)
	}
	j.adopt(api.JobStatus{ID: j.name, State: api.Partial, SHA256: store.HashOf([]byte("histograms"))}, true)
	d.book.Add(j)
	d.spawn(func() { d.afterEnd(j) })
	waited := 0
	st, err := client.Follow(t.Context(), j.name, func(ev api.Event) error {
		switch {
		case ev.Status == nil:
		case ev.Status.State.Final() && !holds(out, "histograms"):
			t.Error("told of the end without an output")
		case !ev.Status.State.Final():
			if waited++; waited == 1 {
				j.delivering.Unlock()
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
	want := j.status.SHA256
	if err := os.WriteFile(d.results.Path(j.name), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := d.shareResult(j) // who fetches it compares
	if err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := os.Remove(d.results.Path(j.name)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.shareResult(j); err == nil {
		t.Error("shares what is not there")
	}
}

// A result that was fetched goes a day later, and the job stays known.
func TestAFetchedResultGoes(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	fetched, kept := d.ended(t, "a", "", "fetched"), d.ended(t, "b", "", "kept")
	d.saveStatus(fetched)
	d.results.NoteFetched(fetched.name)
	d.sweep()
	if !d.results.Has(fetched.name) {
		t.Error("the result cannot be fetched once more")
	}
	past := time.Now().Add(-store.KeepFetched - time.Minute)
	if err := os.Chtimes(filepath.Join(d.results.FolderOf(fetched.name), "fetched"), past, past); err != nil {
		t.Fatal(err)
	}
	d.sweep()
	if d.results.Has(fetched.name) || !d.results.Has(kept.name) {
		t.Error("want the result gone that was fetched, and that alone")
	}
	if _, err := d.book.Told(fetched.name); err != nil {
		t.Errorf("the job is forgotten: %v", err)
	}
	if _, err := d.result(fetched); err == nil || !strings.Contains(err.Error(), "was fetched at") {
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
	j := d.book.New(name)
	j.submittedHere = true
	d.book.Add(j)
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
	var jobs []*job
	for i := range 50 {
		j := d.book.New(fmt.Sprintf("%032d", i))
		j.led = true
		jobs = append(jobs, j)
		d.book.Add(j)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, j := range jobs {
			j.adopt(api.JobStatus{ID: j.name, State: api.Done, Submitted: time.Now()}, true)
		}
	}()
	for range 50 {
		d.book.AllTold()
	}
	<-done
	led := d.book.AllTold()
	for i, j := range led {
		if j != jobs[i] {
			t.Fatalf("job %d is out of order", i)
		}
	}
}

// A list has room for what runs before what has ended, and then for the newest.
func TestAListOfJobsHasABound(t *testing.T) {
	long := strings.Repeat("x", 1000)
	var all []api.JobStatus
	for i := range 100 {
		st := api.JobStatus{
			ID:        fmt.Sprint(i),
			State:     api.Done,
			Submitted: time.Unix(int64(i), 0),
			Stdout:    long,
			Nodes:     make([]api.NodeWork, 10),
			Error:     long,
		}
		if i < 3 {
			st.State = api.Running
		}
		all = append(all, st)
	}
	const room = 20_000
	got := listed(all, room)
	size := 0
	for i, st := range got {
		size += jsonSize(st)
		switch {
		case st.Stdout != "" || (st.State.Final() && st.Nodes != nil):
			t.Errorf("too much is told of %s", st.ID)
		case i < 3 && st.State != api.Running, i >= 3 && st.ID != fmt.Sprint(99-(i-3)):
			t.Errorf("place %d has %s, %s", i, st.ID, st.State)
		}
	}
	if size > room || len(got) < 8 || len(got) == len(all) || got[0].Nodes == nil || all[0].Stdout == "" {
		t.Errorf("%d jobs of %d bytes", len(got), size)
	}
	if n := len(listed(all[:3], 7000)); n != 3 {
		t.Errorf("%d of 3 running jobs", n)
	}
}
