package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newStatus(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "status [JOB]",
		Short: "Show the daemon, or one job",
		Long: `status shows the local daemon: who and where it is, its ROOT and Python, its slots, and how long steals and
packets take, and which members have no link to each other, as they say themselves. With a job's name, or the beginning
of one, it shows how that job stands.

Exit status: 0 shown, 1 error, 2 wrong usage.`,
		Example: "  dtpnode status\n  dtpnode status 3fa9 --output json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s: got %s, want at most one job", cmd.CommandPath(), progress.Plural(len(args), "argument"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if len(args) == 1 {
				return runJobStatus(ctx, g, args[0])
			}
			return runStatus(ctx, g)
		},
	}
}

// linkedStatus is what `status --output json` prints of the daemon.
type linkedStatus struct {
	api.NodeStatus
	Links *api.Links `json:"links,omitempty"`
}

func runStatus(ctx context.Context, g *globals) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	links, err := client.Links(ctx)
	if err != nil {
		return err
	}
	shown := linkedStatus{st, links}
	return g.show(shown, func(w io.Writer) {
		printNode(w, st)
		printLinks(w, links)
	})
}

// printLinks says which members have no link to each other, and why.
func printLinks(w io.Writer, links *api.Links) {
	groups, rest := progress.Links(links)
	for _, g := range groups {
		fmt.Fprintln(w, g.Text)
		for _, r := range g.Reasons {
			fmt.Fprintf(w, "  %s\n", r)
		}
	}
	if rest != "" {
		fmt.Fprintln(w, rest)
	}
}

func runJobStatus(ctx context.Context, g *globals, id string) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	if st, ok := idle(ctx, paths, id); ok {
		return g.show(st, func(w io.Writer) { printJob(w, st) })
	}
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	defer client.close(false)
	st.KeptIn = client.kept
	return g.show(st, func(w io.Writer) { printJob(w, placed(ctx, client.Client, st)) })
}

// placed adds the host's name to an output that another host wrote, for people, since a path alone seems to be one of
// this host.
func placed(ctx context.Context, client *api.Client, st api.JobStatus) api.JobStatus {
	if st.Output == "" || st.Submitter == "" {
		return st
	}
	if self, err := client.Status(ctx); err == nil && self.ID != st.Submitter {
		st.Output += " on " + submitter(st)
	}
	return st
}

// printPrivate prints a job of another member whose details this member may not see.
func printPrivate(w io.Writer, st api.JobStatus) {
	when := ""
	if !st.Submitted.IsZero() { // only nodes that have led the job know it
		when = ", submitted " + st.Submitted.Local().Format("2006-01-02 15:04:05")
	}
	fmt.Fprintf(w, "%s: a job of %s%s, led by %s: %s\n", progress.Short(st.ID), oneLine(submitter(st)), when,
		oneLine(st.HomeName), oneLine(string(st.State)))
	for _, n := range st.Nodes {
		fmt.Fprintf(w, "this node has processed %s entries for it in %s packets\n", progress.Count(n.Units),
			progress.Count(n.Packets))
	}
	fmt.Fprintf(w, "%s\n", oneLine(st.Private))
}

// submitter is the name of the member that submitted a job, or its id if it is not a member any more.
func submitter(st api.JobStatus) string {
	return cmp.Or(st.SubmitterName, st.Submitter, "another member")
}

