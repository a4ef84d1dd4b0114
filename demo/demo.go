// Package demo implements `dtpnode demo`: from nothing to a picture of the dimuon mass, computed by three daemons on
// this host.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/examples/dimuon"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

// ROOT is an installation of ROOT.
type ROOT struct{ Version, Dir string }

// Tools finds and makes what the demo needs of ROOT. Install is called if Find finds none.
type Tools interface {
	Find(ctx context.Context) (ROOT, error)
	Install(ctx context.Context, report func(string)) (ROOT, error)
	BuildChild(ctx context.Context, root ROOT, report func(string)) error
}

// Config says how to run the demo.
type Config struct {
	Cache   string
	Dir     string // folder for the results
	Events  int    // number of events in all 8 files; 0 for 4 million
	Tools   Tools
	Steps   *progress.Steps
	Printer Printer // shows the job
}

// Printer shows a job; package progress has three implementations.
type Printer interface {
	submit.Printer
	Close()
}

// Result is what the demo made.
type Result struct {
	Job     api.JobStatus
	File    string // the output, dimuon.root
	Image   string // the dimuon mass, dimuon.png
	Picture string // the same for a terminal
}

const files = 8

// Run runs the demo. It always stops the daemons that it started.
func Run(ctx context.Context, c Config) (Result, error) {
	d := &run{Config: c}
	defer func() { _ = d.close() }() // after an error; otherwise it is the last step
	for _, step := range []struct {
		name string
		do   func(context.Context, func(string)) (string, error)
	}{
		{"ROOT", d.findROOT},
		{"child", d.buildChild},
		{"data set", d.makeData},
		{"nodes", d.startNodes},
	} {
		if err := c.Steps.Run(step.name, func(report func(string)) (string, error) {
			return step.do(ctx, report)
		}); err != nil {
			return Result{}, err
		}
	}
	res, err := d.runJob(ctx)
	if err != nil {
		return res, err
	}
	if err := c.Steps.Run("picture", func(func(string)) (string, error) { return d.draw(&res) }); err != nil {
		return res, err
	}
	return res, c.Steps.Run("stop", func(func(string)) (string, error) { return "all nodes ended", d.close() })
}

// run is the state of one demo.
type run struct {
	Config
	root  ROOT
	files []string
	temp  string
	nodes []*local.Daemon
}

func (d *run) findROOT(ctx context.Context, report func(string)) (string, error) {
	var err error
	if d.root, err = d.Tools.Find(ctx); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		report("none found, installing it")
		if d.root, err = d.Tools.Install(ctx, report); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s in %s", d.root.Version, d.root.Dir), nil
}

func (d *run) buildChild(ctx context.Context, report func(string)) (string, error) {
	return "built", d.Tools.BuildChild(ctx, d.root, report)
}

func (d *run) makeData(ctx context.Context, report func(string)) (string, error) {
	opts := dimuon.Options{
		Dir:           filepath.Join(d.Cache, "demo", "data"),
		Files:         files,
		EventsPerFile: d.Events / files,
		Parallel:      min(runtime.NumCPU(), files),
	}
	if opts.EventsPerFile > 0 {
		opts.Dir += fmt.Sprintf("-%d", opts.EventsPerFile)
	}
	var err error
	total := 0
	d.files, err = dimuon.Generate(ctx, d.root.Dir, opts, func(done, all int) {
		total = all
		report(fmt.Sprintf("%s of %s events made", progress.Count(int64(done)), progress.Count(int64(all))))
	})
	return fmt.Sprintf("%s events in %d files in %s", progress.Count(int64(total)), len(d.files), opts.Dir), err
}

// startNodes starts three daemons and joins them: the first invites, the others join.
func (d *run) startNodes(ctx context.Context, report func(string)) (string, error) {
	var err error
	if d.temp, err = os.MkdirTemp("", "dtpnode-demo-"); err != nil {
		return "", fmt.Errorf("could not make a folder for the nodes: %w", err)
	}
	slots := max(1, runtime.NumCPU()/3)
	for i, name := range []string{"first", "second", "third"} {
		report("starting " + name)
		paths := local.Paths{State: filepath.Join(d.temp, name), Cache: d.Cache}
		node, err := local.Start(ctx, paths, "--name="+name, fmt.Sprintf("--slots=%d", slots),
			"--root="+d.root.Dir, "--listen=127.0.0.1:0")
		if err != nil {
			return "", err
		}
		d.nodes = append(d.nodes, node)
		if i == 0 {
			continue
		}
		report("joining " + name)
		if err := join(ctx, d.nodes[0].Client, node.Client); err != nil {
			return "", fmt.Errorf("could not join node %q: %w", name, err)
		}
	}
	return fmt.Sprintf("3 joined, %d slots each", slots), nil
}

// join makes one daemon a member of the other's cluster.
func join(ctx context.Context, host, guest *api.Client) error {
	inv, err := host.Invite(ctx, api.InviteRequest{Rights: []string{"worker", "submitter"}, TTL: 60})
	if err != nil {
		return err
	}
	_, err = guest.Join(ctx, api.JoinRequest{Token: inv.Token})
	return err
}

// runJob submits DiMuon from the third node and shows it.
func (d *run) runJob(ctx context.Context) (Result, error) {
	source := filepath.Join(d.Cache, "demo", "DiMuon")
	if err := dimuon.WriteSelectors(source); err != nil {
		return Result{}, err
	}
	selector := filepath.Join(source, "DiMuon.C")
	res := Result{File: filepath.Join(d.Dir, "dimuon.root"), Image: filepath.Join(d.Dir, "dimuon.png")}
	req := api.JobRequest{
		Kind: rootexec.Kind, Title: selector,
		Spec: rootexec.Spec{Selector: selector, Includes: []string{filepath.Join(source, "DiMuon.h")}}.JSON(),
		Part: dimuon.Tree, N: -1, Output: res.File, Dir: d.Dir,
	}
	for _, f := range d.files {
		req.Files = append(req.Files, api.InputFile{URL: f})
	}
	err := d.Steps.RunSilent("job", func() (string, error) { return d.follow(ctx, req, &res) })
	return res, err
}

func (d *run) follow(ctx context.Context, req api.JobRequest, res *Result) (string, error) {
	third := d.nodes[len(d.nodes)-1]
	st, err := third.Client.Submit(ctx, req)
	if err != nil {
		return "", err
	}
	f := submit.Follower{Jobs: third.Client, Printer: d.Printer, Print: func(l string) { fmt.Fprintln(d.Printer, l) }}
	res.Job, err = f.Follow(ctx, st.ID)
	d.Printer.Close()
	if err != nil {
		return "", err
	}
	if err := submit.Outcome(res.Job); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s events in %d packets, %d steals, %d merges",
		progress.Count(res.Job.Done), res.Job.Packets, res.Job.Steals, res.Job.Merges), nil
}

func (d *run) draw(res *Result) (string, error) {
	h, err := readH1(res.File, "mass")
	if err != nil {
		return "", err
	}
	res.Picture = strings.Join(blocks(h, 75, 14), "\n")
	return res.Image, savePNG(h, res.Image)
}

// close stops the nodes, the last one first, and removes their folder. It may be called again.
func (d *run) close() error {
	var errs []error
	for _, n := range slices.Backward(d.nodes) {
		errs = append(errs, n.Close())
	}
	d.nodes = nil
	if d.temp != "" {
		errs = append(errs, os.RemoveAll(d.temp))
		d.temp = ""
	}
	return errors.Join(errs...)
}
