package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newPs(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "ps",
		Short: "List jobs",
		Long: `ps lists the jobs of all members that answer: those that run, and the newest of those that have ended. Of jobs
of other members it shows whose they are and their state; more with the right read or admin. A job that waits, since
most of the nodes that keep its ledger cannot be reached, is listed with the reason.

Exit status: 0 listed, 1 error, 2 wrong usage.`,
		Example: "  dtpnode ps\n  dtpnode ps --output json | jq -r '.[] | select(.state==\"running\") | .id'",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runPs(ctx, g)
		},
	}
}

func runPs(ctx context.Context, g *globals) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	jobs, err := client.Jobs(ctx)
	if err != nil {
		return err
	}
	if jobs == nil {
		jobs = []api.JobStatus{} // [] in JSON, not null
	}
	return g.show(jobs, func(w io.Writer) { printJobs(w, jobs) })
}

func printJobs(w io.Writer, jobs []api.JobStatus) {
	tw := progress.Table(w)
	fmt.Fprintln(tw, "JOB\tSELECTOR\tSTATE\tEVENTS\tDONE\tEVENTS/S\tTIME\tHOME\tSUBMITTER\t")
	for _, j := range jobs {
		if j.Private != "" {
			fmt.Fprintf(tw, "%s\t-\t%s\t-\t-\t-\t%s\t%s\t%s\t\n", progress.Short(j.ID), j.State, progress.Seconds(j.Seconds),
				progress.Clean(j.HomeName), progress.Clean(submitter(j)))
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", progress.Short(j.ID),
			progress.Clean(filepath.Base(j.Selector)), j.State, progress.Count(j.Units), progress.Share(j),
			strings.TrimSpace(progress.Rate(j.Rate)), progress.Seconds(j.Seconds), progress.Clean(j.HomeName), progress.Clean(submitter(j)))
	}
	tw.Flush()
	for _, j := range jobs {
		if j.State == api.Waiting && j.Phase != "" {
			fmt.Fprintf(w, "job %s waits: %s; %s\n", progress.Short(j.ID), progress.Clean(j.Phase), progress.Clean(j.Hint))
		}
	}
}
