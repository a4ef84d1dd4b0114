package units

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestEarlyValuesDoNotWait: a value that is told early, and a commit that is told of, reach who follows the job at
// once, and not with the next look.
func TestEarlyValuesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{list: Listing{Kind: "valued", Units: tasks.R(0, 2), Open: true}, steady: true, early: &Early{}}
		room := &Room{Jobs: c, Values: c, Early: c.early, Every: time.Hour, Once: time.Minute, Patience: time.Hour}
		h := newHeard()
		began := time.Now()
		done := make(chan error, 1)
		ask := api.UnitsRequest{Last: 2, Follow: true, Early: true}
		ask.Listening = func() { c.early.Tell("job", 1, exec.EarlyList{[]byte("value of 1")}) } // nothing is missed from here
		go func() {
			done <- room.Tell(t.Context(), "job", ask, h.take)
		}()
		synctest.Wait()
		if h.early[1] != "value of 1" || len(h.events) != 1 {
			t.Errorf("told early: %+v", h.events)
		}
		c.list.Parts = append(c.list.Parts, merge.Partial{Cover: tasks.CoverOf(tasks.R(0, 2))})
		c.list.Parts[0].SHA256 = string(tasks.NameOf([]byte("partial")))
		c.list.Parts[0].ID = merge.ID{Node: "n", Seq: 0}
		c.early.Committed("job")
		if err := <-done; err != nil || h.wrong != "" || h.values[0] != "value of 0" || h.values[1] != "value of 1" {
			t.Errorf("%v, %s, %v", err, h.wrong, h.values)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		if len(c.early.ears) > 0 {
			t.Error("it still listens")
		}
	})
}

// TestEarlyValuesAreBounded: one who does not take what is told costs so much memory and no more.
func TestEarlyValuesAreBounded(t *testing.T) {
	var e Early
	l := e.listen("job")
	defer l.close()
	big := make([]byte, 10<<20)
	for unit := range int64(20) {
		e.Tell("job", unit, exec.EarlyList{big})
	}
	if runs, _ := l.take(); len(runs) != maxEar/len(big) {
		t.Errorf("%d values of %d bytes wait", len(runs), len(big))
	}
	e.Tell("job", 20, exec.EarlyList{big})
	if runs, _ := l.take(); len(runs) != 1 || runs[0].first != 20 {
		t.Errorf("nothing comes after them: %d", len(runs))
	}
}

// TestEarlyValuesForWhoComesLater: who begins to listen hears what was told lately of the job, which is bounded.
func TestEarlyValuesForWhoComesLater(t *testing.T) {
	var e Early
	big := make([]byte, 1<<20)
	e.Tell("job", 0, exec.EarlyList{[]byte("old")})
	for unit := range int64(4) {
		e.Tell("job", 1+unit, exec.EarlyList{big})
	}
	e.Tell("other", 0, exec.EarlyList{[]byte("other")})
	e.Tell("job", 5, exec.EarlyList{[]byte("new")})
	e.Tell("job", 6, exec.EarlyList{make([]byte, maxRecent)})
	l := e.listen("job")
	defer l.close()
	select {
	case <-l.wake:
	default:
		t.Error("it is not told that there are some")
	}
	runs, _ := l.take()
	if len(runs) != 4 || runs[0].first != 2 || runs[3].first != 5 || e.kept > maxRecent {
		t.Errorf("%d runs come, and %d bytes are kept", len(runs), e.kept)
	}
	var told []int64
	e.Recent("job", func(first int64, _ exec.EarlyList) { told = append(told, first) })
	if !slices.Equal(told, []int64{2, 3, 4, 5}) {
		t.Errorf("told: %v", told)
	}
}

// TestEarlyValuesAsAFile: values that lie in a file are told by that where it has all of them, each unit once.
func TestEarlyValuesAsAFile(t *testing.T) {
	c := &cluster{file: valueFile(t), draw: func(int, string) int { return 1 }}
	values := exec.EarlyList{[]byte("value of 7"), []byte("value of 8"), []byte("value of 9")}
	whole, cut := c.held(7, values), c.held(7, values)
	cut.At += 10_000
	h := newHeard()
	s := &stream{asked: tasks.CoverOf(tasks.R(0, 9)), early: true, files: true, send: h.take}
	s.hasty = s.hasty.Add(tasks.R(7, 8)) // told already
	runs := []run{{20, exec.EarlyList{[]byte("no")}}, {7, cut}, {7, whole}, {3, exec.EarlyList{[]byte("value of 3")}}}
	if err := s.hurry(runs); err != nil || h.wrong != "" {
		t.Fatal(err, h.wrong)
	}
	if h.files != 1 || len(h.early) != 2 || h.early[8] != "value of 8" || h.early[3] != "value of 3" {
		t.Errorf("%d values are told by a file, and all of them are %v", h.files, h.early)
	}
}
