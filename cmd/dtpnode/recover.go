package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newRecover(g *globals) *cobra.Command {
	var yes, superseded bool
	var from string
	cmd := &cobra.Command{
		Use:   "recover JOB",
		Short: "Go on with a job from the last copy of its ledger",
		Long: `recover goes on with a job of whose ledger most copies are lost for good, from the newest copy that is left.
While most of them are only away, the job waits, and goes on by itself when they are back: start
` + "`dtpnode up`" + ` there instead, for that loses nothing. What the lost copies had committed and the last one does
not know of runs again. Copies that come back later are given up, and so is a result that they may have made without
the last one, if the job's submitter had it recovered; if another member with the right admin had, that result counts.

Only copies count whose members prove that they keep the ledger. Such a member can still lie about how new its copy
is: what it alone has beyond the others is told, and with --from MEMBER the job goes on from the copy of another.

A node that gives its copy up for a recovery puts it aside, for as long as results are kept. If that recovery was
wrong, or its copy is lost too, --superseded goes on from such a copy; the job as it goes on now, and its result, are
put aside then.

recover says first what is left and what may run again, and asks; without a terminal it does nothing unless --yes is
given. It is refused while most copies are there, and for all but the job's submitter and members with the right
admin. It works on any member that reaches the copies that are left.

Exit status: 0 the job goes on, 1 error, 2 wrong usage.`,
		Example: "  dtpnode recover 3fa9\n  dtpnode recover 3fa9 --yes\n  dtpnode recover 3fa9 --superseded",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runRecover(ctx, g, args[0], from, yes, superseded)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "go on from the copy of this member, by name or ID, not from the newest")
	cmd.Flags().BoolVar(&superseded, "superseded", false,
		"go on from a copy that was put aside for a recovery which was wrong, or came to nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func runRecover(ctx context.Context, g *globals, id, from string, yes, superseded bool) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	r, err := client.Recovery(ctx, id, from, superseded)
	if err != nil {
		return err
	}
	if !g.json() {
		showRecovery(g.stderr, r, time.Now())
	}
	if !yes {
		if !term.IsTerminal(int(g.stdin.Fd())) || g.json() {
			return usagef("could not recover job %s without being told so: give --yes", progress.Short(r.ID))
		}
		fmt.Fprintf(g.stderr, "Go on from the copy of %s? [y/N] ", r.Copies[0].Name)
		if !agreed(g.stdin) {
			return &api.Error{Message: "nothing was done"}
		}
	}
	if err := client.Recover(ctx, r.ID, r.Copies[0], from != ""); err != nil {
		return err
	}
	return g.show(r, func(w io.Writer) {
		fmt.Fprintf(w, "job %s goes on from the copy of %s: dtpnode attach %s\n", progress.Short(r.ID), r.Copies[0].Name,
			progress.Short(r.ID))
	})
}

// agreed reads an answer; anything but yes means no.
func agreed(in io.Reader) bool {
	line, _ := bufio.NewReader(in).ReadString('\n')
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// showRecovery prints what is left of a job, what is lost, and what going on would mean.
func showRecovery(w io.Writer, r api.Recovery, now time.Time) {
	what, when := "are left", "last written"
	if r.Superseded {
		what, when = "were put aside", "put aside"
	}
	fmt.Fprintf(w, "Copies of the ledger of job %s that %s, the one to go on from first:\n", progress.Short(r.ID), what)
	for _, c := range r.Copies {
		fmt.Fprintf(w, "  %s: %s of %s entries are committed; %s %s ago", oneLine(c.Name), progress.Count(c.Committed),
			progress.Count(r.Units), when, progress.Duration(max(now.Sub(c.Written), 0)))
		if c.SupersededBy != "" {
			fmt.Fprintf(w, ", when %s had the job go on from the copy of %s", oneLine(c.SupersededBy), oneLine(c.SupersededFor))
		}
		if c.Lacking > 0 {
			fmt.Fprintf(w, "; lacks %d of %d partial results", c.Lacking, c.Parts)
		}
		if c.Unproven {
			fmt.Fprint(w, "; it does not prove that it keeps the ledger, and may lie")
		}
		fmt.Fprintln(w)
	}
	for _, l := range r.Lost {
		why := "cannot be reached"
		if l.Up {
			why = "is up, and has no copy any more"
		}
		fmt.Fprintf(w, "Lost: %s %s.\n", oneLine(l.Name), why)
	}
	first := r.Copies[0]
	if len(r.Copies) > 1 && !r.Copies[1].Unproven && first.Committed > r.Copies[1].Committed {
		fmt.Fprintf(w, "That %s more entries are committed than %s knows of is the word of %s alone: --from goes on from "+
			"another copy.\n",
			progress.Count(first.Committed-r.Copies[1].Committed), oneLine(r.Copies[1].Name), oneLine(first.Name))
	}
	fmt.Fprintf(w, "The job would go on from the copy of %s. %s entries would run, those among them that other copies "+
		"have committed since.\n", oneLine(first.Name), progress.Count(r.Open))
	if first.Lacking > 0 {
		fmt.Fprintf(w, "%d partial results that it lacks are fetched from whoever has them; else their entries run again "+
			"too.\n", first.Lacking)
	}
	if r.Superseded {
		fmt.Fprintln(w, "As the job goes on now, or has ended, it is given up: its copies and its result are put aside in "+
			"turn.")
		return
	}
	fmt.Fprintln(w, "Copies that come back later are given up: if they are only away, start dtpnode up there instead.")
}
