package fakeexec

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"go.uber.org/goleak"

	"github.com/dtpnode/dtpnode/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load makes a program of a Spec, on another daemon than the one that describes it.
func load(t *testing.T, f Finder, spec string) exec.Program {
	t.Helper()
	ctx := t.Context()
	infos, err := f.Find(ctx)
	check(t, err)
	r, err := f.Open(ctx, infos[0], exec.Config{Cache: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { check(t, r.Close()) })
	path := filepath.Join(t.TempDir(), "s.json")
	check(t, os.WriteFile(path, []byte(spec), 0o600))
	d, err := r.Describe(ctx, exec.Request{
		Spec: []byte(`{"selector": "` + path + `", "params": {"a": "b"}}`),
		Tell: func(string) {},
	})
	check(t, err)
	defer d.Program.Release()
	if !infos[0].Offer().Meets(d.Work.Needs) || len(d.Params) != 1 || !d.Blobs[0].Keep {
		t.Errorf("described as %+v", d)
	}
	there, err := r.Prepare(ctx, exec.Order{Work: d.Work, Fetch: func(_ context.Context, name string) ([]byte, error) {
		if name != d.Blobs[0].Name {
			t.Errorf("fetches %q", name)
		}
		return d.Blobs[0].Pack()
	}})
	check(t, err)
	if there.Key() != d.Program.Key() {
		t.Error("the same code has two keys")
	}
	return there
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sink keeps what a generation reports.
type sink struct {
	done  chan exec.Done
	fails chan *exec.Failure
}

func newSink() *sink {
	return &sink{make(chan exec.Done, 8), make(chan *exec.Failure, 8)}
}

func (s *sink) PacketDone(d exec.Done) { s.done <- d }
func (s *sink) Failed(f *exec.Failure) { s.fails <- f }
func (s *sink) Output(string)          {}

func packet(id uint64, first, last, base int64) exec.Packet {
	return exec.Packet{ID: id, File: "fake://x?entries=100000", First: first, Last: last, Base: base}
}

// What random generations did, merged at random, is what they said they did, in its time.
func TestCountsWhatItSays(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			sel := load(t, Finder{Slow: 2}, `{"entry": "10us", "bins": 50, "size": 2000}`)
			var paths []string
			var units []tasks.Range
			at := int64(0)
			for range 4 {
				path := filepath.Join(t.TempDir(), "partial")
				did := randomGeneration(t, rng, sel, path, at)
				paths, units = append(paths, path), append(units, did...)
				at += 5000
			}
			merged := filepath.Join(t.TempDir(), "merged")
			_, err := sel.Merge(t.Context(), paths[:2], merged)
			check(t, err)
			client, err := sel.Session(t.Context(), exec.SessionSpec{Out: func(string) {}})
			check(t, err)
			defer client.Close()
			result := filepath.Join(t.TempDir(), "result.json")
			fin, err := client.Finish(t.Context(), append(paths[2:], merged), result)
			check(t, err)
			wantOutput(t, result, fin, units)
		})
	}
}

// randomGeneration runs packets from unit at on, cuts some, and returns what was done.
func randomGeneration(t *testing.T, rng *rand.Rand, sel exec.Program, path string, at int64) (did []tasks.Range) {
	t.Helper()
	s := newSink()
	g, err := sel.Start(t.Context(), exec.GenSpec{Job: 9}, s)
	check(t, err)
	for range 5 {
		var out []tasks.Range
		for range 1 + rng.IntN(2) {
			r := tasks.R(at, at+1+rng.Int64N(400))
			at = r.Last
			check(t, g.Lease(packet(uint64(r.First), r.First, r.Last, 0)))
			out = append(out, r)
		}
		if rng.IntN(2) == 0 {
			time.Sleep(time.Duration(rng.IntN(10_000)) * time.Microsecond) // virtual
			g.Preempt()
		}
		for _, r := range out {
			d := <-s.done
			if d.ID != uint64(r.First) || d.Last < r.First || d.Last > r.Last ||
				d.Elapsed < 20*time.Microsecond*time.Duration(d.Last-r.First) {
				t.Fatalf("asked for %v, got %+v", r, d)
			}
			if d.Last > r.First {
				did = append(did, tasks.R(r.First, d.Last))
			}
		}
	}
	sealed, err := g.Seal(t.Context(), path)
	check(t, err)
	info, err := os.Stat(path)
	check(t, err)
	if sealed.Size != info.Size() || sealed.Size < 2000 {
		t.Errorf("%d bytes, said %d", info.Size(), sealed.Size)
	}
	<-g.Done()
	if err := g.Lease(packet(1, 0, 1, 0)); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("leased after the end: %v", err)
	}
	return did
}

