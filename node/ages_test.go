package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/jobs"
)

// backdate has a file be of an earlier time.
func backdate(t *testing.T, path string, ago time.Duration) {
	t.Helper()
	at := time.Now().Add(-ago)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// TestClocksTakeNoResult: how long a result is kept is not a matter of the clock of the node that submitted or led the
// job, and what this node's own clock says of an earlier life is not acted on at once.
func TestClocksTakeNoResult(t *testing.T) {
	const day, fortnight = 24 * time.Hour, 15 * 24 * time.Hour
	for name, tc := range map[string]struct {
		submitted time.Duration // ago, by another's clock
		written   time.Duration // ago, by this node's
		marked    time.Duration // ago, it was first seen to be old; 0 for never
		owed      bool
		goes      bool
	}{
		"of now":                         {},
		"by a clock that is behind":      {submitted: fortnight},
		"by a clock that begins in 1970": {submitted: time.Since(time.Unix(0, 0))},
		"by a clock that is ahead":       {submitted: -fortnight},
		"an old one, by a clock that is ahead": {
			submitted: -fortnight,
			written:   fortnight,
			marked:    day + time.Hour,
			goes:      true,
		},
		"an old one, seen for the first time":  {submitted: fortnight, written: fortnight},
		"an old one, seen for less than a day": {submitted: fortnight, written: fortnight, marked: day - time.Hour},
		"an old one, seen for a day": {
			submitted: fortnight,
			written:   fortnight,
			marked:    day + time.Hour,
			goes:      true,
		},
		"written when the own clock was ahead": {submitted: -fortnight, written: -fortnight},
		"owed":                                 {submitted: fortnight, written: fortnight, marked: fortnight, owed: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := openWithout(t, "keeper")
			out := ""
			if tc.owed {
				out = filepath.Join(t.TempDir(), "away", "out.root")
			}
			j := d.ended(t, "a", out, "histograms")
			j.With(func(s *jobs.State) { s.Status.Submitted, s.Status.Seconds = time.Now().Add(-tc.submitted), 1 })
			d.jobs.SaveStatus(j)
			path := filepath.Join(d.results.FolderOf(j.Name), "status.json")
			backdate(t, path, tc.written)
			if tc.marked != 0 {
				if err := durable.Write(path+".old", nil); err != nil {
					t.Fatal(err)
				}
				backdate(t, path+".old", tc.marked)
			}
			cfg := d.cfg
			err := d.Close()
			if err == nil {
				d, err = Open(t.Context(), cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			d.jobs.Sweep()
			if kept := d.results.Has(j.Name); kept == tc.goes {
				t.Errorf("the result is kept: %v", kept)
			}
		})
	}
}

// TestClocksPutNoJobFirst: which jobs are the newest this node's clock says.
func TestClocksPutNoJobFirst(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	var want []string
	for i, ahead := range []time.Duration{0, -1000 * time.Hour, 1000 * time.Hour, 0} {
		j := d.ended(t, string(rune('a'+i)), "", "histograms")
		j.With(func(s *jobs.State) {
			s.Status.Submitted = time.Now().Add(ahead)
			s.Ended = time.Now().Add(time.Duration(i-10) * time.Minute)
		})
		want = append([]string{j.Name}, want...)
	}
	var got []string
	for _, f := range d.jobs.FinishedJobs() {
		got = append(got, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("in the order %v, want %v", got, want)
	}
}

// TestClocksTakeNoUnfinishedJob: a job that cannot be finished is dropped when the node that leads it has seen that for
// long, and not when who tried says that this was long ago.
func TestClocksTakeNoUnfinishedJob(t *testing.T) {
	const fortnight = 15 * 24 * time.Hour
	d := openWithout(t, "home")
	defer d.Close()
	stuck := func(at time.Duration) *jobs.Job {
		j := d.jobs.Book().New("0123456789abcdef0123456789abcdef")
		j.With(func(s *jobs.State) {
			s.Led = true
			s.View = engine.JobView{
				Stuck: true,
				Attempts: []ledger.Attempt{{
					Node:    "other",
					At:      time.Now().Add(-at).UnixMilli(),
					Failure: ledger.Failure{Reason: "it crashed"},
				}},
			}
		})
		d.jobs.Book().Add(j)
		return j
	}
	dropped := func(j *jobs.Job) bool {
		d.jobs.ExpireUnfinished()
		return stateOf(j).Concluding
	}
	j := stuck(fortnight)
	if dropped(j) {
		t.Error("dropped at once, since another's clock is behind")
	}
	j.With(func(s *jobs.State) { s.Stuck.Since = time.Now().Add(-fortnight) })
	if !dropped(j) {
		t.Error("kept for ever")
	}
}
