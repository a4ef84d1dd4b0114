package pyexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Jobs whose request says so (Spec.Values) are led without Python: their values are merged as they are, and nothing of
// the user's code runs on the host that leads them.

// leader leads such jobs, and runs nothing. It is an exec.Runtime.
type leader struct{ version string }

// Leads is a runtime that leads jobs of the Python package for a version of Python. See exec.Leading.
func (*Finder) Leads(version string) exec.Runtime { return leader{version} }

// Info has no folder, since nothing is installed.
func (l leader) Info() exec.Info { return exec.Info{Kind: Kind, Version: l.version} }

// Plan reads how many items a blob has.
func (leader) Plan(ctx context.Context, file, _ string, _ time.Duration) (exec.Plan, error) {
	return planOf(ctx, file)
}

// Complaint is of no use, since nothing is printed.
func (leader) Complaint(string) bool { return false }

// Forget drops nothing, since nothing is kept.
func (leader) Forget(string) error { return nil }

// Close ends nothing, since nothing runs.
func (leader) Close() error { return nil }

// Describe reads the code and the files that the user has named, and makes nothing of them.
func (l leader) Describe(_ context.Context, req exec.Request) (exec.Description, error) {
	var spec Spec
	if err := json.Unmarshal(req.Spec, &spec); err != nil {
		return exec.Description{}, fmt.Errorf("could not read what the job asks of Python: %w", err)
	}
	if !spec.Values || spec.Code == "" || strings.HasSuffix(spec.Code, ".py") {
		return exec.Description{}, exec.ErrNotLed
	}
	w, code, err := readCode(spec)
	if err != nil {
		return exec.Description{}, err
	}
	tell := req.Tell
	if tell == nil {
		tell = func(string) {}
	}
	more := source{tell: tell}
	if err := errors.Join(more.takeEnv(spec.Env, &w), more.takeFiles(spec.Files, &w)); err != nil {
		return exec.Description{}, err
	}
	p := newLed(w, code)
	if len(more.own) > 0 {
		if p.folder, err = os.MkdirTemp("", "dtpnode-files-"); err == nil {
			err = more.keepFiles(p.folder)
		}
		if err != nil {
			p.Release()
			return exec.Description{}, ofDisk("load", err)
		}
	}
	return descriptionOf(p, w, code, more, spec, l.Info())
}

// Prepare makes the program of a job that this host leads, after a restart or from another host.
func (l leader) Prepare(ctx context.Context, o exec.Order) (exec.Program, error) {
	var w work
	if err := wire.Unmarshal(o.Work.Spec, &w); err != nil {
		return nil, fmt.Errorf("could not read what the job asks of Python: %w", err)
	}
	if !w.Values {
		return nil, exec.ErrNotLed
	}
	code, err := o.Fetch(ctx, codeBlob)
	if err != nil {
		return nil, err
	}
	return newLed(w, code), nil
}

// led is a program that only merges values. It is an exec.Program.
type led struct {
	key    string
	folder string // of copies of the user's files, as long as the program is used; empty for none
	gone   sync.Once
}

func newLed(w work, code []byte) *led {
	sum := sha256.Sum256(fmt.Appendf(nil, "led %s %x", w.Name, sha256.Sum256(code)))
	return &led{key: hex.EncodeToString(sum[:])}
}

// Key names the code as one that is not run here.
func (p *led) Key() string { return p.key }

// Start begins a generation that takes no packet: its partial has no unit.
func (p *led) Start(_ context.Context, _ exec.GenSpec, _ exec.Sink) (exec.Generation, error) {
	return &emptyGeneration{done: make(chan struct{})}, nil
}

// Try finds nothing.
func (p *led) Try(context.Context, exec.GenSpec, string, string) error { return nil }

// Merge makes one partial of several.
func (p *led) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	return mergeValues(ctx, inputs, out, nil)
}

// MergeWithout is Merge without the values of some units.
func (p *led) MergeWithout(
	ctx context.Context, inputs []string, out string, taken tasks.Cover,
) (exec.Partial, error) {
	return mergeValues(ctx, inputs, out, taken)
}

// Save merges partials.
func (p *led) Save(ctx context.Context, partials []string, out string) (exec.Finished, error) {
	return finishValues(ctx, partials, out, nil)
}

// Session is that of code without begin and finish.
func (p *led) Session(context.Context, exec.SessionSpec) (exec.Session, error) {
	return ledSession{}, nil
}

// Release removes the copies of the user's files.
func (p *led) Release() {
	p.gone.Do(func() {
		if p.folder != "" {
			_ = os.RemoveAll(filepath.Clean(p.folder)) // else it stays until the host's next start
		}
	})
}

type ledSession struct {
	taken func() tasks.Cover // as in exec.SessionSpec
}

func (ledSession) Begin(context.Context) (string, error) { return "", nil }

func (s ledSession) Finish(ctx context.Context, partials []string, out string) (exec.Finished, error) {
	var taken tasks.Cover
	if s.taken != nil {
		taken = s.taken()
	}
	return finishValues(ctx, partials, out, taken)
}

func (ledSession) Close() {}

// emptyGeneration takes no packet.
type emptyGeneration struct {
	once sync.Once
	done chan struct{}
}

func (g *emptyGeneration) Lease(exec.Packet) error { return exec.ErrEnded }

func (g *emptyGeneration) Preempt() {}

func (g *emptyGeneration) Seal(ctx context.Context, path string) (exec.Partial, error) {
	g.Kill()
	return mergeValues(ctx, nil, path, nil)
}

func (g *emptyGeneration) Kill() { g.once.Do(func() { close(g.done) }) }

func (g *emptyGeneration) Done() <-chan struct{} { return g.done }

// descriptionOf says what is shipped for a program.
func descriptionOf(
	p exec.Program, w work, code []byte, more source, spec Spec, info exec.Info,
) (exec.Description, error) {
	packed, err := wire.Marshal(&w)
	if err != nil {
		p.Release()
		return exec.Description{}, err
	}
	d := exec.Description{
		Program: p,
		Items:   spec.Items,
		Work:    tasks.Work{Kind: Kind, Needs: append(info.Needs(), w.needs()...), Spec: packed},
		Blobs: append([]exec.Blob{
			{Name: codeBlob, Keep: true, Pack: func() ([]byte, error) { return code, nil }},
		}, more.blobs...),
	}
	switch p := p.(type) {
	case *program:
		d.Notes = p.notes
	case *led:
		d.LeadOnly = true
	}
	return d, nil
}
