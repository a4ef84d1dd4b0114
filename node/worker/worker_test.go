package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// oneJob is a job of 100 units over one file, whose program is the test runtime's.
type oneJob struct {
	program exec.Program
	desc    *tasks.Job

	mu      sync.Mutex
	printed []string
	early   []string // values, as unit=value
	crashes int
}

// Items cannot be had.
func (j *oneJob) Items(context.Context, tasks.File) (string, error) { return "", errNoItems }

var errNoItems = errors.New("nobody has the items")

func (j *oneJob) Use(_ context.Context, do func(exec.Program, *tasks.Job, string) error) error {
	return do(j.program, j.desc, "")
}
func (j *oneJob) Described() *tasks.Job         { return j.desc }
func (j *oneJob) Refused(string, *exec.Failure) {}
func (j *oneJob) Apart([]string)                {}
func (j *oneJob) Early(first int64, values exec.Early) {
	for i := range values.Len() {
		v, _ := values.Value(i)
		j.early = append(j.early, fmt.Sprintf("%d=%s", first+int64(i), v))
	}
}

func (j *oneJob) Values() (string, error)                        { return "", nil }
func (j *oneJob) Taken(context.Context, tasks.Cover) tasks.Cover { return nil }
func (j *oneJob) Printed(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.printed = append(j.printed, line)
}

func (j *oneJob) Crashed(*exec.Failure, int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.crashes++
}

// working are workers for one job with a program of the test runtime that is made from spec, and what they tell the
// engine.
func working(t *testing.T, spec string) (w *Workers, j *oneJob, id tasks.JobID, events chan engine.Event) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	var f fakeexec.Finder
	infos, err := f.Find(ctx)
	must(err)
	rt, err := f.Open(ctx, infos[0], exec.Config{Cache: t.TempDir()})
	must(err)
	t.Cleanup(func() { must(rt.Close()) })
	code := filepath.Join(t.TempDir(), "code.json")
	must(os.WriteFile(code, []byte(spec), 0o600))
	d, err := rt.Describe(ctx, exec.Request{Spec: []byte(`{"selector": "` + code + `"}`), Tell: func(string) {}})
	must(err)
	t.Cleanup(d.Program.Release)
	data, err := tasks.NewDataset([]tasks.File{{
		URL:      "fake://f?entries=100",
		Part:     "T",
		Entries:  100,
		Clusters: []int64{0},
	}})
	must(err)
	j = &oneJob{program: d.Program, desc: &tasks.Job{Data: *data, Want: tasks.R(0, 100)}}
	id = tasks.NameOf([]byte("job"))
	events = make(chan engine.Event, 100)
	life, end := context.WithCancel(context.Background())
	w = New(life, Config{
		Blobs: store.NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler)),
		Job:   func(which tasks.JobID) (Job, bool) { return j, which == id },
		Post:  func(ev engine.Event) { events <- ev },
		Log:   slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		end()
		w.Wait()
	})
	return w, j, id, events
}

// TestItemsThatCannotBeHad: a packet of items that this node cannot get is refused, for a reason that is the host's,
// and the generation goes on.
func TestItemsThatCannotBeHad(t *testing.T) {
	w, j, id, events := working(t, `{"entry": "0s", "bins": 10}`)
	data, err := tasks.NewDataset([]tasks.File{{Items: strings.Repeat("ab", 32), Bytes: 10, Entries: 5}, {Entries: 5}})
	if err != nil {
		t.Fatal(err)
	}
	j.desc = &tasks.Job{Data: *data, Want: tasks.R(0, 10)}
	w.Start(engine.StartGen{Gen: 1, Job: id})
	w.Lease(engine.LeasePacket{Gen: 1, Packet: tasks.R(0, 5)})
	r, ok := next(t, events).(engine.PacketRefused)
	if !ok || r.Packet != tasks.R(0, 5) || r.Failure.Host != string(exec.CauseUnreachable) || r.Failure.Here ||
		!strings.Contains(r.Failure.Reason, errNoItems.Error()) {
		t.Errorf("refused: %+v", r)
	}
	w.Lease(engine.LeasePacket{Gen: 1, Packet: tasks.R(5, 10)})
	if d, ok := next(t, events).(engine.PacketDone); !ok || d.Last != 10 {
		t.Errorf("after it: %+v", d)
	}
}

