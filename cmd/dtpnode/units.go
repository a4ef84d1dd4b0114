package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/pyexec"
)

func newUnits(g *globals) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "units JOB [FIRST[-LAST]]",
		Short: "Print the results of a job's units as they come",
		Long: `units prints which entries or items of a job, numbered from 0 over all of them, are done and in the job's
ledger, and the value of each where the kind of work has values: a line for each unit, in the order in which they were
done. A value that is no line of text is printed in base64, after "base64:"; one of Python is printed as its repr, with
<MODULE.NAME> for objects of other classes than Python's own. ROOT jobs have no values of single
entries: their results are of all entries together, and lines are of ranges of entries. Units that were set aside are
printed with the reason.

FIRST-LAST is a range, both included, or one unit; without it all units are meant. With --follow units goes on until
all of them were printed, and of an open job until that has ended. A job can be asked while it runs and for as long as
its result is kept; with --follow units waits where the job waits.

Exit status: 0 all were printed, 1 error, 2 wrong usage, 3 some were set aside or are not done yet, 130 interrupted.`,
		Example: "  dtpnode units 3fa9 --follow\n  dtpnode units 3fa9 100-199",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("units wants JOB, and at most one range of units")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := api.UnitsRequest{Follow: follow}
			if len(args) > 1 {
				var err error
				if ask.First, ask.Last, err = unitRange(args[1]); err != nil {
					return err
				}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runUnits(ctx, g, args[0], ask)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until all units were printed")
	return cmd
}

// unitRange reads a range of units, both ends included, as a half-open one.
func unitRange(text string) (first, last int64, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if first, err = strconv.ParseInt(from, 10, 64); err == nil {
		last = first
		if isRange {
			last, err = strconv.ParseInt(to, 10, 64)
		}
	}
	if err != nil || first < 0 || last < first || last+1 < last {
		return 0, 0, usagef("%q is no range of units: want a number, or FIRST-LAST", text)
	}
	return first, last + 1, nil
}

func runUnits(ctx context.Context, g *globals, id string, ask api.UnitsRequest) error {
	client, st, err := g.forJob(ctx, id)
	if err != nil {
		return err
	}
	defer client.close(false)
	p := unitPrinter{g: g, out: bufio.NewWriter(g.stdout)}
	if st.Kind == pyexec.Kind && !g.json() {
		if p.show, err = g.pythonValues(ctx); err != nil {
			return err
		}
		defer p.show.Close()
	}
	if err := client.Units(ctx, st.ID, ask, p.print); err != nil {
		return err
	}
	return p.rest(st.ID)
}

// errUnits is the error for units without a result.
var errUnits = errors.New("units have no result")

// unitPrinter prints what the daemon sends of a job's units.
type unitPrinter struct {
	g      *globals
	out    *bufio.Writer
	show   *pyexec.Shower // of values of Python; nil for others
	lost   int64
	raised int // values that are what the user's code has raised
	end    api.UnitsEnd
}

// print prints a line of the daemon's. It is there for whoever reads it when the next one comes.
func (p *unitPrinter) print(ev api.UnitsEvent) error {
	for _, m := range ev.Lost {
		p.lost += m.Units[1] - m.Units[0]
	}
	if ev.Over != nil {
		p.end = *ev.Over
	}
	if p.g.json() {
		return json.NewEncoder(p.g.stdout).Encode(api.Listed(ev))
	}
	if ev.NoValues != "" {
		fmt.Fprintln(p.g.stderr, progress.Clean(ev.NoValues)+": these are those that are done")
	}
	p.text(ev)
	return p.out.Flush()
}

// text prints a line of the daemon's for people: values by unit, and ranges of units that have none.
func (p *unitPrinter) text(ev api.UnitsEvent) {
	valued := map[int64]bool{}
	for _, v := range ev.Values {
		valued[v.Unit] = true
		fmt.Fprintf(p.out, "%d\t%s\n", v.Unit, p.value(v.Value))
	}
	for _, r := range ev.Units {
		if !valued[r[0]] {
			fmt.Fprintln(p.out, rangeText(r))
		}
	}
	for _, m := range ev.Lost {
		why := m.Reason
		if m.Kind != "" {
			why = m.Kind + ": " + why
		}
		fmt.Fprintf(p.out, "%s\tmissing: %s\n", rangeText(m.Units), oneLine(why))
	}
}

// value is what is printed of a value.
func (p *unitPrinter) value(value []byte) string {
	if p.show == nil {
		return valueText(value)
	}
	text, raised := p.show.Text(value)
	if raised {
		p.raised++
	}
	return progress.Clean(text)
}

// raisedError is the error for items at which the user's code has raised.
func (p *unitPrinter) raisedError() error {
	if p.raised == 0 {
		return nil
	}
	return &api.Error{
		Message: fmt.Sprintf("the code raised an exception at %s: the lines say which", progress.Plural(p.raised, "item")),
		Err:     errUnits,
	}
}

// rest is the error of units without a result.
func (p *unitPrinter) rest(id string) error {
	var left int64
	for _, r := range p.end.Left {
		left += r[1] - r[0]
	}
	if p.lost == 0 && left == 0 {
		return nil
	}
	e := &api.Error{
		Message: fmt.Sprintf("no result of %s: %s set aside, %s not done", progress.Plural(int(p.lost+left), "unit"),
			progress.Count(p.lost), progress.Count(left)),
		Err: errUnits,
	}
	if left > 0 {
		e.Hint = "with --follow units waits for them; `dtpnode status " + progress.Short(id) + "` says how the job stands"
	}
	return e
}

// valueText is a value as it is printed: itself if it is a line of text, else in base64.
func valueText(value []byte) string {
	text := string(value)
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 &&
		!strings.HasPrefix(text, base64Mark) {
		return text
	}
	return base64Mark + base64.StdEncoding.EncodeToString(value)
}

// base64Mark precedes a value that is printed in base64.
const base64Mark = "base64:"

// rangeText is a half-open range of units as people write it.
func rangeText(r [2]int64) string {
	if r[1]-r[0] == 1 {
		return strconv.FormatInt(r[0], 10)
	}
	return fmt.Sprintf("%d-%d", r[0], r[1]-1)
}
