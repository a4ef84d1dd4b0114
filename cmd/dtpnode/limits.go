package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/internal/inputs"
)

// limitFlags bound what one child may take of its host. `up` has them for all jobs of a node, `run` for one job on all
// nodes; where both are given the smaller one holds, but for the time to open a file, which a job may set for itself.
type limitFlags struct {
	open              time.Duration
	cpu               time.Duration
	processes         int
	fileSize, scratch string
}

func (f *limitFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.open, "open-timeout", 0, "time that opening one input file may take (default 30s)")
	flags.DurationVar(&f.cpu, "max-cpu", 0, "CPU `time` that one entry may use, over all its threads and processes (default no limit)")
	flags.IntVar(&f.processes, "max-processes", 0, "processes that a child may have started at once (default 256)")
	flags.StringVar(&f.fileSize, "max-file-size", "", "`size` of any one file that a child may write, e.g. 1G (default no limit)")
	flags.StringVar(&f.scratch, "max-scratch", "", "`size` of all files in a child's working folder, e.g. 10G (default a quarter of the free disk)")
}

// sizes reads the limits that are given as text, after a look at the others.
func (f *limitFlags) sizes() (fileSize, scratch int64, err error) {
	switch {
	case f.open < 0:
		return 0, 0, usagef("could not use --open-timeout %s: want a time above zero", f.open)
	case f.cpu < 0:
		return 0, 0, usagef("could not use --max-cpu %s: want a time above zero", f.cpu)
	case f.processes < 0:
		return 0, 0, usagef("could not use --max-processes %d: want at least 1", f.processes)
	}
	if fileSize, err = inputs.Size(f.fileSize); err == nil {
		scratch, err = inputs.Size(f.scratch)
	}
	if err != nil {
		err = usageError{err}
	}
	return fileSize, scratch, err
}
