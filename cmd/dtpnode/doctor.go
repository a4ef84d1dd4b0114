package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/doctor"
	"github.com/dtpnode/dtpnode/internal/local"
	"github.com/dtpnode/dtpnode/internal/version"
)

func newDoctor(g *globals) *cobra.Command {
	var root string
	var addrs []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what this host has and lacks, and how to mend it",
		Long: `doctor checks cores, memory, folders and disk space, compiler, Python, ROOT, the child that dtpnode
builds against it, the addresses to listen on, the control socket, the daemon, and the links between members. It removes what a run that was
killed has left in the temporary folder, and names jobs that run could not finish and keeps.

Exit status: 0 nothing fails (there may be warnings), 1 something fails, 2 wrong usage.`,
		Example: "  dtpnode doctor\n  dtpnode doctor --listen 192.0.2.7:4001 --root /opt/root",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runDoctor(ctx, g, root, addrs)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "ROOT's installation folder (default: look for one)")
	cmd.Flags().StringArrayVar(&addrs, "listen", []string{"127.0.0.1:0"}, "`host:port` to try; repeatable")
	return cmd
}

func runDoctor(ctx context.Context, g *globals, root string, addrs []string) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	t := tools{prefix: root, cache: paths.Cache}
	findings := doctor.Check(ctx, doctor.Config{
		State: paths.State, Cache: paths.Cache, Listen: addrs, Version: version.String(),
		FindROOT: t.find, BuildChild: t.build, Status: paths.Client().Status, Links: paths.Client().Links,
		Sweep: local.SweepTemporary, Kept: func() map[string]string { return local.AllOwing(paths) },
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
