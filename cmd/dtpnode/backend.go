//go:build !fakeexec

package main

import "github.com/dtpnode/dtpnode/node"

// backend is what the daemon runs user code with: its default, ROOT.
func backend() (node.Backend, error) { return nil, nil }