func wantOutput(t *testing.T, path string, fin exec.Finished, units []tasks.Range) {
	t.Helper()
	out, err := ReadOutput(path)
	check(t, err)
	want := Output{Bins: make([]int64, 50)}
	for _, r := range units {
		want.Units += r.Len()
		want.Canary += tasks.Canary(9, r)
		for i, n := range Serial(r, 50) {
			want.Bins[i] += n
		}
	}
	if out.Units != want.Units || out.Canary != want.Canary || !slices.Equal(out.Bins, want.Bins) {
		t.Errorf("got %+v, want %+v", out, want)
	}
	if fin.Units != want.Units || fin.Canary != want.Canary {
		t.Errorf("said %+v, want %+v", fin, want)
	}
	if u, c, err := (Finder{}).Counted(path); err != nil || u != want.Units || c != want.Canary {
		t.Errorf("counted %d %x, error %v", u, c, err)
	}
}

func TestPreemptSparesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		g, err := load(t, Finder{}, `{"entry": "1ms", "bins": 1}`).Start(t.Context(), exec.GenSpec{}, s)
		check(t, err)
		check(t, g.Lease(packet(1, 0, 100, 0)))
		check(t, g.Lease(packet(2, 100, 200, 0)))
		if err := g.Lease(packet(3, 200, 300, 0)); !errors.Is(err, exec.ErrQueueFull) {
			t.Errorf("a third packet: %v", err)
		}
		time.Sleep(10*time.Millisecond + time.Microsecond)
		g.Preempt()
		if a, b := <-s.done, <-s.done; a.Last != 10 || b.Last != 100 {
			t.Errorf("cut at %d and %d, want 10 and 100", a.Last, b.Last)
		}
		check(t, g.Lease(packet(3, 100, 200, 0)))
		if c := <-s.done; c.Last != 200 {
			t.Errorf("what is leased after the cut was cut at %d", c.Last)
		}
		g.Kill()
		if len(s.fails) > 0 {
			t.Error("a killed generation reports a failure")
		}
	})
}

func TestFailsOnOrder(t *testing.T) {
	for _, kind := range []exec.Kind{exec.KindSignal, exec.KindException, exec.KindExit, exec.KindStall, exec.KindMemory,
		exec.KindData, exec.KindKilled} {
		for _, sealing := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newSink()
				sel := load(t, Finder{}, `{"entry": "1ms", "bins": 1, "fail": {"1050": "`+string(kind)+`"}}`)
				g, err := sel.Start(t.Context(), exec.GenSpec{Limits: exec.Limits{Stall: time.Minute}}, s)
				check(t, err)
				start := time.Now()
				check(t, g.Lease(packet(1, 0, 100, 1000)))
				if sealing {
					if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "x")); err == nil {
						t.Error("sealed")
					}
				}
				f := <-s.fails
				took := 50 * time.Millisecond
				if kind == exec.KindStall {
					took += time.Minute
				}
				if f.Kind != kind || f.Entry != 50 || time.Since(start) != took || len(s.done) > 0 {
					t.Errorf("%s: got %+v after %s", kind, f, time.Since(start))
				}
				if entries := kind != exec.KindData; entries != (f.Blame == tasks.R(50, 51)) {
					t.Errorf("%s blames %v", kind, f.Blame)
				}
				<-g.Done()
			})
		}
	}
}

