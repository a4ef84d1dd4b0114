package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/demo"
)

func newDemo(g *globals) *cobra.Command {
	var root string
	var events int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it all on this host: three nodes, 4 million events, the Z boson",
		Long: `demo finds a ROOT or installs one into the cache, makes a NanoAOD-like data set there once, starts
three daemons that join by invitation, submits a dimuon selector from the third, writes dimuon.root and
dimuon.png here, and draws the dimuon mass. It ends all that it started. The first time takes some
minutes, most of them for downloading ROOT; later times seconds.

Exit status: 0 done, 1 error, 2 wrong usage, 3 partial result, 130 interrupted.`,
		Example: "  dtpnode demo",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if events != 0 && events < 8 {
				return usagef("could not use --events %d: want at least 8", events)
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runDemo(ctx, g, root, events)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "ROOT's installation folder (default: look for one, else install it)")
	cmd.Flags().IntVar(&events, "events", 0, "events to make (default 4 million)")
	return cmd
}

func runDemo(ctx context.Context, g *globals, root string, events int) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("could not find the working folder: %w", err)
	}
	res, err := demo.Run(ctx, demo.Config{
		Cache: paths.Cache, Dir: dir, Events: events,
		Tools:   tools{root, paths.Cache, noROOTHere},
		Steps:   &progress.Steps{W: g.stderr, Terminal: term.IsTerminal(int(g.stderr.Fd())), Now: time.Now},
		Printer: demoPrinter(g),
	})
	if err != nil && res.Picture == "" {
		return err
	}
	return errors.Join(err, g.show(res.Job, func(w io.Writer) {
		fmt.Fprintf(w, "\n%s\n\n", res.Picture)
		progress.Summary(w, res.Job)
		fmt.Fprintf(w, "Picture: %s\n", res.Image)
	}))
}

// demoPrinter shows the demo's job. With --output json the demo prints only how the job ended.
func demoPrinter(g *globals) printer {
	if g.json() {
		return progress.NewPlain(g.stderr)
	}
	return newPrinter(g)
}
