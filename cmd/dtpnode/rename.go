package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/node/api"
)

func newRename(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "rename NAME",
		Short: "Change what this host is called",
		Long: `rename changes the name under which this host's node is shown to all members, at once where a daemon runs, and
remembers it for the next start. It renames no other host: what a node is called is its own word, so run it there.

Exit status: 0 renamed, 1 error, 2 wrong usage.`,
		Example: "  dtpnode rename worker-3",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runRename(ctx, g, args[0])
		},
	}
}

// renamed is what `rename --output json` prints.
type renamed struct {
	Name    string `json:"name"`
	Running bool   `json:"running"` // a running daemon took the name; otherwise the next start does
}

func runRename(ctx context.Context, g *globals, name string) error {
	if err := node.CheckName(name); err != nil {
		return usageError{err}
	}
	paths, err := g.paths()
	if err != nil {
		return err
	}
	client, err := running(ctx, paths)
	if err != nil {
		return err
	}
	if client != nil {
		if err := client.Rename(ctx, api.RenameRequest{Name: name}); err != nil {
			return err
		}
	}
	_, flags := daemonSettings()
	if err := settings.Remember(paths.State, map[string][]string{"name": {name}}, flags); err != nil {
		return err
	}
	warnOverruled(g.stderr, paths.State, flags, name)
	return g.show(renamed{Name: name, Running: client != nil}, func(w io.Writer) {
		if client == nil {
			fmt.Fprintf(w, "this host is called %s from its next start on\n", progress.Clean(name))
			return
		}
		fmt.Fprintf(w, "this host is called %s now\n", progress.Clean(name))
	})
}

// warnOverruled warns that a name from another source takes precedence over the one that was remembered.
func warnOverruled(w *os.File, state string, flags *pflag.FlagSet, name string) {
	sources, err := settings.Sources(state, flags, nearFlags)
	if err != nil {
		return // the next start says so
	}
	from, err := settings.Apply(sources, flags)
	if now := flags.Lookup("name").Value.String(); err == nil && now != name {
		fmt.Fprintf(w, "dtpnode: warning: the next start takes the name %s, from %s\n", progress.Clean(now), from["name"])
	}
}