func TestStepsFail(t *testing.T) {
	sel := load(t, Finder{},
		`{"bins": 1, "steps": {"SlaveBegin": "code", "merge": "signal", "Begin": "exception", "Terminate": "exit"}}`)
	ctx := t.Context()
	client, err := sel.Session(ctx, exec.SessionSpec{Out: func(string) {}})
	check(t, err)
	defer client.Close()
	path := filepath.Join(t.TempDir(), "x")
	for step, f := range map[string]func() error{
		"SlaveBegin": func() error { return sel.Try(ctx, exec.GenSpec{}, "fake://x?entries=1", "T") },
		"merge":      func() error { _, err := sel.Merge(ctx, nil, path); return err },
		"Begin":      func() error { _, err := client.Begin(ctx); return err },
		"Terminate":  func() error { _, err := client.Finish(ctx, nil, path); return err },
	} {
		var fail *exec.Failure
		if err := f(); !errors.As(err, &fail) || fail.Op != step {
			t.Errorf("%s: %v", step, err)
		}
	}
	if _, err := sel.Save(ctx, nil, path); err != nil {
		t.Errorf("nothing is saved of a job whose Terminate failed: %v", err)
	}
	broken := load(t, Finder{Broken: exec.KindDisk}, `{"bins": 1}`)
	var fail *exec.Failure
	if err := broken.Try(ctx, exec.GenSpec{}, "fake://x?entries=1", "T"); !errors.As(err, &fail) ||
		fail.Kind != exec.KindDisk {
		t.Errorf("a broken node: %v", err)
	}
}

func TestClusters(t *testing.T) {
	for _, d := range []dataset{{0, 1, ""}, {1, 5, ""}, {10, 3, ""}, {100, 7, ""}, {1_000_000, 1000, ""}} {
		c := d.clusters()
		if int64(len(c)) != min(d.parts, d.entries) || len(c) > 0 && c[0] != 0 {
			t.Errorf("%+v: %v", d, c)
		}
		for i := range c {
			end := d.entries
			if i+1 < len(c) {
				end = c[i+1]
			}
			if n := end - c[i]; n < d.entries/int64(len(c)) || n > d.entries/int64(len(c))+1 {
				t.Errorf("%+v: cluster %d has %d entries", d, i, n)
			}
		}
	}
}

func TestRefusesNonsense(t *testing.T) {
	for _, text := range []string{"", "{", `{"bins":0}`, `{"bins":1,"entry":"x"}`, `{"bins":1,"entry":"-1s"}`,
		`{"bins":99999999}`, `{"bins":1,"nonsense":1}`} {
		if _, err := parseSpec([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), "error:") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, name := range []string{"", "x.root", "root://x", "fake://x?entries=x", "fake://x?entries=-1",
		"fake://x?clusters=0", "fake://x?clusters=99999999"} {
		if _, err := parseDataset(name); err == nil {
			t.Errorf("%q is a data file", name)
		}
	}
	path := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{"", "{", "{}", `{"bins":"x"}`} {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := ReadOutput(path); err == nil {
			t.Errorf("%q is an output", text)
		}
	}
	t.Setenv(EnvSlow, "-1")
	if _, err := FromEnv(); err == nil {
		t.Error("a node of negative slowness")
	}
}

func TestCancelledWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sel := load(t, Finder{}, `{"entry": "1h", "bins": 1}`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := sel.Try(ctx, exec.GenSpec{}, "fake://x?entries=1", "T"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("probe: %v", err)
		}
		g, err := sel.Start(t.Context(), exec.GenSpec{}, newSink())
		check(t, err)
		check(t, g.Lease(packet(1, 0, 1, 0)))
		if _, err := g.Seal(ctx, filepath.Join(t.TempDir(), "x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("seal: %v", err)
		}
		<-g.Done()
	})
}

// A flipped bit is seen in the bins alone.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	out := Output{Units: 30, Canary: 12, Bins: []int64{10, 20}}
	_, err := out.store(path, 100)
	check(t, err)
	check(t, damage(path))
	got, err := ReadOutput(path)
	check(t, err)
	if got.Units != 30 || got.Canary != 12 || got.Bins[0] != 10 || got.Bins[1] != 21 {
		t.Errorf("got %+v", got)
	}
}
