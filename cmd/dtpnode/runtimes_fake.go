//go:build fakeexec

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/pyexec"
	"github.com/dtpnode/dtpnode/rootexec"
)

// runtimesVariable is an environment variable of this test binary. It lists the kinds of runtimes that a daemon finds,
// separated by commas, the preferred first; without it the daemon finds the one that sleeps and counts.
const runtimesVariable = "DTPNODE_FAKE_RUNTIMES"

// finders returns the kinds of work that a daemon knows. All kinds are known, so that partials of each can be kept, but
// those that the variable omits are not found.
func finders(root *rootexec.Finder, _ *pyexec.Finder) ([]exec.Finder, error) {
	fake, err := fakeexec.FromEnv()
	if err != nil {
		return nil, err
	}
	known := map[string]exec.Finder{root.Kind(): root, fake.Kind(): fake}
	wanted, given := os.LookupEnv(runtimesVariable)
	if !given {
		wanted = fake.Kind()
	}
	var out []exec.Finder
	for kind := range strings.SplitSeq(wanted, ",") {
		if kind == "" {
			continue
		}
		f := known[kind]
		if f == nil {
			return nil, fmt.Errorf("could not use %s=%q: there is no kind %q, or it stands there twice", runtimesVariable,
				wanted, kind)
		}
		out = append(out, f)
		delete(known, kind)
	}
	for _, f := range known {
		out = append(out, notFound{f})
	}
	return out, nil
}

// notFound is a kind for which this host has no runtime.
type notFound struct{ exec.Finder }

func (f notFound) Find(context.Context) ([]exec.Info, error) {
	return nil, fmt.Errorf("no %s found: %w", f.Kind(), exec.ErrNone)
}

// kindOf is the kind of job whose code is in a file: what begins as JSON is not C++.
func kindOf(path string) string {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		return fakeexec.Kind
	}
	return rootexec.Kind
}
