//go:build !fakeexec

package main

import (
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/pyexec"
	"github.com/dtpnode/dtpnode/rootexec"
)

// finders returns the kinds of work that a daemon knows, the preferred first.
func finders(root *rootexec.Finder, python *pyexec.Finder) ([]exec.Finder, error) {
	return []exec.Finder{root, python}, nil
}

// kindOf is the kind of job whose code is in a file.
func kindOf(string) string { return rootexec.Kind }
