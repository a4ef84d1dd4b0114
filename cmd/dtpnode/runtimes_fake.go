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
	"github.com/dtpnode/dtpnode/rootexec"
)

// runtimesVariable names, in this binary for tests, the kinds of runtimes that a daemon is to find, separated by commas
// and the preferred first; without it the daemon finds the one that sleeps and counts.
const runtimesVariable = "DTPNODE_FAKE_RUNTIMES"

// finders are the kinds of work that a daemon knows. All of them are known, so that partials of each can be kept; those
// that it is not to find are not looked for.
func finders(root *rootexec.Finder) ([]exec.Finder, error) {
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

// notFound is a kind of which this host has no runtime.
type notFound struct{ exec.Finder }

func (f notFound) Find(context.Context) ([]exec.Info, error) {
	return nil, fmt.Errorf("no %s found: %w", f.Kind(), exec.ErrNone)
}

// kindOf is the kind of the job that a file is the code of: what begins as JSON is no C++.
func kindOf(path string) string {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		return fakeexec.Kind
	}
	return rootexec.Kind
}
