package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/doctor"
	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/version"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/pyexec"
	"github.com/dtpnode/dtpnode/rootexec"
)

func newDoctor(g *globals) *cobra.Command {
	var roots, pythons, addrs []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what this host has and lacks, and how to mend it",
		Long: `doctor checks cores, memory, folders and disk space, compiler, each ROOT and each Python that the daemon is
given, the child that dtpnode has for each, which it builds or installs if it is not there, the settings of the
daemon, the addresses to listen on, the control socket, the daemon, the links between members, and their clocks. It
removes what a run that was killed has left in the temporary folder, and names jobs that run could not finish and keeps.

Exit status: 0 nothing fails (there may be warnings), 1 something fails, 2 wrong usage.`,
		Example: "  dtpnode doctor\n  dtpnode doctor --listen 192.0.2.7:4001 --root /opt/root",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runDoctor(ctx, g, roots, pythons, addrs, cmd.Flags())
		},
	}
	cmd.Flags().StringArrayVar(&roots, "root", nil,
		"ROOT's installation folder; repeatable (default: those of the settings, else look for one)")
	cmd.Flags().StringArrayVar(&pythons, "python", nil,
		"Python `interpreter` for jobs in Python; repeatable (default: those of the settings, else look for one)")
	cmd.Flags().StringArrayVar(&addrs, "listen", nil, "`host:port` to try; repeatable (default: those of the settings)")
	return cmd
}

func runDoctor(ctx context.Context, g *globals, roots, pythons, addrs []string, flags *pflag.FlagSet) error {
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
	if flags.Changed("python") {
		from["python"] = ""
		pythons = interpreters(pythons)
	} else {
		pythons = f.python
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
		Runtimes: slices.Concat(rootsToCheck(paths, roots, from["root"], down == nil),
			pythonsToCheck(paths, pythons, from["python"])),
		Status:  paths.Client().Status,
		Links:   paths.Client().Links,
		Members: paths.Client().Members,
		Sweep:   func() []string { return local.SweepTemporary(paths) },
		Kept:    func() map[string]string { return local.AllOwing(paths) },
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
	const mend = "install ROOT (https://root.cern/install), name yours with --root, or let dtpnode install it: " +
		"`dtpnode demo`"
	for _, root := range orNone(roots) {
		t := tools{root, paths.Cache, noROOT(paths.State, root, from, up)}
		all = append(all, doctor.Runtime{
			Kind: rootexec.Kind, Find: t.find, Build: t.build, Needs: "a compiler", Mend: mend,
			Named: root != "", Off: slices.Equal(roots, []string{noneOfIt}),
		})
	}
	return all
}

// orNone are values, or the empty one that stands for what is looked for.
func orNone(values []string) []string {
	if len(values) == 0 {
		return []string{""}
	}
	return values
}

// pythonsToCheck are the interpreters that the daemon is given, or the one that it would look for. from is the source
// of that setting.
func pythonsToCheck(paths local.Paths, pythons []string, from string) (all []doctor.Runtime) {
	for _, python := range orNone(pythons) {
		finder := &pyexec.Finder{}
		if python != "" {
			finder.Interpreters = []string{python}
		}
		var info exec.Info
		all = append(all, doctor.Runtime{
			Kind: pyexec.Kind,
			Find: func(ctx context.Context) (doctor.Found, error) {
				infos, err := finder.Find(ctx)
				if err != nil {
					return doctor.Found{}, err
				}
				info = infos[0]
				return doctor.Found{Version: info.Version, Dir: info.Dir}, nil
			},
			Build: func(ctx context.Context) error { return pyexec.Ready(ctx, info, paths.Cache, func(string) {}) },
			Mend:  noPython(paths.State, python, from),
			Named: python != "", Off: slices.Equal(pythons, []string{noneOfIt}),
		})
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
