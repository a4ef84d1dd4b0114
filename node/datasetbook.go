package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/datasets"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// openDatasets opens the folder of datasets.
func (d *Daemon) openDatasets() error {
	s, err := datasets.Open(filepath.Join(d.cfg.StateDir, "datasets"), d.log)
	if err != nil {
		return err
	}
	d.datasets = datasets.New(s, datasetMembers{planMembers{d}})
	return nil
}

// datasetMembers is the cluster as datasets see it (datasets.Members).
type datasetMembers struct{ planMembers }

func (m datasetMembers) Name() string { return m.d.net.Name() }
func (m datasetMembers) Names() map[tasks.PeerID]string {
	out := map[tasks.PeerID]string{}
	for _, o := range m.d.net.Members() {
		out[o.ID] = o.Name
	}
	return out
}
func (m datasetMembers) Up() []tasks.PeerID                         { return m.d.cluster.Up() }
func (m datasetMembers) HasRight(id tasks.PeerID, r p2p.Right) bool { return m.d.net.HasRight(id, r) }
func (m datasetMembers) Sign(text []byte) []byte                    { return m.d.net.Sign(text) }

// datasetBook answers what the control interface asks about datasets (control.Datasets).
type datasetBook struct{ d *Daemon }

func (b datasetBook) List(ctx context.Context) []api.Dataset { return b.d.datasets.List(ctx) }

func (b datasetBook) Get(ctx context.Context, name string) (api.Dataset, error) {
	return b.d.datasets.Get(ctx, name)
}

func (b datasetBook) Remove(ctx context.Context, name string) (api.Dataset, error) {
	return b.d.datasets.Remove(ctx, name)
}

// runtime is the one that reads files of a kind, made ready.
func (b datasetBook) runtime(ctx context.Context, kind string) (exec.Runtime, error) {
	h, err := b.d.runtimes.Choose(kind, "")
	if err != nil {
		return nil, b.d.runtimes.Advised(err)
	}
	return h.Ready(ctx)
}

// Add reads the files, here or on members that see them, and registers them if all can be read.
func (b datasetBook) Add(ctx context.Context, req api.DatasetRequest) (api.Dataset, error) {
	if err := datasets.CheckName(req.Name); err != nil {
		return api.Dataset{}, err
	}
	if !b.d.net.HasRight(b.d.net.ID(), p2p.Submitter) {
		return api.Dataset{}, &api.Error{Status: http.StatusForbidden,
			Message: "could not register: this node has no right to submit jobs in its cluster"}
	}
	if b.d.datasets.Own(req.Name) && !req.Replace {
		return api.Dataset{}, &api.Error{
			Status:  http.StatusConflict,
			Message: fmt.Sprintf("could not register %q: this node has a dataset of that name", req.Name),
			Hint:    "--replace puts these files in its place",
		}
	}
	rt, err := b.runtime(ctx, req.Kind)
	if err != nil {
		return api.Dataset{}, err
	}
	ask, err := b.d.planner.Expand(ctx, rt, api.JobRequest{Part: req.Part, Files: req.Files})
	if err != nil {
		return api.Dataset{}, err
	}
	read, err := b.d.planner.Files(ctx, rt, ask, b.d.planner.Open, func(string) {})
	if err != nil {
		return api.Dataset{}, err
	}
	if n := len(read.Bad); n > 0 {
		return api.Dataset{}, &api.Error{
			Status: http.StatusUnprocessableEntity,
			Message: fmt.Sprintf("could not register %q: %d of %d files cannot be read; the first: %s: %s", req.Name, n,
				len(ask.Files), read.Bad[0].File, read.Bad[0].Reason),
			Hint: "nothing was registered: mend them, or leave them out",
		}
	}
	rec := datasets.Record{Name: req.Name, Kind: rt.Info().Kind}
	for _, f := range read.Files {
		rec.Files = append(rec.Files, api.DatasetFile{
			URL: f.URL, Part: f.Part, Entries: f.Entries, Bytes: f.Bytes, UUID: f.UUID,
		})
	}
	keptBy, err := b.d.datasets.Publish(ctx, rec)
	if err != nil {
		return api.Dataset{}, err
	}
	out, err := b.d.datasets.Get(ctx, b.d.net.ID()+"/"+req.Name)
	out.KeptBy = keptBy
	return out, err
}

// Verify opens each file again, here or on members that see it.
func (b datasetBook) Verify(ctx context.Context, name string) (out api.DatasetCheck, err error) {
	set, err := b.d.datasets.Get(ctx, name)
	if err != nil {
		return out, err
	}
	rt, err := b.runtime(ctx, set.Kind)
	if err != nil {
		return out, err
	}
	out.Name, out.Files = set.Name, []api.FileFate{}
	fates := make([]*api.FileFate, len(set.Files))
	var g errgroup.Group
	g.SetLimit(16)
	for i, f := range set.Files {
		g.Go(func() error {
			fates[i] = b.fate(ctx, rt, f)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return out, err
	}
	for _, f := range fates {
		if out.Checked++; f == nil {
			out.Whole++
		} else {
			out.Files = append(out.Files, *f)
		}
	}
	return out, nil
}

// fate is what became of a file; nil if it is as it was.
func (b datasetBook) fate(ctx context.Context, rt exec.Runtime, f api.DatasetFile) *api.FileFate {
	ask := api.JobRequest{Part: f.Part, Files: []api.InputFile{{URL: f.URL, Part: f.Part}}}
	read, err := b.d.planner.Files(ctx, rt, ask, b.d.planner.Open, func(string) {})
	var fail *exec.Failure
	switch {
	case errors.As(err, &fail):
		return &api.FileFate{URL: f.URL, State: "changed", Reason: fail.Msg}
	case err != nil && plan.IsMissing(err):
		return &api.FileFate{URL: f.URL, State: "missing", Reason: err.Error()}
	case err != nil:
		return &api.FileFate{URL: f.URL, State: "corrupted", Reason: err.Error()}
	case len(read.Bad) > 0:
		return &api.FileFate{URL: f.URL, State: "corrupted", Reason: read.Bad[0].Reason}
	}
	now := read.Files[0]
	switch {
	case now.Entries != f.Entries:
		return &api.FileFate{URL: f.URL, State: "changed",
			Reason: fmt.Sprintf("it has %d entries, and had %d", now.Entries, f.Entries)}
	case f.UUID != "" && now.UUID != f.UUID:
		return &api.FileFate{URL: f.URL, State: "changed",
			Reason: fmt.Sprintf("it was written anew: its UUID is %s, and was %s", cmp.Or(now.UUID, "none"), f.UUID)}
	}
	return nil
}
