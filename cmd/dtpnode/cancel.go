package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/progress"
)

func newCancel(g *globals) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Cancel a job, or stop it with a partial result",
		Long: `cancel drops a job and what it has done. With --keep it stops the job and keeps what is done as a
partial result, for ` + "`dtpnode get`" + `.

Exit status: 0 cancelled or stopped, 1 error, 2 wrong usage.`,
		Example: "  dtpnode cancel 3fa9\n  dtpnode cancel 3fa9 --keep",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runCancel(ctx, g, args[0], keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep what is done as a partial result")
	return cmd
}

func runCancel(ctx context.Context, g *globals, id string, keep bool) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	st, err := client.Job(ctx, id)
	if err != nil {
		return err
	}
	act, done := client.Cancel, "cancelled"
	if keep {
		act, done = client.Stop, "stopped"
	}
	if err := act(ctx, st.ID); err != nil {
		return err
	}
	return g.show(map[string]string{"id": st.ID, "request": done}, func(w io.Writer) {
		fmt.Fprintf(w, "%s job %s\n", done, progress.Short(st.ID))
	})
}
