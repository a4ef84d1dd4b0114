package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/pyexec"
	"github.com/dtpnode/dtpnode/rootexec"
)

func newGet(g *globals) *cobra.Command {
	var out string
	var partials bool
	cmd := &cobra.Command{
		Use:   "get JOB",
		Short: "Fetch the output of a finished job",
		Long: `get writes a job's output file: under the name given by -o, else under the selector's name with the ending of
its kind of files, such as .root, here. -o - writes to standard output. A file that -o names is replaced, in one step,
as by run -o; one that is there under the selector's name is not. A result is kept for a day after it was last fetched
or written by run -o, by all nodes that have it, and if nobody fetches it for as long as --keep-results of dtpnode up
says, however many jobs follow; one that a run without a daemon has kept until it is fetched or cancelled, and for a
day after that was last. Of whole results that their users have, the oldest go sooner: beyond 1,000, or when all of
them take more than --keep-bytes of dtpnode up says.

With --partials it writes what is committed of a job that has not ended to the folder given by -o: ROOT files, one if
they can be merged here, as the output list was before Terminate, and manifest.json, which says what entries of which
files are in them. Of a job that cannot be finished get without --partials fetches the merged output as it was before
Terminate.

Files that the selector has written beside its output, such as a skimmed tree, go to their names in the same folder;
one that is there with another content is not replaced. -o - writes the output alone.

Exit status: 0 fetched, 1 error, 2 wrong usage, 3 fetched but partial, 130 interrupted.`,
		Example: "  dtpnode get 3fa9 -o dimuon.root\n  dtpnode get --partials 3fa9 -o parts",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" && cmd.Flags().Changed("out") {
				return g.checkOut(cmd.Flags(), out)
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if partials {
				return runGetPartials(ctx, g, args[0], out)
			}
			return runGet(ctx, g, args[0], out)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "result file, or - for standard output")
	cmd.Flags().BoolVar(&partials, "partials", false, "write what is committed so far to the folder given by -o")
	return cmd
}

// runGetPartials writes what is committed of a job to a folder.
func runGetPartials(ctx context.Context, g *globals, id, dir string) error {
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	defer client.close(false)
	if dir == "" || dir == "-" {
		return usagef("could not get the partials of job %s: name a folder for them with -o", progress.Short(st.ID))
	}
	m, err := submit.FetchPartials(ctx, client.Client, st.ID, dir)
	if err != nil {
		return err
	}
	return g.show(m, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s of %s %s are in %s in %s; %s says which\n", m.State, progress.Count(m.Committed),
			progress.Count(m.Units), st.Called(), progress.Plural(len(m.Parts), "file"), dir, submit.ManifestName)
		if m.Note != "" {
			fmt.Fprintln(w, progress.Clean(m.Note))
		}
	})
}

// mergedSoFar fetches the merged output of a job that cannot be finished, as it was before Terminate.
func mergedSoFar(ctx context.Context, client *api.Client, st api.JobStatus, out string) error {
	temp, err := os.MkdirTemp(filepath.Dir(out), ".dtpnode-*")
	if err != nil {
		return fmt.Errorf("could not write the output beside %q: %w", out, err)
	}
	defer os.RemoveAll(temp)
	m, err := submit.FetchPartials(ctx, client, st.ID, temp)
	if err != nil {
		return err
	}
	if !m.Merged {
		return &api.Error{Message: "could not get the merged output: " + m.Note, Hint: api.Advice(st.ID, st.Unit)}
	}
	if len(m.Parts) == 0 {
		return &api.Error{Message: "could not get the merged output: none was sent", Hint: api.Advice(st.ID, st.Unit)}
	}
	for _, p := range m.Parts[1:] {
		to := filepath.Join(filepath.Dir(out), filepath.FromSlash(p.File))
		if to == filepath.Clean(out) {
			return fmt.Errorf("could not write %q: the output has this name", p.File)
		}
		if _, err := os.Lstat(to); err == nil {
			return &api.Error{
				Message: fmt.Sprintf("could not write %s, which the job has written beside its output: there is such a file",
					to),
				Hint: "move that file away, or name a path in another folder with -o",
			}
		}
		if err := placeBeside(out, filepath.Join(temp, p.Name), p.File); err != nil {
			return fmt.Errorf("could not write %q: %w", p.File, err)
		}
	}
	return os.Rename(filepath.Join(temp, m.Parts[0].Name), out)
}

// placeBeside writes a file that was fetched to the name beside the output that a node has sent for it.
func placeBeside(out, fetched, name string) error {
	f, err := os.Open(fetched)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = exec.PlaceFiles(f, []exec.ResultFile{{Name: name, Size: info.Size()}}, filepath.Dir(out),
		exec.OutputMark("", "get", ""), nil)
	return err
}

