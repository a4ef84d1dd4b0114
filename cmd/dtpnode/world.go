package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/rootexec"
)

// worldFlags say what the selector finds around it beside files.
type worldFlags struct {
	cycles   int64
	seed     uint64
	canvases string
	flags    *pflag.FlagSet // that they were added to
}

func (o *worldFlags) add(f *pflag.FlagSet) {
	o.flags = f
	f.Int64Var(&o.cycles, "cycles", 0,
		"`N`: run Process(0) to Process(N-1) without files, as TProof::Process(selector, N) did")
	f.Uint64Var(&o.seed, "seed", 0,
		"seed of gRandom: each entry draws the same numbers whoever runs it (default seeds of chance)")
	f.StringVar(&o.canvases, "save-canvases", "",
		"save all canvases after Terminate into the working folder; `FORMATS` such as pdf,png,root,C (default pdf)")
	f.Lookup("save-canvases").NoOptDefVal = rootexec.CanvasFormats[0]
}

// formats are the formats in which canvases are saved, in the order given.
func (o *worldFlags) formats() ([]string, error) {
	var out []string
	for _, name := range strings.Split(o.canvases, ",") {
		name = strings.TrimPrefix(strings.TrimSpace(name), ".")
		switch {
		case name == "" || slices.Contains(out, name):
		case !slices.Contains(rootexec.CanvasFormats, name):
			return nil, usagef("could not use --save-canvases=%s: ROOT saves canvases as %s", o.canvases,
				strings.Join(rootexec.CanvasFormats, ", "))
		default:
			out = append(out, name)
		}
	}
	return out, nil
}

// isFormats reports whether an argument, of which there is no file, is one of formats of canvases.
func isFormats(arg string) bool {
	if _, err := os.Stat(arg); err == nil {
		return false
	}
	for _, name := range strings.Split(arg, ",") {
		if !slices.Contains(rootexec.CanvasFormats, strings.TrimPrefix(strings.TrimSpace(name), ".")) {
			return false
		}
	}
	return true
}

// inCycles reports whether the selector is to run without files.
func (o *worldFlags) inCycles() bool { return o.flags.Changed("cycles") }

// check refuses what does not go with cycles. reads says whether files are named, directly or as a dataset; tree and
// open are the flags of these names.
func (o *worldFlags) check(reads bool, tree string, open bool) error {
	if !o.inCycles() {
		return nil
	}
	switch {
	case o.cycles < 1:
		return usagef("could not use --cycles %d: want at least 1", o.cycles)
	case reads || tree != "":
		return usagef("could not use --cycles with --files, --dataset or --tree: entries are numbers then, and there is no " +
			"tree")
	case open:
		return usagef("could not use --cycles with --open: what is appended to an open job are files")
	}
	return nil
}

// fill puts the flags into what the job wants of ROOT.
func (o *worldFlags) fill(spec *rootexec.Spec) (err error) {
	spec.Cycles = o.cycles
	if o.flags.Changed("seed") {
		spec.Seed = &o.seed
	}
	spec.Canvases, err = o.formats()
	return err
}
