package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

type retryOptions struct {
	out      string
	memory   string
	stall    time.Duration
	limits   limitFlags
	selector string
	code     codeFlags
	params   []string
	inputs   []string
	detach   bool
}

func newRetry(g *globals) *cobra.Command {
	var opts retryOptions
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Run what is missing in a partial result, and merge it with the rest",
		Long: `retry submits a new job of the same description that runs what is missing in the result of one that ended
partial: entries that failed, files that could not be read, what was left when it was stopped. What the earlier job
has done is taken over, so that the output is one, as if all had run; Terminate runs once, over the whole. It says
first what it will run, with the reasons of the last time.

The code and its parameters are those of the earlier job, but for those that are given: with --selector what is
missing runs with mended code, and with --param with other parameters. What is done stays as the code of before has
made it, and what both make is merged; that this can be is tried first, with up to 100 entries, and refused if not. So
it is for code that failed at some entries: where mended code makes another result of those that are done,
` + "`dtpnode run`" + ` it anew. How much was run with which code is said in the summary, and by status. An object
that only one of both makes holds what that has run alone.

Files of which something is missing must have the entries that they had; those that could not be read may have been
mended. What is done is kept as long as the result: for a day after the output was written or fetched, however many
jobs follow. The output goes to where run -o wanted it, if that was on this host, or with -o elsewhere. Any member
that may submit jobs and see this one may retry it, with the same ROOT.

Exit status: 0 done, or nothing is missing, or with --detach accepted; 1 error; 2 wrong usage; 3 something is missing
still; 130 interrupted, as in run.`,
		Example: "  dtpnode retry 3fa9\n  dtpnode retry 3fa9 --memory 4G -o dimuon.root\n  dtpnode retry 3fa9 --selector " +
			"DiMuon.C+g",
		Args: exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.given(g, cmd.Flags()); err != nil {
				return err
			}
			return runRetry(cmd.Context(), g, args[0], opts)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opts.out, "out", "o", "", "result file (default that of the job)")
	f.StringVar(&opts.memory, "memory", "", "memory a child may use, e.g. 2G (default as in the job)")
	f.DurationVar(&opts.stall, "stall", 0, "time that one entry may take, e.g. 5m (default as in the job)")
	opts.limits.add(f)
	f.StringVar(&opts.selector, "selector", "",
		"mended code for what is missing, named as in run (default the code of the job)")
	opts.code.add(f)
	f.StringArrayVar(&opts.params, "param", nil,
		"`name=value` for the selector's fInput, in place of that of the job; as for run; repeatable")
	f.StringArrayVar(&opts.inputs, "input", nil,
		"ROOT `file` whose objects are in fInput, in place of all those of the job; as for run; repeatable")
	f.BoolVar(&opts.detach, "detach", false, "return when the job goes on without this host, and print its name")
	return cmd
}

// given refuses flags that are given with the zero value, which otherwise means "not given".
func (o retryOptions) given(g *globals, flags *pflag.FlagSet) error {
	if o.out == toStdout { // the daemon writes the output, by default to where the earlier job's output was to go
		return usagef("could not use -o - with retry: name a file; `dtpnode get JOB -o -` writes a result to standard output")
	}
	if err := g.checkOut(flags, o.out); err != nil {
		return err
	}
	return checkNotZero(flags, "stall", "open-timeout", "max-processes")
}

func (o retryOptions) request(g *globals) (req api.RetryRequest, err error) {
	if err = checkTime("stall", o.stall); err != nil {
		return req, err
	}
	if req.Memory, err = inputs.Memory(o.memory); err != nil {
		return req, usageError{err}
	}
	req.Stall = o.stall.Seconds()
	if req.FileSize, req.Scratch, err = o.limits.sizes(); err != nil {
		return req, err
	}
	req.Open, req.EntryCPU, req.Processes = o.limits.open.Seconds(), o.limits.cpu.Seconds(), o.limits.processes
	spec, err := o.spec(g)
	if err != nil {
		return req, err
	}
	req.Title, req.Spec = spec.Title(), spec.JSON()
	if req.Output, err = submit.OutputPath(o.out); err != nil {
		return req, err
	}
	if req.Dir, err = os.Getwd(); err != nil {
		return req, fmt.Errorf("could not find the working folder: %w", err)
	}
	return req, nil
}

// spec returns what differs from the earlier job's ROOT spec: parameters, and corrected code.
func (o retryOptions) spec(g *globals) (spec rootexec.Spec, err error) {
	if spec.Params, err = inputs.Params(o.params); err != nil {
		return spec, usageError{err}
	}
	if spec.Inputs, err = inputs.Objects(o.inputs); err != nil {
		return spec, usageError{err}
	}
	if o.selector == "" && !o.code.given() {
		return spec, nil
	}
	if o.selector == "" {
		return spec, usagef("could not use flags about code without --selector: they are about mended code")
	}
	return spec, o.code.set(&spec, g, o.selector)
}

func runRetry(ctx context.Context, g *globals, id string, opts retryOptions) error {
	req, err := opts.request(g)
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
			fmt.Fprintf(w, "nothing is missing in the result of job %s: all %s %s are in it\n", progress.Short(old.ID),
				progress.Count(old.Units), old.Called())
		})
	}
	if client.own != nil && opts.detach {
		client.close(false)
		return usagef("could not retry job %s with --detach: no daemon is running that it could go on in",
			progress.Short(old.ID))
	}
	st, err := submit.Submitted(early, func(ctx context.Context) (api.JobStatus, error) {
		return client.Retry(ctx, old.ID, req)
	})
	if err != nil {
		client.close(false)
		return err
	}
	g.showMissing(old, req)
	if opts.detach {
		if st, err = untilSafe(early, client.Client, st.ID); err != nil {
			return err
		}
		return g.showSubmitted(st)
	}
	st, err = follow(ctx, g, client.Client, st.ID, output{
		written: req.Output,
		owed:    true,
	}, interrupts(), client.own == nil)
	return client.retried(old, st, err)
}

// showMissing prints what a retry runs, and why it was missing.
func (g *globals) showMissing(old api.JobStatus, req api.RetryRequest) {
	if g.json() {
		return
	}
	fmt.Fprintf(g.stderr, "job %s: %s; what is missing runs:\n", progress.Short(old.ID), progress.Extent(old))
	progress.Reasons(g.stderr, old.Missing)
	if req.Title != "" {
		fmt.Fprintf(g.stderr, "with the code of %s as it is now; what is done stays as the code of before has made it\n",
			progress.Clean(req.Title))
	}
}
