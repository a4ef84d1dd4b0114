package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/node/api"
)

// globals are the flags and streams that all commands share.
type globals struct {
	stdin  *os.File
	stdout *stdout
	stderr *os.File

	state  string
	cache  string
	output string
}

// newGlobals returns the globals with the streams of this process.
func newGlobals() *globals {
	return &globals{stdin: os.Stdin, stdout: &stdout{file: os.Stdout}, stderr: os.Stderr}
}

func newRoot(g *globals) *cobra.Command {
	var showVersion bool
	cmd := &cobra.Command{
		Use:   "dtpnode",
		Short: "Run compiled ROOT selectors on many hosts, without a scheduler in the middle",
		Long: `dtpnode runs a compiled ROOT TSelector over many files on many hosts. Every host runs the
same binary; idle hosts steal work from busy ones; the outputs are merged into one ROOT file.

Begin with ` + "`dtpnode demo`" + `, or with ` + "`dtpnode doctor`" + ` to see what this host lacks.

Exit status: 0 done, 1 error, 2 wrong usage, 3 partial result, 4 not cancelled yet, 130 interrupted.`,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		Args:                       knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return printVersion(g)
			}
			return cmd.Help()
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if g.output != "text" && g.output != "json" {
				return usagef("could not use --output %q: it is the format, text or json; the result file is -o FILE", g.output)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&showVersion, "version", "v", false, "print the version of this binary")
	flags := cmd.PersistentFlags()
	flags.StringVar(&g.state, "state", "",
		"state folder of the daemon (default $DTPNODE_STATE, else $XDG_STATE_HOME/dtpnode)")
	flags.StringVar(&g.cache, "cache", "", "cache folder (default $DTPNODE_CACHE, else $XDG_CACHE_HOME/dtpnode)")
	flags.StringVar(&g.output, "output", "text", "format of what is printed: text or json (see docs/json.md)")
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetHelpCommand(newHelp())
	cmd.SetOut(g.stdout)
	cmd.SetErr(g.stderr)
	cmd.AddCommand(
		newUp(g), newInvite(g), newJoin(g), newMembers(g), newRevoke(g), newForget(g), newRename(g), newHandover(g),
		newRecoveryKey(g), newTakeBack(g), newDown(g),
		newRun(g), newPs(g), newStatus(g), newDraw(g), newLogs(g), newUnits(g), newWatch(g), newAppend(g), newClose(g),
		newCancel(g), newAttach(g), newGet(g),
		newFinish(g), newRetry(g), newPackage(g), newDataset(g),
		newRecover(g),
		newSession(g), newConfig(g), newDoctor(g), newDemo(g), newBench(g), newMan(g), newSchema(g), newVersion(g))
	addCompletions(g, cmd)
	return cmd
}

// json reports whether the user asked for JSON.
func (g *globals) json() bool { return g.output == "json" }

// paths are the daemon's folders.
func (g *globals) paths() (local.Paths, error) { return local.Resolve(g.state, g.cache) }

// client returns a client for the daemon; whether one runs is seen at its first call.
func (g *globals) client() (*api.Client, error) {
	paths, err := g.paths()
	if err != nil {
		return nil, err
	}
	return paths.Client(), nil
}

// show prints v as JSON, or as text for people.
func (g *globals) show(v any, text func(io.Writer)) error {
	if !g.json() {
		text(g.stdout)
		return nil
	}
	enc := json.NewEncoder(g.stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(api.Listed(v)); err != nil {
		return fmt.Errorf("could not print the answer: %w", err)
	}
	return nil
}

// interruptible returns a ctx that SIGINT or SIGTERM ends. A second signal kills the process.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// untilFollowed handles interrupts for a command that submits a job and then follows it. At first they end the context
// early; after the call of follow they arrive on the channel that it returns, and none is lost in between.
func untilFollowed(ctx context.Context) (early context.Context, follow func() <-chan os.Signal, stop func()) {
	interrupts := make(chan os.Signal, 3)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	signal.Notify(interrupts, signals...)
	early, release := signal.NotifyContext(ctx, signals...)
	follow = func() <-chan os.Signal {
		release()
		return interrupts
	}
	return early, follow, func() {
		release()
		signal.Stop(interrupts)
	}
}

// running connects to the daemon if one runs; nil, nil if none does.
func running(ctx context.Context, paths local.Paths) (*api.Client, error) {
	client, err := local.Connect(ctx, paths)
	if errors.Is(err, api.ErrNoDaemon) {
		return nil, nil
	}
	return client, err
}