// next is the next thing that the engine is told.
func next(t *testing.T, events chan engine.Event) engine.Event {
	t.Helper()
	select {
	case ev := <-events:
		return ev
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
		return nil
	}
}

// A generation runs its packets in order and seals a partial of them, which others can fetch; its work folder is gone
// then.
func TestGeneration(t *testing.T) {
	w, j, id, events := working(t, `{"entry": "1us", "bins": 10, "print": "hello"}`)
	const gen steal.GenID = 7
	w.Start(engine.StartGen{Gen: gen, Job: id})
	w.Lease(engine.LeasePacket{Gen: gen, Packet: tasks.R(0, 40)})
	w.Lease(engine.LeasePacket{Gen: gen, Packet: tasks.R(40, 100)})
	for _, want := range []tasks.Range{tasks.R(0, 40), tasks.R(40, 100)} {
		if done, ok := next(t, events).(engine.PacketDone); !ok || done.Packet != want || done.Last != want.Last ||
			done.Gen != gen {
			t.Fatalf("told of %+v, want %v", done, want)
		}
	}
	w.Seal(engine.SealGen{Gen: gen, ID: merge.ID{Node: "me", Seq: 1}})
	sealed, ok := next(t, events).(engine.GenSealed)
	canary := tasks.Canary(id.Seed(), tasks.R(0, 40)) + tasks.Canary(id.Seed(), tasks.R(40, 100))
	if !ok || sealed.Partial.Units != 100 || sealed.Partial.Canary != canary {
		t.Fatalf("sealed is %+v", sealed)
	}
	part := sealed.Partial
	if path := w.Blobs.Partial(id, part.ID); !w.Blobs.Has(part.SHA256, path) || store.SizeOf(path) != part.Size {
		t.Error("others cannot fetch the partial")
	}
	w.Wait()
	if left, err := filepath.Glob(filepath.Join(w.Blobs.JobDir(id), "gen-*")); err != nil || len(left) > 0 {
		t.Errorf("what is left of the generation: %v, %v", left, err)
	}
	if len(w.gens) > 0 || len(j.printed) == 0 || w.Latencies().Count != 1 {
		t.Errorf("%d generations are known, it printed %q, %+v", len(w.gens), j.printed, w.Latencies())
	}
}

// The failure of a generation is told once, with the entry that is to blame; that it was killed is not told.
func TestFailureIsToldOnce(t *testing.T) {
	w, j, id, events := working(t, `{"entry": "1us", "bins": 10, "fail": {"42": "signal"}}`)
	w.Start(engine.StartGen{Gen: 1, Job: id})
	w.Lease(engine.LeasePacket{Gen: 1, Packet: tasks.R(0, 100)})
	failed, ok := next(t, events).(engine.GenFailed)
	if !ok || failed.Failure.Blame != tasks.R(42, 43) || failed.Killed || j.crashes != 1 {
		t.Fatalf("told is %+v", failed)
	}
	w.Seal(engine.SealGen{Gen: 1, ID: merge.ID{Node: "me", Seq: 1}})
	w.Start(engine.StartGen{Gen: 2, Job: "no such job"})
	gone, ok := next(t, events).(engine.GenFailed)
	if !ok || gone.Gen != 2 || !strings.Contains(gone.Failure.Reason, "its job is gone") {
		t.Fatalf("told is %+v", gone)
	}
	w.Start(engine.StartGen{Gen: 3, Job: id})
	w.Kill(3)
	w.Wait()
	if len(events) > 0 {
		t.Errorf("told is %+v", <-events)
	}
}
