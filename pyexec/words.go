package pyexec

import "github.com/dtpnode/dtpnode/exec"

// Words are what users are told of jobs in Python.
func (*Finder) Words() exec.Words { return exec.Words{Units: "items", Named: true} }