// printNode shows a daemon.
func printNode(w io.Writer, st api.NodeStatus) {
	tw := progress.Table(w)
	fmt.Fprintf(tw, "node\t%s (%s)\n", oneLine(st.Name), oneLine(st.ID))
	fmt.Fprintf(tw, "version\t%s, protocol %d, pid %d, up %s, %s\n", oneLine(st.Version), st.Protocol, st.PID,
		progress.Seconds(st.Uptime), progress.Bytes(float64(st.RSS)))
	fmt.Fprintf(tw, "addresses\t%s\n", oneLine(strings.Join(st.Addrs, " ")))
	fmt.Fprintf(tw, "cluster\t%s, %d up\n", progress.Plural(st.Members, "member"), st.Up)
	if st.Members == 2 {
		fmt.Fprintf(tw, "one host lost\t%s\n", api.LostHost(st.Members))
	}
	fmt.Fprintf(tw, "slots\t%d, %d busy\n", st.Slots, st.Busy)
	if len(st.Runtimes) == 0 {
		fmt.Fprintf(tw, "runs\tno jobs: neither ROOT nor Python was found; see `dtpnode doctor`\n")
	}
	for _, r := range st.Runtimes {
		broken := ""
		if r.Problem != "" {
			broken = ", broken"
		}
		fmt.Fprintf(tw, "%s\t%s%s\n", oneLine(r.Kind), oneLine(namedVersion(r)+" in "+r.Dir), broken)
	}
	fmt.Fprintf(tw, "state\t%s\n", oneLine(st.StateDir))
	fmt.Fprintf(tw, "kept\t%s for jobs, %d ledgers; of it uncommitted %s of at most %s\n",
		progress.Bytes(float64(st.Kept)), st.Ledgers,
		progress.Bytes(float64(st.KeptOpen)), progress.Bytes(float64(st.KeptMax)))
	fmt.Fprintf(tw, "steals\t%s\n", histogram(st.Steal))
	fmt.Fprintf(tw, "packets\t%s\n", histogram(st.Packet))
	for _, u := range st.Unseen {
		left := ""
		if st.Members > 1 {
			left = ": " + progress.Plural(u.Files, "file") + " left to others"
		}
		fmt.Fprintf(tw, "does not see\t%s (%s)%s\n", oneLine(u.Where), oneLine(u.Reason), left)
	}
	for _, m := range st.Wrongs {
		for _, what := range slices.Sorted(maps.Keys(m.Counts)) {
			fmt.Fprintf(tw, "broke the rules\t%s, %s times: %s\n", oneLine(cmp.Or(m.Name, m.ID)),
				progress.Count(int64(m.Counts[what])), oneLine(what))
		}
	}
	if st.Starting != "" { // that is no problem
		fmt.Fprintf(tw, "state\tstarting %s\n", oneLine(st.Starting))
	}
	if st.Problem != "" {
		fmt.Fprintf(tw, "problem\t%s\n", oneLine(st.Problem))
	}
	tw.Flush()
}

func histogram(h api.Histogram) string {
	if h.Count == 0 {
		return "none yet"
	}
	return fmt.Sprintf("%s, ms: p50 %.2f, p90 %.2f, p99 %.2f, max %.2f", progress.Count(h.Count), h.P50, h.P90, h.P99,
		h.Max)
}

// printJob shows a job, final or not.
func printJob(w io.Writer, st api.JobStatus) {
	if st.Private != "" {
		printPrivate(w, st)
		return
	}
	fmt.Fprintf(w, "%s, submitted by %s %s, led by %s\n", oneLine(st.Title), oneLine(submitter(st)),
		st.Submitted.Local().Format("2006-01-02 15:04:05"), oneLine(st.HomeName))
	switch {
	case st.Phase == "" || st.State.Final():
	case st.State == api.Waiting:
		fmt.Fprintf(w, "the job waits: %s\n", oneLine(st.Phase))
	default:
		fmt.Fprintf(w, "now: %s\n", oneLine(st.Phase))
	}
	if st.Error != "" {
		fmt.Fprintf(w, "error: %s\n", progress.Clean(st.Error))
	}
	if st.Hint != "" {
		fmt.Fprintf(w, "  %s\n", progress.Clean(st.Hint))
	}
	if st.KeptIn != "" {
		fmt.Fprintf(w, "kept in: %s\n", oneLine(st.KeptIn))
	}
	progress.Summary(w, st)
	if st.OutputError != "" {
		fmt.Fprintf(w, "output not written: %s\n", oneLine(st.OutputError))
	}
	for _, f := range st.Failing {
		fmt.Fprintf(w, "failing, tried %d times: %s [%d, %d): %s: %s\n", f.Tries, oneLine(f.File), f.First, f.Last,
			oneLine(f.Kind), oneLine(f.Reason))
	}
}

// namedVersion is the version of a runtime, with the name by which jobs ask for it.
func namedVersion(r api.Runtime) string {
	if r.Environment == "" {
		return r.Version
	}
	return r.Version + " (" + r.Environment + ")"
}
