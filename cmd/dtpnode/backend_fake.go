//go:build fakeexec

package main

import (
	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node"
)

// backend of a binary for tests of the protocol: it sleeps and counts instead of running ROOT.
func backend() (node.Backend, error) { return fakeexec.FromEnv() }
