package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

func newAttach(g *globals) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "attach JOB",
		Short: "Follow a job that runs, from any node",
		Long: `attach shows how a job goes until it ends, as run does, on any node of the cluster: the job may have been
submitted elsewhere, and its home may change meanwhile. With -o it then writes the job's output.
Interrupting it detaches; it never stops the job (see cancel). A job that run has kept without a daemon goes on for as
long as it is followed.

Exit status: 0 the job is done, 1 error, 2 wrong usage, 3 the result is partial, 130 interrupted.`,
		Example: "  dtpnode attach 3fa9\n  dtpnode attach 3fa9 -o dimuon.root",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.checkOut(cmd.Flags(), out); err != nil {
				return err
			}
			return runAttach(cmd.Context(), g, args[0], out)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "result file, or - for standard output")
	return cmd
}

func runAttach(ctx context.Context, g *globals, id, out string) error {
	var err error
	if out != toStdout {
		if out, err = submit.OutputPath(out); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, st, err := g.forJob(ctx, id)
	var e *api.Error
	switch {
	case err == nil && client.own != nil:
		return client.goOn(ctx, g, st.ID, out)
	case err == nil:
		id = st.ID
	// Service unavailable means that the job waits for its home, which following waits for too.
	case client == nil || !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable:
		return err
	}
	_, err = follow(ctx, g, client.Client, id, output{fetch: out}, nil, true)
	if errors.Is(err, context.Canceled) {
		return submit.ErrDetached
	}
	return err
}
