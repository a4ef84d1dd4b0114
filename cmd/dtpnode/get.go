package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/internal/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

func newGet(g *globals) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "get JOB",
		Short: "Fetch the output of a finished job",
		Long: `get writes a job's output file: under the name given by -o, else under the selector's name with the
ending .root, here. -o - writes to standard output. A file of that name is replaced, in one step.
A result is kept for a day after it was last fetched or written by run -o, by all nodes that have it, and
if nobody fetches it for as long as --keep-results of dtpnode up says.

Exit status: 0 fetched, 1 error, 2 wrong usage, 3 fetched but partial, 130 interrupted.`,
		Example: "  dtpnode get 3fa9 -o dimuon.root",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runGet(ctx, g, args[0], out)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "result file, or - for standard output")
	return cmd
}

func runGet(ctx context.Context, g *globals, id, out string) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	st, err := client.Job(ctx, id)
	if err != nil {
		return err
	}
	if st.Private != "" {
		if _, err := client.Result(ctx, st.ID, io.Discard); err != nil {
			return err // which says whose it is
		}
		return runGet(ctx, g, id, out) // it may be seen since
	}
	if !st.State.Final() {
		return &api.Error{
			Message: fmt.Sprintf("could not get the output of job %s: it is %s", progress.Short(st.ID), st.State),
			Hint:    fmt.Sprintf("see `dtpnode status %s`; `dtpnode cancel --keep` stops it with a partial result", progress.Short(st.ID)),
		}
	}
	if st.State == api.Cancelled {
		return submit.Outcome(st)
	}
	if out == "-" {
		_, err := client.Result(ctx, st.ID, g.stdout)
		return fetched(st, err)
	}
	if out == "" {
		out = strings.TrimSuffix(filepath.Base(st.Selector), filepath.Ext(st.Selector)) + ".root"
	}
	if st.Output, err = submit.Fetch(ctx, client, st.ID, out); err != nil {
		return fetched(st, err)
	}
	if err := g.show(st, func(w io.Writer) { progress.Summary(w, st) }); err != nil {
		return err
	}
	return fetched(st, nil)
}

// fetched is how fetching the output of a final job ended. A job may have failed and have an output all
// the same: where only copying it to its place did not work.
func fetched(st api.JobStatus, err error) error {
	var missing *api.Error
	switch {
	case st.State == api.Failed && errors.As(err, &missing) && missing.Status == http.StatusNotFound:
		return submit.Outcome(st)
	case err != nil:
		return err
	case st.State == api.Failed && len(st.Missing) == 0:
		return nil
	case st.State == api.Failed:
		st.State = api.Partial
	}
	return submit.Outcome(st)
}
