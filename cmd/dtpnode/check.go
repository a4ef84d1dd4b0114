package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// errUnchecked is the error of a check that found no entry to try.
var errUnchecked = errors.New("nothing was checked")

// uncheckedHint is the hint for errUnchecked.
func uncheckedHint(c api.Check) string {
	if c.Units == 0 {
		return "are these the files and the tree, and what -n and --first say?"
	}
	return "check it on a host that sees the files; without --check members that see them run it"
}

// runCheck tries the first entries of a job.
func runCheck(ctx context.Context, g *globals, selector string, opts runOptions) error {
	if opts.detach {
		return usagef("could not use --detach with --check: nothing goes on that could be followed later")
	}
	opts.out = "" // nothing is written
	req, err := opts.request(g, selector)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	client, own, err := daemonFor(ctx, g, opts, req.Files)
	if err != nil {
		return err
	}
	if own != nil {
		defer own.Close()
	}
	stage := g.stage("checking")
	c, err := client.Check(ctx, req, stage.Show)
	stage.Close()
	if err != nil {
		return err
	}
	if err := g.show(c, func(w io.Writer) { printCheck(w, c) }); err != nil || c.Entries > 0 {
		return err
	}
	return &api.Error{Message: errUnchecked.Error() + ": no entry has run", Err: errUnchecked, Hint: uncheckedHint(c)}
}

// stage shows on standard error what a command waits for, except for --output json, whose readers want results alone.
func (g *globals) stage(what string) *progress.Stage {
	s := &progress.Stage{W: g.stderr, What: what}
	switch {
	case g.json():
		s.W = io.Discard
	case g.redraws():
		s.Width = func() int {
			width, _, err := term.GetSize(int(g.stderr.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
	}
	return s
}

// printCheck prints what a check has found.
func printCheck(w io.Writer, c api.Check) {
	if text := strings.TrimRight(progress.Clean(c.Stdout), "\n"); text != "" {
		fmt.Fprintln(w, text)
	}
	if c.Entries == 0 {
		none := "there is none in what is wanted"
		if c.Units > 0 {
			none = fmt.Sprintf("none of the %s wanted can be read here", progress.Count(c.Units))
		}
		fmt.Fprintf(w, "tried without an entry, for %s: the code compiles, Begin, the merge and Terminate went well; "+
			"nothing is kept\n", none)
	} else {
		of := "entries, of " + oneLine(c.File)
		if c.File == "" {
			of = "cycles"
		}
		fmt.Fprintf(w, "checked with %s of %s %s; nothing is kept\n", progress.Count(c.Entries), progress.Count(c.Units), of)
	}
	if c.Rate > 0 {
		fmt.Fprintf(w, "%sentries/s in one process: the whole takes %s on this host (%s)", progress.Rate(c.Rate),
			about(c.Here), progress.Plural(c.Slots, "slot"))
		if c.AllSlots > c.Slots {
			fmt.Fprintf(w, ", %s on all that are up (%s)", about(c.Everywhere), progress.Plural(c.AllSlots, "slot"))
		}
		fmt.Fprintln(w)
	}
	printObjects(w, c.Objects)
	for _, text := range c.Warnings {
		fmt.Fprintf(w, "warning: %s\n", oneLine(text))
	}
}

// about formats an estimated time, given in seconds.
func about(seconds float64) string {
	if seconds < 0.001 {
		return "less than 1ms"
	}
	return "about " + progress.Seconds(seconds)
}

// printObjects lists the objects of an output list.
func printObjects(w io.Writer, objects []api.CheckObject) {
	if len(objects) == 0 {
		return
	}
	tw := progress.Table(w)
	fmt.Fprintln(tw, "OBJECT\tCLASS\tENTRIES\t")
	const most = 50
	for _, o := range objects[:min(len(objects), most)] {
		entries := ""
		if o.Entries >= 0 {
			entries = progress.Count(int64(o.Entries))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t\n", oneLine(o.Name), oneLine(o.Class), entries)
	}
	tw.Flush()
	if len(objects) > most {
		fmt.Fprintf(w, "and %d more\n", len(objects)-most)
	}
}
