package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/local"
	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newLogs(g *globals) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print what a job's children printed",
		Long: `logs prints what the selector printed on the nodes, as far as it was kept. JOB is a job's name or the
beginning of one.

Exit status: 0 printed, 1 error, 2 wrong usage, 130 interrupted.`,
		Example: "  dtpnode logs 3fa9\n  dtpnode logs 3fa9 -f",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runLogs(ctx, g, args[0], follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	return cmd
}

func runLogs(ctx context.Context, g *globals, id string, follow bool) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	err = paths.Client().Logs(ctx, id, follow, g.stdout)
	if dir := findKept(paths, id); dir != "" && unknown(err) {
		return &api.Error{
			Message: "could not print what job " + progress.Short(local.ReadKept(dir).ID) + " printed: its node has gone, and that with it",
			Hint:    "`dtpnode status " + progress.Short(id) + "` says how the job stands; the node's own log is " + (local.Paths{State: dir}).Log(),
		}
	}
	return err
}
