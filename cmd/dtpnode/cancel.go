package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

func newCancel(g *globals) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Cancel a job, or stop it with a partial result",
		Long: `cancel drops a job and what it has done. With --keep it stops the job and keeps what is done as a
partial result, for ` + "`dtpnode get`" + `; of a job that has not begun that is nothing, and it is cancelled.

A job is cancelled when most of the nodes that keep its ledger have that on disk. If they cannot be reached just now,
this node remembers it, through restarts, and has it done as soon as they can; until then the job may go on.

Exit status: 0 cancelled or stopped, 1 error, 2 wrong usage, 4 asked, and not cancelled yet.`,
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
	client, st, err := g.forJob(ctx, id)
	switch {
	case client == nil:
		return err
	case client.own != nil:
		return cancelKept(ctx, g, client, st, keep)
	case err == nil: // a waiting job has no description here, but can be cancelled
		id = st.ID
	}
	if keep {
		if err := client.Stop(ctx, id); err != nil {
			return err
		}
		if st, err := client.Job(ctx, id); err == nil && st.State == api.Cancelled { // the job had not begun
			if st.Hint != "" && !g.json() {
				fmt.Fprintln(g.stderr, st.Hint)
			}
			return g.showCancel(id, "cancelled")
		}
		return g.showCancel(id, "stopped")
	}
	c, err := client.Cancel(ctx, id)
	switch {
	case err != nil:
		return err
	case c.Pending == "":
		return g.showCancel(id, "cancelled")
	case g.json():
		if err := g.showCancel(c.ID, "asked"); err != nil {
			return err
		}
	}
	return submit.Asked(c)
}

// cancelKept cancels a job that run could not finish, and removes its kept folder; with keep it stops the job instead.
func cancelKept(ctx context.Context, g *globals, c *jobClient, st api.JobStatus, keep bool) (err error) {
	done := "cancelled"
	switch {
	case keep:
		done, err = "stopped", c.Stop(ctx, st.ID)
	case !st.State.Final(): // otherwise its result would be removed with the folder
		_, err = c.Cancel(ctx, st.ID)
	}
	c.close(err == nil && !keep)
	if err != nil {
		return err
	}
	return g.showCancel(st.ID, done)
}

// cancelled is what `cancel --output json` prints.
type cancelled struct {
	ID      string `json:"id"`
	Request string `json:"request"` // cancelled, or stopped with --keep; asked, if it is not cancelled yet
}

// showCancel prints the outcome of a request to cancel.
func (g *globals) showCancel(id, request string) error {
	return g.show(cancelled{id, request}, func(w io.Writer) {
		fmt.Fprintf(w, "%s job %s\n", request, progress.Short(id))
	})
}
