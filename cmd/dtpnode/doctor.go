package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/doctor"
	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/internal/version"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/rootexec"
)

func newDoctor(g *globals) *cobra.Command {
	var roots, addrs []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what this host has and lacks, and how to mend it",
		Long: `doctor checks cores, memory, folders and disk space, compiler, Python, each ROOT that the daemon is given,
the child that dtpnode builds against each, the settings of the daemon, the addresses to listen on, the control
socket, the daemon, the links between members, and their clocks. It removes what a run that was killed has left in the
temporary folder, and names jobs that run could not finish and keeps.

Exit status: 0 nothing fails (there may be warnings), 1 something fails, 2 wrong usage.`,
		Example: "  dtpnode doctor\n  dtpnode doctor --listen 192.0.2.7:4001 --root /opt/root",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runDoctor(ctx, g, roots, addrs, cmd.Flags())
		},
	}
	cmd.Flags().StringArrayVar(&roots, "root", nil,
		"ROOT's installation folder; repeatable (default: those of the settings, else look for one)")
	cmd.Flags().StringArrayVar(&addrs, "listen", nil, "`host:port` to try; repeatable (default: those of the settings)")
	return cmd
}

func runDoctor(ctx context.Context, g *globals, roots, addrs []string, flags *pflag.FlagSet) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	f, own := daemonSettings() // settings of the next start, which the running daemon most likely has too
	from, _ := f.find(g, own)  // problems with them are reported as findings
	if flags.Changed("root") {
		from["root"] = ""
	} else {
		roots = f.root
	}
	if !flags.Changed("listen") {
		addrs = f.listen
	}
	_, down := paths.Client().Status(ctx)
	findings := doctor.Check(ctx, doctor.Config{
		State:    paths.State,
		Cache:    paths.Cache,
		Listen:   addrs,
		Version:  version.String(),
		Settings: func() ([]string, []string) { return complaints(g) },
		Damaged:  func() ([]string, []string) { return damaged(paths.State) },
		Runtimes: rootsToCheck(paths, roots, from["root"], down == nil),
		Status:   paths.Client().Status,
		Links:    paths.Client().Links,
		Members:  paths.Client().Members,
		Sweep:    func() []string { return local.SweepTemporary(paths) },
		Kept:     func() map[string]string { return local.AllOwing(paths) },
	}, func(f doctor.Finding) {
		if !g.json() {
			doctor.Print(g.stdout, f)
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if g.json() {
		err = g.show(findings, func(io.Writer) {})
	}
	if doctor.Worst(findings) == doctor.Fail {
		return errors.Join(err, fmt.Errorf("something fails: mend what is marked %q", doctor.Fail))
	}
	return err
}

// rootsToCheck are the installations of ROOT that the daemon is given, or the one that it would look for. from is the
// source of that setting, and up says that the daemon runs.
func rootsToCheck(paths local.Paths, roots []string, from string, up bool) (all []doctor.Runtime) {
	if len(roots) == 0 {
		roots = []string{""}
	}
	for _, root := range roots {
		t := tools{root, paths.Cache, noROOT(paths.State, root, from, up)}
		all = append(all, doctor.Runtime{Kind: rootexec.Kind, Find: t.find, Build: t.build})
	}
	return all
}

// damaged returns the files of a daemon's state that cannot be used, and what to do about each.
func damaged(state string) (texts, mends []string) {
	for _, d := range store.Damages(state) {
		texts, mends = append(texts, d.Text), append(mends, d.Mend)
	}
	return texts, mends
}

// complaints returns problems with the settings of this host's daemon, and environment variables that look like
// misspelt settings.
func complaints(g *globals) (wrong, misspelt []string) {
	_, misspelt, err := effective(g)
	for _, e := range unjoined(err) {
		if e != nil {
			wrong = append(wrong, e.Error())
		}
	}
	return wrong, misspelt
}
