package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newLogs(g *globals) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print what a job's children printed",
		Long: `logs prints what the selector printed on the nodes, as far as it was kept. JOB is a job's name or the
beginning of one. Nodes that have worked for the job, or may have, and are not up or do not answer are named on
standard error: lines of theirs may be missing.

Exit status: 0 printed, 1 error, 2 wrong usage, 3 printed, but lines of some nodes may be missing, 130 interrupted.`,
		Example: "  dtpnode logs 3fa9\n  dtpnode logs 3fa9 -f",
		Args:    exactly("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runLogs(ctx, g, args[0], follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	return cmd
}

func runLogs(ctx context.Context, g *globals, id string, follow bool) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	l := logPrinter{g: g}
	err = paths.Client().Logs(ctx, id, follow, l.print)
	if err == nil && len(l.silent) > 0 {
		return linesMissing(l.silent)
	}
	dir := findKept(paths, id)
	if dir == "" && errors.Is(err, api.ErrNoDaemon) {
		return nobodyKnows(paths, id)
	}
	if dir != "" && unknown(err) {
		return &api.Error{
			Message: "could not print what job " + progress.Short(local.ReadKept(dir).ID) +
				" printed: its node has gone, and that with it",
			Hint: "`dtpnode status " + progress.Short(id) + "` says how the job stands; the node's own log is " +
				(local.Paths{State: dir}).Log(),
		}
	}
	return err
}

// logPrinter prints what the daemon sends of a job's log.
type logPrinter struct {
	g      *globals
	last   string // node whose lines were printed last
	silent []api.SilentNode
}

func (l *logPrinter) print(p api.LogPart) error {
	if p.Over {
		l.silent = p.Silent
	}
	if l.g.json() {
		return json.NewEncoder(l.g.stdout).Encode(api.Listed(p))
	}
	if p.Text == "" {
		return nil
	}
	text := p.Text
	if l.last != p.Node {
		l.last = p.Node
		text = fmt.Sprintf("== %s\n%s", p.Name, text)
	}
	_, err := io.WriteString(l.g.stdout, text)
	return err
}

// errLines is the error for a log that may be incomplete.
var errLines = errors.New("lines may be missing")

// linesMissing is errLines with the names of the nodes whose lines may be missing.
func linesMissing(silent []api.SilentNode) error {
	var who []string
	for _, s := range silent {
		who = append(who, progress.Clean(s.Name)+", which "+progress.Clean(s.Why))
	}
	const most = 8
	if more := len(who) - most; more > 0 {
		who = append(who[:most], fmt.Sprintf("and of %d more nodes", more))
	}
	return &api.Error{Message: "lines of these nodes may be missing: " + strings.Join(who, "; "),
		Hint: "`dtpnode members` says why they are not reached; what they have kept is printed once they are", Err: errLines}
}
