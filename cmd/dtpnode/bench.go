package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/bench"
	"github.com/dtpnode/dtpnode/cli/logging"
)

type benchOptions struct {
	root  string
	dir   string
	data  string
	pairs int
	cases []string
	json  string
}

func newBench(g *globals) *cobra.Command {
	var opts benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure dtpnode against bare ROOT and TTreeProcessorMP on this host",
		Long: `bench measures dtpnode and its references in one interleaved run, on the demo's data, and prints the
median ratios beside their targets. The host should be idle. With --output json the report goes to
standard output and the progress to standard error.

Exit status: 0 measured (whether or not targets are met), 1 error, 2 wrong usage, 130 interrupted.`,
		Example: "  dtpnode bench\n  dtpnode bench --case steady --pairs 9 --json report.json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.pairs < 1 {
				return usagef("could not use --pairs %d: want at least 1", opts.pairs)
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runBench(ctx, g, opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.root, "root", "", "ROOT's installation folder (default: look for one)")
	f.StringVar(&opts.dir, "dir", "", "work folder, kept (default in the cache folder)")
	f.StringVar(&opts.data, "data", "", "folder of the demo's data set (default the demo's)")
	f.IntVar(&opts.pairs, "pairs", 5, "pairs of measurements for each figure")
	f.StringSliceVar(&opts.cases, "case", nil, "cases to run: "+strings.Join(bench.Cases(), ", ")+" (default all)")
	f.StringVar(&opts.json, "json", "", "write the report here too")
	return cmd
}

func runBench(ctx context.Context, g *globals, opts benchOptions) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	root, err := tools{opts.root, paths.Cache, noROOTHere}.root(ctx)
	if err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("could not find the dtpnode binary: %w", err)
	}
	if opts.dir == "" {
		opts.dir = filepath.Join(paths.Cache, "bench")
	}
	if opts.data == "" {
		opts.data = filepath.Join(paths.Cache, "demo", "data")
	}
	log, err := logging.New(g.stderr, logging.Auto, slog.LevelInfo)
	if err != nil {
		return err
	}
	var out io.Writer = g.stdout
	if g.json() {
		out, opts.json = g.stderr, os.Stdout.Name()
	}
	return bench.Run(ctx, bench.Config{
		ROOT: root.Dir, Binary: binary, Dir: opts.dir, Data: opts.data, Pairs: opts.pairs, Cases: opts.cases,
		JSON: opts.json, Logger: slog.New(log),
	}, out)
}
