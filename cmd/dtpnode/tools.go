package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/cli/doctor"
	"github.com/dtpnode/dtpnode/demo"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

// tools provides rootexec in the form that doctor and the demo need.
type tools struct {
	prefix, cache string
	advice        string // hint if no ROOT is found
}

// first is the first of several values, empty if there is none.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (t tools) root(ctx context.Context) (*rootexec.Root, error) {
	root, err := rootexec.Find(ctx, rootexec.FindOptions{Prefix: t.prefix, Cache: t.cache})
	if errors.Is(err, rootexec.ErrNoROOT) {
		return nil, &api.Error{Message: err.Error(), Hint: t.advice, Err: err}
	}
	return root, err
}

// Find looks for ROOT.
func (t tools) Find(ctx context.Context) (demo.ROOT, error) {
	root, err := t.root(ctx)
	if err != nil {
		return demo.ROOT{}, err
	}
	return demo.ROOT{Version: root.Version, Dir: root.Dir}, nil
}

// Install installs ROOT into the cache, unless the user named one.
func (t tools) Install(ctx context.Context, report func(string)) (demo.ROOT, error) {
	if t.prefix != "" {
		_, err := t.root(ctx)
		return demo.ROOT{}, err
	}
	root, err := rootexec.Install(ctx, t.cache, report)
	if err != nil {
		return demo.ROOT{}, err
	}
	return demo.ROOT{Version: root.Version, Dir: root.Dir}, nil
}

// installROOT installs ROOT into the cache if none is found. It does so before a daemon starts, since it takes minutes
// and must be shown.
func installROOT(ctx context.Context, g *globals, t tools) error {
	if _, err := t.root(ctx); !errors.Is(err, rootexec.ErrNoROOT) {
		return nil // the daemon reports other problems with it
	}
	_, err := t.Install(ctx, func(step string) { fmt.Fprintln(g.stderr, step) })
	return err
}

// BuildChild builds the child against the ROOT that was found.
func (t tools) BuildChild(ctx context.Context, r demo.ROOT, report func(string)) error {
	root, err := rootexec.Find(ctx, rootexec.FindOptions{Prefix: r.Dir})
	if err != nil {
		return err
	}
	_, err = rootexec.BuildChild(ctx, root, t.cache, report)
	return err
}

func (t tools) find(ctx context.Context) (doctor.Found, error) {
	root, err := t.root(ctx)
	if err != nil {
		return doctor.Found{}, err
	}
	return doctor.Found{Version: root.Version, Dir: root.Dir}, nil
}

func (t tools) build(ctx context.Context) error {
	root, err := t.root(ctx)
	if err != nil {
		return err
	}
	_, err = rootexec.BuildChild(ctx, root, t.cache, nil)
	return err
}
