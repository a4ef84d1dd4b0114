package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

type appendOptions struct {
	tree       string
	seq        uint64
	duplicates bool
	copies     bool
	last       bool
	items      string // path of a file with an item a line, or - for standard input
}

func newAppend(g *globals) *cobra.Command {
	var opts appendOptions
	cmd := &cobra.Command{
		Use:   "append JOB [FILES...]",
		Short: "Have an open job run over further files or items",
		Long: `append has a job that was submitted with ` + "`run --open`" +
			` run over further files, named as for run --files. It
returns when most of the nodes that keep the job's ledger have that on disk, so that it outlives the loss of any of
them. All files are appended or, if one of them cannot be read, none. The job does not end before it is closed, by
--last or ` + "`dtpnode close`" + `. Appending is for the host that submitted the job, which signs it.

Of a kind of work that runs over items --items names a file of which each line is one, without its end; - is standard
input. They are kept by the nodes that keep the job's ledger, and need not stay where they are.

A file that is appended twice counts twice. Where the answer may get lost, as in a script, number the appends of a job
from 1 with --seq: one that is repeated with its number counts once. Of more files than fit into one append, which are
some hundred to a thousand, several are made, with the numbers that follow; it says which number is the next.

Exit status: 0 appended, 1 error, 2 wrong usage, 130 interrupted: it may have been appended or not.`,
		Example: `  dtpnode append 3fa9 run7/*.root
  dtpnode append 3fa9 --seq 12 --last run8.root`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) < 2 && opts.items == "" {
				return usagef("append wants JOB and at least one file, or --items")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if err := opts.given(cmd.Flags()); err != nil {
				return err
			}
			return runAppend(ctx, g, args[0], args[1:], opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.tree, "tree", "", "path of the tree in the files (default that of the job)")
	f.Uint64Var(&opts.seq, "seq", 0, "number of this append of the job, from 1 (default the next)")
	f.BoolVar(&opts.duplicates, "allow-duplicates", false, "count a file that is named twice twice")
	f.BoolVar(&opts.copies, "allow-copies", false,
		"read a file that was written anew on another host, with as many entries, as if it were the same")
	f.StringVar(&opts.items, "items", "", "file of which each line is an item, or - for standard input")
	f.BoolVar(&opts.last, "last", false, "close the job: nothing is appended after these files")
	return cmd
}

// given refuses a number that stands for none.
func (o appendOptions) given(flags *pflag.FlagSet) error { return checkNotZero(flags, "seq") }

func newClose(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "close JOB",
		Short: "Close an open job: it ends when it is done",
		Long: `close says that nothing will be appended any more to a job that was submitted with ` + "`run --open`" +
			`. It ends when
all that was appended is done, as any other job. Closing is for the host that submitted the job, which signs it. One
that is closed already stays so.

Exit status: 0 closed, 1 error, 2 wrong usage, 130 interrupted.`,
		Example: "  dtpnode close 3fa9",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runClose(ctx, g, args[0])
		},
	}
}

func runAppend(ctx context.Context, g *globals, id string, names []string, opts appendOptions) error {
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	defer client.close(false)
	req := api.AppendRequest{
		Seq: opts.seq, Part: opts.tree, Close: opts.last, AllowCopies: opts.copies, Duplicates: opts.duplicates,
	}
	if opts.items != "" {
		if req.Data, err = readItems(opts.items, g.stdin); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return g.append(ctx, client, st, req)
	}
	if req.Files, _, err = inputs.Files(names, opts.tree, opts.duplicates); err != nil {
		return err
	}
	return g.append(ctx, client, st, req)
}

// readItems reads a file of which each line is an item.
func readItems(path string, stdin io.Reader) (items [][]byte, err error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("could not read items: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("could not read items: %w", err)
	}
	for line := range bytes.Lines(text) {
		items = append(items, bytes.TrimSuffix(line, []byte("\n")))
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("could not append items: there is no line in %s", path)
	}
	return items, nil
}

func runClose(ctx context.Context, g *globals, id string) error {
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	defer client.close(false)
	return g.append(ctx, client, st, api.AppendRequest{Close: true})
}

// append has a job grow, or closes it, and says how it stands then.
func (g *globals) append(ctx context.Context, client *jobClient, st api.JobStatus, req api.AppendRequest) error {
	done, err := client.Append(ctx, st.ID, req)
	if err != nil {
		return err
	}
	return g.show(done, func(w io.Writer) {
		state := "open"
		if done.Closed {
			state = "closed"
		}
		next := ""
		if !done.Closed {
			next = fmt.Sprintf("; the next append is number %d", done.Appends+1)
		}
		fmt.Fprintf(w, "job %s has %s entries and is %s%s\n", progress.Short(st.ID), progress.Count(done.Units), state, next)
	})
}
