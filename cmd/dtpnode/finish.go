package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

func newFinish(g *globals) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "finish JOB",
		Short: "Try again to finish a job that could not be finished",
		Long: `finish has the last merge, Terminate and writing the output of a job tried again, and follows it. A job
cannot be finished when that failed though all of its entries were done: a disk is full, a process was killed,
Terminate crashes. What is done is kept, so mend the cause and try again, from any member: the nodes that keep the
job's ledger try one after the other where that may help. The output goes to where run -o wanted it, and with -o here
too. ` + "`dtpnode get --partials`" + ` writes what is done as it is. A job whose node was killed, where
run had started its own, goes on from what is committed.

Exit status: 0 the job is done, 1 error, 2 wrong usage, 3 the result is partial, 130 interrupted: it is tried on or,
where run had started its own node, is kept as it is until the next finish.`,
		Example: "  dtpnode finish 3fa9\n  dtpnode finish 3fa9 -o dimuon.root",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.checkOut(cmd.Flags(), out); err != nil {
				return err
			}
			return runFinish(cmd.Context(), g, args[0], out)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "result file, or - for standard output")
	return cmd
}

func runFinish(ctx context.Context, g *globals, id, out string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if out != toStdout {
		if out, err = submit.OutputPath(out); err != nil {
			return err
		}
	}
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	if client.own != nil && st.State != api.CannotFinish { // the job was broken off, and continues now
		return client.goOn(ctx, g, st.ID, out)
	}
	if err := client.Finish(ctx, st.ID); err != nil {
		client.close(false)
		return client.ended(st, err)
	}
	return client.goOn(ctx, g, st.ID, out)
}
