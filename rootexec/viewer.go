package rootexec

import (
	"context"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// viewFrame asks a viewer for the named objects of blobs, merged: as a blob (pick) or as a ROOT file (show).
type viewFrame struct {
	Op     string   `msgpack:"op"`
	Inputs []string `msgpack:"inputs"`
	Names  []string `msgpack:"names"`
	Most   int64    `msgpack:"most"`
	Path   string   `msgpack:"path"`
}

// viewer is a process that merges what is there of an output while the job runs. It stays for many calls, since a fork
// costs more than such a merge.
type viewer struct{ p *child.Process }

// View starts a viewer (exec.Viewable).
func (s *Selector) View(ctx context.Context) (exec.Viewer, error) {
	p, err := s.z.Fork(ctx, roleViewer)
	if err != nil {
		return nil, err
	}
	return viewer{p}, nil
}

func (v viewer) Pick(ctx context.Context, inputs []string, ask exec.SnapshotAsk) (exec.Snapshot, error) {
	return v.call(ctx, "pick", inputs, ask)
}

func (v viewer) Show(ctx context.Context, inputs []string, ask exec.SnapshotAsk) (exec.Snapshot, error) {
	return v.call(ctx, "show", inputs, ask)
}

func (v viewer) call(
	ctx context.Context, op string, inputs []string, ask exec.SnapshotAsk,
) (s exec.Snapshot, err error) {
	r, err := v.p.Call(ctx, viewFrame{
		Op: op, Inputs: append([]string{}, inputs...), Names: append([]string{}, ask.Names...), Most: ask.Most,
		Path: ask.Path,
	})
	if err != nil {
		v.p.RemoveTemp(ask.Path)
		return s, err
	}
	err = r.Decode(&s)
	return s, err
}

// Close ends the process.
func (v viewer) Close() { v.p.Close() }
