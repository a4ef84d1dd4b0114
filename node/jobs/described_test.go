package jobs

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// fileOf is what a description says of a file at the least.
type fileOf struct {
	URL string `msgpack:"u"`
}

// TestWeightOfADescription: what a description takes in memory is known before it is decoded, and not taken for much
// more.
func TestWeightOfADescription(t *testing.T) {
	type data[T any] struct {
		F []T `msgpack:"f"`
	}
	type job[T any] struct {
		D data[T]      `msgpack:"d"`
		B []tasks.Lost `msgpack:"b,omitempty"`
	}
	long := make([]tasks.File, 100_000)
	for i := range long {
		long[i] = tasks.File{URL: fmt.Sprint(strings.Repeat("u", 195), i), Part: "Events", Entries: 1 << 20,
			Clusters: []int64{0, 1 << 17, 1 << 18, 1 << 19}, Bytes: 1 << 30, UUID: strings.Repeat("i", 36)}
	}
	short := make([]fileOf, 1_000_000)
	for i := range short {
		short[i].URL = "aaaaaaaaa"
	}
	clusters := tasks.File{URL: "f", Clusters: make([]int64, 4_000_000)}
	for name, c := range map[string]struct {
		job  any
		most float64 // times what it takes, that it may be taken for
	}{
		"of long names":  {&job[tasks.File]{D: data[tasks.File]{F: long}}, 1.3},
		"of short names": {&job[fileOf]{D: data[fileOf]{F: short}}, 1.5},
		"of clusters":    {&job[tasks.File]{D: data[tasks.File]{F: []tasks.File{clusters}}}, 2.2},
	} {
		body, err := wire.Marshal(c.job)
		if err != nil {
			t.Fatal(err)
		}
		weight := float64(weightOf(body))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var desc tasks.Job
		if err := errors.Join(wire.Unmarshal(body, &desc), desc.Data.Index()); err != nil && name != "of clusters" &&
			name != "of short names" {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := float64(after.HeapAlloc) - float64(before.HeapAlloc)
		runtime.KeepAlive(&desc)
		runtime.KeepAlive(body)
		t.Logf("%s: %d bytes take %.1f MB and are taken for %.1f", name, len(body), took/1e6, weight/1e6)
		if took > weight || weight > c.most*took {
			t.Errorf("%s: %d bytes take %.1f MB and are taken for %.1f", name, len(body), took/1e6, weight/1e6)
		}
		if name == "of long names" && weight*6 > engine.MaxDescribed {
			t.Errorf("six jobs of 100,000 files take %.1f MB each", weight/1e6)
		}
	}
}

// A node that comes to lead a job runs Terminate with what was asked for.
func TestAHomeKnowsWhatWasAsked(t *testing.T) {
	c := &store.Copy{Job: &tasks.Job{
		Work: tasks.Work{Kind: "ROOT"}, Ask: tasks.Ask{Title: "/x/A.C", Output: "/x/out.root"},
	}}
	j := newJob(t.Context(), "self", "job")
	j.describedBy(c, c.Job, "A.C")
	if j.s.Req.Kind != "ROOT" || j.s.Req.Title != "/x/A.C" || j.s.Req.Output != "/x/out.root" ||
		j.s.Status.Title != "A.C" {
		t.Errorf("it knows of %+v", j.s.Req)
	}
}

// One submitter's descriptions are fetched a few at a time, and do not keep those of another waiting.
func TestDescriptionsOfOneSubmitterTakeTurns(t *testing.T) {
	all := newDescriptions(nil)
	var done []func()
	for range maxDescriptions {
		f, err := all.fetches.Take(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, f)
	}
	got := make(chan error, 1)
	go func() {
		f, err := all.fetches.Take(t.Context(), "one")
		if err == nil {
			f()
		}
		got <- err
	}()
	f, err := all.fetches.Take(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	f()
	select {
	case <-got:
		t.Error("one more was fetched at once")
	case <-time.After(50 * time.Millisecond): // if it did wait too short, the test only passes
	}
	for _, f := range done {
		f()
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}
