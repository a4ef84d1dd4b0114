package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// foundHere finds the runtimes that it lists, of which none can be opened.
type foundHere []exec.Info

func (foundHere) Kind() string                                         { return "ROOT" }
func (f foundHere) Find(context.Context) ([]exec.Info, error)          { return f, nil }
func (foundHere) Suffix() string                                       { return "" }
func (foundHere) Counted(string) (units int64, canary uint64, _ error) { return 0, 0, exec.ErrNone }
func (foundHere) Open(context.Context, exec.Info, exec.Config) (exec.Runtime, error) {
	return nil, errors.New("it is a test's")
}

// stateOf is what is known of a job.
func stateOf(j *jobs.Job) (s jobs.State) {
	j.With(func(o *jobs.State) { s = *o })
	return s
}

// noROOT finds no ROOT.
type noROOT struct{ foundHere }

func (noROOT) Find(context.Context) ([]exec.Info, error) {
	return nil, fmt.Errorf("no ROOT found: %w", exec.ErrNone)
}

// openWithout starts a daemon on a host without ROOT.
func openWithout(t *testing.T, name string) *Daemon {
	t.Helper()
	return openAs(t, Config{Name: name, Slots: 1})
}

// openAs starts a daemon in folders of its own, on a host without ROOT if no runtimes are named.
func openAs(t *testing.T, cfg Config) *Daemon {
	t.Helper()
	dir := t.TempDir()
	cfg.StateDir, cfg.CacheDir, cfg.Version = filepath.Join(dir, "state"), filepath.Join(dir, "cache"), "test"
	if cfg.Runtimes == nil {
		cfg.Runtimes = []exec.Finder{noROOT{}}
	}
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWithoutROOTADaemonAnswersAndRefusesJobs(t *testing.T) {
	d := openWithout(t, "bare")
	ctl, err := d.serveControl()
	if err != nil {
		t.Fatal(err)
	}
	client := api.NewClient(api.SocketPath(d.cfg.StateDir))
	ctx := t.Context()
	st, err := client.Status(ctx)
	if err != nil || !strings.Contains(st.Problem, "cannot run jobs") {
		t.Errorf("status %+v, error %v", st, err)
	}
	job, err := client.Submit(ctx, api.JobRequest{
		Title: "/x/A.C",
		Files: []api.InputFile{{URL: "/x/a.root"}},
		Part:  "T",
		N:     -1,
		Stall: api.NoLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	final, err := client.Follow(ctx, job.ID, func(api.Event) error { return nil })
	if err != nil || final.State != api.Failed || !strings.Contains(final.Error, "ROOT") || final.Hint == "" {
		t.Errorf("job ended as %+v, error %v", final, err)
	}
	var refused *api.Error
	for _, req := range []api.JobRequest{
		{Stall: 1e-9},
		{Stall: -2},
		{Open: -1},
		{EntryCPU: 0.5},
		{Memory: 1},
		{Scratch: -1},
		{FileSize: 1},
		{Processes: -1},
	} {
		if _, err := client.Submit(ctx, req); !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("limits that no child can work with, %+v: %v", req, err)
		}
	}
	if _, err := client.Job(ctx, "ffffffff"); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("unknown job: %v", err)
	}
	info, err := os.Stat(api.SocketPath(d.cfg.StateDir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, error %v", info.Mode(), err)
	}
	client.Close()
	if err := errors.Join(ctl.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// slowBackend is one that takes its time to be opened, and says why.
type slowBackend struct{ foundHere }

func (slowBackend) Open(ctx context.Context, _ exec.Info, cfg exec.Config) (exec.Runtime, error) {
	cfg.Progress("building all of it")
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestPhaseSaysWhatROOTTakes tells a job's user that something is built when that is so, and not whenever ROOT starts.
func TestPhaseSaysWhatROOTTakes(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(t.Context(), Config{
		StateDir: filepath.Join(dir, "state"),
		CacheDir: filepath.Join(dir, "cache"),
		Runtimes: []exec.Finder{slowBackend{foundHere{{Kind: "ROOT", Version: "slow"}}}},
		Name:     "slow",
		Slots:    1,
		Version:  "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	j, err := d.jobs.Submit(api.JobRequest{Title: "/x/A.C", Files: []api.InputFile{{URL: "/x/a.root"}}, Part: "T", N: -1})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the phase is what ROOT says", func() bool {
		phase := d.jobs.StatusOf(j).Phase
		if !slices.Contains([]string{"starting", "starting ROOT", "building all of it"}, phase) {
			t.Fatalf("the phase is %q", phase)
		}
		return phase == "building all of it"
	})
}

func TestOneDaemonAStateFolder(t *testing.T) {
	d := openWithout(t, "first")
	cfg := d.cfg
	if second, err := Open(t.Context(), cfg); err == nil {
		t.Error("a second daemon runs in the same folder")
		_ = second.Close()
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	again, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// A member's words are dropped where it has no right to them, and garbage never reaches the engine.
func TestReceiveDropsGarbage(t *testing.T) {
	d := openWithout(t, "target")
	defer d.Close()
	done := 0
	for _, payload := range [][]byte{nil, {0xdd, 0xff, 0xff, 0xff, 0xff, 1}, []byte("garbage"), {0x81, 0xa1, 'j', 0xc0}} {
		d.receive("stranger", payload, func() { done++ })
	}
	if done != 4 {
		t.Errorf("%d of 4 messages without effect are done with at once", done)
	}
	handled := make(chan struct{})
	m, err := wire.Marshal(&engine.Message{Job: tasks.NameOf([]byte("job")), Moved: &engine.Moved{}})
	if err != nil {
		t.Fatal(err)
	}
	d.receive(d.net.ID(), m, func() { close(handled) })
	<-handled // by the loop
	d.send(d.net.ID(), engine.Message{Job: "x"})
	var jobs int
	d.loop.Ask(func(p *engine.Peer) { jobs = len(p.Jobs()) })
	if jobs != 0 {
		t.Errorf("%d jobs out of nowhere", jobs)
	}
}

func TestMembersSayOnlyWhatTheyMay(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	id := tasks.NameOf([]byte("job"))
	report := func() *ledger.Report { return &ledger.Report{Seq: 3, Held: tasks.CoverOf(tasks.R(0, 9))} }
	for name, m := range map[string]engine.Message{
		"open":   {Job: id, Open: &engine.Open{}},
		"offer":  {Job: id, Offer: &merge.Partial{}},
		"gather": {Job: id, Gather: &merge.Partial{}},
		"steal":  {Steal: &steal.Message{Request: &steal.Request{}}},
		"take":   {Steal: &steal.Message{Ack: &steal.Ack{OK: true}}},
		"give":   {Steal: &steal.Message{Grant: &steal.Grant{}}},
	} {
		if d.forbidden("stranger", &m) == "" {
			t.Errorf("%s was taken from a stranger", name)
		}
		if why := d.forbidden(d.net.ID(), &m); why != "" {
			t.Errorf("%s was not taken from a member with all rights: %s", name, why)
		}
	}
	// every member is asked for work
	for _, nothing := range []steal.Message{{Refuse: &steal.Refuse{}}, {Ack: &steal.Ack{}}} {
		if why := d.forbidden("stranger", &engine.Message{Steal: &nothing}); why != "" {
			t.Errorf("nobody may say that it has or takes nothing: %s", why)
		}
	}
	m := engine.Message{Job: id, Report: report()}
	if why := d.forbidden("stranger", &m); why != "" || m.Report.Seq != 3 || m.Report.Held != nil {
		t.Errorf("%q, left of the report: %+v", why, m.Report)
	}
	m = engine.Message{Job: id, Report: report()}
	if why := d.forbidden(d.net.ID(), &m); why != "" || m.Report.Held == nil {
		t.Errorf("%q, left of the report: %+v", why, m.Report)
	}
	for _, bad := range []tasks.JobID{"", "x", "../../x", id[1:], id + "0", tasks.JobID(strings.ToUpper(string(id)))} {
		if d.forbidden(d.net.ID(), &engine.Message{Job: bad, Order: engine.OrderStop}) == "" {
			t.Errorf("%q passes for a job", bad)
		}
	}
}

// The name of a job is its submitter's choice: one that repeats a name does not hide the job led here.
func TestAForeignJobHidesNoneLedHere(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	led, err := d.jobs.Submit(api.JobRequest{Title: "/x/A.C", N: -1})
	if err != nil {
		t.Fatal(err)
	}
	<-led.Done
	for _, name := range []string{led.Name, "another"} {
		j := d.jobs.Book().New(name)
		j.With(func(s *jobs.State) { s.ID = tasks.NameOf([]byte(name)) })
		d.jobs.Book().Meet(j)
	}
	if d.jobs.Book().Named(led.Name) != led || d.jobs.Book().Named("another") == nil {
		t.Error("a job is hidden")
	}
}

// What a job ships of its own goes when it ends.
func TestADescriptionGoesWithItsJob(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	source, err := d.blobs.Ship([]byte("source"))
	if err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: d.net.ID(),
		Nonce:     tasks.NonceOf(d.net.ID(), tasks.NonceSalt{1}),
		Work:      workOf(source),
	}
	j := d.jobs.Book().New(store.NameOf(desc))
	j.With(func(s *jobs.State) { s.Home, s.Led, s.SubmittedHere, s.Status.ID = d.net.ID(), true, true, j.Name })
	if err := errors.Join(desc.Check(), d.jobs.Publish(j, desc, nil)); err != nil {
		t.Fatal(err)
	}
	for d.jobs.StatusOf(j).State != api.CannotFinish { // without ROOT
		time.Sleep(5 * time.Millisecond)
	}
	d.jobs.CancelJob(j)
	<-j.Done
	for range 100 {
		var left []string
		_ = filepath.WalkDir(d.cfg.ScratchDir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && strings.Contains(path, string(j.ID())) {
				left = append(left, path)
			}
			return nil
		})
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the description is still there")
}
