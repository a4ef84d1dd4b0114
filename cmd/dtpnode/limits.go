package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
)

// limitFlags bound what one child may use of its host. `up` has them for all jobs of a node, `run` for one job on all
// nodes. If both are given the smaller one counts, except for the time to open a file, which a job may set freely.
type limitFlags struct {
	open              time.Duration
	cpu               time.Duration
	processes         int
	fileSize, scratch string
}

func (f *limitFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.open, "open-timeout", 0, "time that opening one input file may take (default 30s)")
	flags.DurationVar(&f.cpu, "max-cpu", 0,
		"CPU `time` that one entry may use, over all its threads and processes (default no limit)")
	flags.IntVar(&f.processes, "max-processes", 0, "processes that a child may have started at once (default 256)")
	flags.StringVar(&f.fileSize, "max-file-size", "",
		"`size` of any one file that a child may write, e.g. 1G (default no limit)")
	flags.StringVar(&f.scratch, "max-scratch", "",
		"`size` of all files in a child's working folder, e.g. 10G (default a quarter of the free disk)")
}

// sizes parses the limits that are given as text, after checking the others.
func (f *limitFlags) sizes() (fileSize, scratch int64, err error) {
	if f.processes < 0 {
		return 0, 0, usagef("could not use --max-processes %d: want at least 1", f.processes)
	}
	if err := errors.Join(checkTime("open-timeout", f.open), checkTime("max-cpu", f.cpu)); err != nil {
		return 0, 0, err
	}
	if fileSize, err = inputs.Room(f.fileSize); err == nil {
		scratch, err = inputs.Room(f.scratch)
	}
	if err != nil {
		err = usageError{err}
	}
	return fileSize, scratch, err
}

// wantsMore says what to give for flags and settings whose zero value means "not given", so that an explicit zero is
// refused.
var wantsMore = map[string]string{
	"slots": "want at least 1", "max-processes": "want at least 1", "seq": "want at least 1",
	"stall": inputs.AtLeastTime(), "open-timeout": inputs.AtLeastTime(),
}

// zero is the error text for a flag or setting that was given as zero; empty if it was not.
func zero(fl *pflag.Flag) string {
	if v := fl.Value.String(); v == "0" || v == "0s" {
		return wantsMore[fl.Name]
	}
	return ""
}

// checkNotZero refuses flags that were given as zero.
func checkNotZero(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if fl := flags.Lookup(name); fl.Changed && zero(fl) != "" {
			return usagef("could not use --%s %s: %s", name, fl.Value, zero(fl))
		}
	}
	return nil
}

// checkTime checks the time limit that a flag gives.
func checkTime(flag string, limit time.Duration) error {
	if err := inputs.Time(limit); err != nil {
		return usagef("could not use --%s %s: %w", flag, limit, err)
	}
	return nil
}
