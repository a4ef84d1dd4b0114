package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/inputs"
	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/internal/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

type retryOptions struct {
	out    string
	memory string
	stall  time.Duration
	detach bool
}

func newRetry(g *globals) *cobra.Command {
	var opts retryOptions
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Run what is missing in a partial result, and merge it with the rest",
		Long: `retry submits a new job of the same description that runs what is missing in the result of one that ended partial:
entries that failed, files that could not be read, what was left when it was stopped. What the earlier job has
done is taken over, so that the output is one, as if all had run; Terminate runs once, over the whole. It says
first what it will run, with the reasons of the last time.

The code is that of the earlier job: to run mended code, ` + "`dtpnode run`" + ` it anew. Files of which something is
missing must have the entries that they had; those that could not be read may have been mended. What is done is
kept as long as the result: for a day after the output was written or fetched. The output goes to where run -o
wanted it, if that was on this host, or with -o elsewhere. Any member that may submit jobs and see this one may
retry it, with the same ROOT.

Exit status: 0 done, or nothing is missing, or with --detach accepted; 1 error; 2 wrong usage; 3 something is missing
still; 130 interrupted, as in run.`,
		Example: "  dtpnode retry 3fa9\n  dtpnode retry 3fa9 --memory 4G -o dimuon.root",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRetry(cmd.Context(), g, args[0], opts)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opts.out, "out", "o", "", "result file (default that of the job)")
	f.StringVar(&opts.memory, "memory", "", "memory a child may use, e.g. 2G (default as in the job)")
	f.DurationVar(&opts.stall, "stall", 0, "time that one entry may take, e.g. 5m (default as in the job)")
	f.BoolVar(&opts.detach, "detach", false, "return when the job goes on without this host, and print its name")
	return cmd
}

func (o retryOptions) request() (req api.RetryRequest, err error) {
	if o.stall < 0 {
		return req, usagef("could not use --stall %s: want a time above zero", o.stall)
	}
	if req.Memory, err = inputs.Memory(o.memory); err != nil {
		return req, usageError{err}
	}
	req.Stall = o.stall.Seconds()
	if req.Output, err = submit.OutputPath(o.out); err != nil {
		return req, err
	}
	if req.Dir, err = os.Getwd(); err != nil {
		return req, fmt.Errorf("could not find the working folder: %w", err)
	}
	return req, nil
}

func runRetry(ctx context.Context, g *globals, id string, opts retryOptions) error {
	req, err := opts.request()
	if err != nil {
		return err
	}
	early, interrupts, stop := untilFollowed(ctx)
	defer stop()
	client, old, err := g.forJob(early, id)
	if err != nil {
		return err
	}
	if old.State == api.Done {
		client.close(false)
		return g.show(old, func(w io.Writer) {
			fmt.Fprintf(w, "nothing is missing in the result of job %s: all %s events are in it\n", progress.Short(old.ID), progress.Count(old.Units))
		})
	}
	if client.own != nil && opts.detach {
		client.close(false)
		return usagef("could not retry job %s with --detach: no daemon is running that it could go on in", progress.Short(old.ID))
	}
	st, err := client.Retry(early, old.ID, req)
	if err != nil {
		client.close(false)
		return err
	}
	g.showMissing(old)
	if opts.detach {
		if st, err = untilSafe(early, client.Client, st.ID); err != nil {
			return err
		}
		return g.showSubmitted(st)
	}
	st, err = follow(ctx, g, client.Client, st.ID, output{written: req.Output, owed: true}, interrupts(), client.own == nil)
	return client.retried(old, st, err)
}

// showMissing says what a retry runs, and why that is missing.
func (g *globals) showMissing(old api.JobStatus) {
	if g.json() {
		return
	}
	fmt.Fprintf(g.stderr, "job %s: %s; what is missing runs:\n", progress.Short(old.ID), progress.Extent(old))
	progress.Reasons(g.stderr, old.Missing)
}
