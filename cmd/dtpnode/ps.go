package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// psOptions say which jobs are listed.
type psOptions struct {
	all, mine bool
	states    []string
	number    int
}

// endedShown is how many ended jobs ps lists by default.
const endedShown = 10

func newPs(g *globals) *cobra.Command {
	var opts psOptions
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List jobs",
		Long: `ps lists the jobs of all members that answer, the newest first: those that run or wait, and the newest of
those that have ended. Of jobs of other members it shows whose they are and their state; more with the right read or
admin. A job that waits, since most of the nodes that keep its ledger cannot be reached, is listed with the reason.
Jobs that a run without a daemon has kept are listed too, as they stood then, with a daemon running or without.

Exit status: 0 listed, 1 error, 2 wrong usage.`,
		Example: "  dtpnode ps --mine --only running,waiting\n  dtpnode ps --output json | jq -r '.[] | " +
			"select(.state==\"running\") | .id'",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.number < 1 && cmd.Flags().Changed("last") {
				return usagef("could not use --last %d: want at least 1", opts.number)
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runPs(ctx, g, opts)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&opts.all, "all", "a", false, fmt.Sprintf("all jobs that ended too, not the newest %d alone", endedShown))
	f.BoolVar(&opts.mine, "mine", false, "only jobs that were submitted on this host")
	f.StringSliceVar(&opts.states, "only", nil, "only jobs in these `states`, e.g. running,waiting,failed")
	f.IntVarP(&opts.number, "last", "l", 0, "only the newest `n` jobs")
	return cmd
}

func runPs(ctx context.Context, g *globals, opts psOptions) error {
	for i, s := range opts.states {
		s = strings.ReplaceAll(s, "-", " ") // "cannot finish" is two words
		opts.states[i] = s
		if !slices.Contains(api.States(), api.JobState(s)) {
			return usagef("could not use --only %s: want one of %s", s, joined(api.States()))
		}
	}
	paths, err := g.paths()
	if err != nil {
		return err
	}
	client, kept := paths.Client(), keptJobs(paths)
	jobs, err := client.Jobs(ctx)
	alone := errors.Is(err, api.ErrNoDaemon) && len(kept) > 0
	if err != nil && !alone {
		return err
	}
	self := ""
	if opts.mine && !alone {
		st, err := client.Status(ctx)
		if err != nil {
			return err
		}
		self = st.ID
	}
	shown, left := opts.choose(append(jobs, kept...), self)
	return g.show(shown, func(w io.Writer) {
		printJobs(w, shown, time.Now())
		if left > 0 {
			fmt.Fprintf(w, "and %d that ended earlier: dtpnode ps --all\n", left)
		}
	})
}

// keptJobs returns the kept jobs of runs without a daemon, with the status that they had when they were last worked on.
func keptJobs(paths local.Paths) (jobs []api.JobStatus) {
	local.SweepTemporary(paths)
	for _, dir := range local.AllKept(paths) {
		jobs = append(jobs, local.ReadKept(dir))
	}
	return jobs
}

// choose selects the jobs to list, the newest first, and counts the ended ones that it left out.
func (o psOptions) choose(jobs []api.JobStatus, self string) (shown []api.JobStatus, left int) {
	jobs = slices.Clone(jobs)
	slices.SortStableFunc(jobs, func(a, b api.JobStatus) int { return b.Submitted.Compare(a.Submitted) })
	shown = []api.JobStatus{} // [] in JSON, not null
	ended := 0
	for _, j := range jobs {
		switch {
		case o.mine && j.Submitter != self && j.KeptIn == "",
			len(o.states) > 0 && !slices.Contains(o.states, string(j.State)),
			o.number > 0 && len(shown) == o.number:
			continue
		case j.State.Final() && j.KeptIn == "" && !o.all && o.number == 0 && len(o.states) == 0:
			if ended++; ended > endedShown {
				left++
				continue
			}
		}
		shown = append(shown, j)
	}
	return shown, left
}

func joined(states []api.JobState) string {
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// printClocks names the hosts whose clocks are ahead, so that their jobs seem to be submitted in the future.
func printClocks(w io.Writer, jobs []api.JobStatus, now time.Time) {
	said := map[string]bool{}
	for _, j := range jobs {
		who := submitter(j)
		if ahead := j.Submitted.Sub(now); ahead > progress.ClocksDiffer && !said[who] {
			said[who] = true
			fmt.Fprintf(w, "the clock of %s is %s ahead of this host's, or more: set both by NTP\n", oneLine(who),
				progress.Age(ahead))
		}
	}
}

// On a narrow terminal the names of jobs are cut, since the beginning of a name suffices.
const (
	wideJobs = 110 // columns
	narrowID = 8
)

func printJobs(w io.Writer, jobs []api.JobStatus, now time.Time) {
	width, short := progress.Width(w), progress.Short
	if width > 0 && width < wideJobs {
		short = func(id string) string { return progress.Short(id[:min(len(id), narrowID)]) }
	}
	title, units := headOf(jobs)
	rows := [][]string{{"JOB", title, "STATE", "DONE", units, units + "/S", "TIME", "AGE", "SUBMITTER", "LED BY"}}
	for _, j := range jobs {
		row := []string{short(j.ID), "-", string(j.State), "-", "-", "-", progress.Seconds(j.Seconds),
			progress.Age(now.Sub(j.Submitted)), submitter(j), j.HomeName}
		if j.Private == "" {
			row[1] = j.Title
			row[3], row[4], row[5] = progress.Share(j), progress.Count(j.Units), progress.Rate(j.Rate)
		}
		rows = append(rows, row)
	}
	progress.Grid(w, width, rows, 1, 8, 9)
	printClocks(w, jobs, now)
	for _, j := range jobs {
		if j.State == api.Waiting && j.Phase != "" {
			fmt.Fprintf(w, "job %s waits: %s; %s\n", progress.Short(j.ID), oneLine(j.Phase), oneLine(j.Hint))
		}
		if j.State == api.Running && j.Phase != "" {
			fmt.Fprintf(w, "job %s: %s\n", progress.Short(j.ID), oneLine(j.Phase))
		}
		for _, n := range j.Nodes {
			if j.State == api.Running && n.Problem != "" {
				fmt.Fprintf(w, "job %s: %s was set aside: %s\n", progress.Short(j.ID), oneLine(n.Name),
					oneLine(n.Problem))
			}
		}
		if j.KeptIn != "" {
			fmt.Fprintf(w, "job %s is kept in %s\n", progress.Short(j.ID), oneLine(j.KeptIn))
		}
	}
}

// headOf is what the titles and the units of jobs are called, in the head of their list.
func headOf(jobs []api.JobStatus) (title, units string) {
	for _, j := range jobs {
		if word := strings.ToUpper(j.Called()); units != "" && word != units {
			return "TITLE", "UNITS"
		} else if j.Private == "" {
			units = word
		}
	}
	if units = cmp.Or(units, "EVENTS"); units == "EVENTS" {
		return "SELECTOR", units
	}
	return "TITLE", units
}

// drawn is the word of a job's title before what it draws or counts; empty for a job of a selector.
func drawn(title string) string {
	if word, _, ok := strings.Cut(title, " "); ok && (word == "draw" || word == "count") {
		return word
	}
	return ""
}