func runGet(ctx context.Context, g *globals, id, out string) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	if st, ok := idle(ctx, paths, id); ok {
		return waits(st)
	}
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	err = getOutput(ctx, g, client.Client, st, out)
	if st.State.Final() && (err == nil || errors.Is(err, submit.ErrPartial)) {
		return errors.Join(err, client.had(st))
	}
	client.close(false)
	return err
}

// getOutput writes the output of a job that has ended, or as it was before Terminate.
func getOutput(ctx context.Context, g *globals, client *api.Client, st api.JobStatus, out string) (err error) {
	if st.Private != "" {
		if _, err := client.Result(ctx, st.ID, io.Discard); err != nil {
			return err // which says whose it is
		}
		return runGet(ctx, g, st.ID, out) // this member may see the job meanwhile
	}
	if st.State == api.Waiting {
		return waits(st)
	}
	if !st.State.Halted() {
		return &api.Error{
			Message: fmt.Sprintf("could not get the output of job %s: it %s", progress.Short(st.ID), st.State.Stands()),
			Hint: fmt.Sprintf("see `dtpnode status %s`; `dtpnode cancel --keep` stops it with a partial result",
				progress.Short(st.ID)),
		}
	}
	if st.State == api.Cancelled {
		return submit.Outcome(st)
	}
	if out == "-" && st.State.Final() {
		_, err := client.Result(ctx, st.ID, g.stdout)
		if n := len(st.OutputFiles); err == nil && n > 0 {
			fmt.Fprintf(g.stderr, "dtpnode: without %s that the job has written beside its output: `dtpnode get %s -o FILE` "+
				"writes them beside FILE\n", progress.Plural(n, "file"), progress.Short(st.ID))
		}
		return fetched(st, err)
	}
	if out == "" {
		if out, err = ownName(st); err != nil {
			return err
		}
	}
	if st.State == api.CannotFinish {
		if out == "-" {
			return usagef("could not get the merged output of job %s, which cannot be finished: name a file with -o",
				progress.Short(st.ID))
		}
		if err := mergedSoFar(ctx, client, st, out); err != nil {
			return err
		}
		fmt.Fprintf(g.stderr, "dtpnode: %s is the merged output as it was before Terminate: the job cannot be finished yet\n",
			out)
		if len(st.Missing) == 0 {
			return g.show(st, func(io.Writer) {}) // people have seen the status already
		}
		if err := g.show(st, func(w io.Writer) { progress.Summary(w, st) }); err != nil {
			return err
		}
		return submit.Partial(st)
	}
	if st.Output, err = submit.Fetch(ctx, client, st.ID, out); err != nil {
		return fetched(st, err)
	}
	if err := g.show(st, func(w io.Writer) { progress.Summary(w, st) }); err != nil {
		return err
	}
	return fetched(st, nil)
}

// waits is the error for the output of a job that nobody is working on.
func waits(st api.JobStatus) error {
	return &api.Error{
		Message: fmt.Sprintf("could not get the output of job %s, which waits: %s", progress.Short(st.ID), st.Phase),
		Hint:    st.Hint,
	}
}

// ownName is the name of the output if the user gave none. It must not exist yet, since the user has not agreed to
// replace it.
func ownName(st api.JobStatus) (string, error) {
	suffix, err := suffixOf(st.Kind)
	if err != nil {
		return "", err
	}
	out := strings.TrimSuffix(filepath.Base(st.Title), filepath.Ext(st.Title)) + suffix
	if word := drawn(st.Title); word != "" {
		out = word + suffix // an expression is no name of a file
	}
	if _, err := os.Lstat(out); err == nil {
		return "", &api.Error{
			Message: fmt.Sprintf("could not write the output to %s: there is a file of that name", out),
			Hint:    fmt.Sprintf("`dtpnode get %s -o %s` replaces it; -o takes any other name too", progress.Short(st.ID), out),
		}
	}
	return out, nil
}

// suffixOf ends the names of files that the outputs of a kind of work are written to; an empty kind is the preferred
// one.
func suffixOf(kind string) (string, error) {
	known, err := finders(&rootexec.Finder{}, &pyexec.Finder{})
	if err != nil {
		return "", err
	}
	for _, f := range known {
		if kind == "" || f.Kind() == kind {
			return f.Suffix(), nil
		}
	}
	return "", nil // a newer dtpnode knows more kinds
}

// fetched is the outcome of fetching the output of a final job. A failed job may have an output too: if only copying it
// to its place failed.
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
