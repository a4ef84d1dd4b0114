package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/internal/inputs"
	"github.com/dtpnode/dtpnode/internal/local"
	"github.com/dtpnode/dtpnode/internal/settings"
	"github.com/dtpnode/dtpnode/internal/version"
	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

// nodeFlags are the settings of a daemon, shared by the commands that may start one.
type nodeFlags struct {
	listen   []string
	name     string
	slots    int
	root     string
	scratch  string
	memory   string
	logLevel string
	keep     string
	keepFor  time.Duration
	commit   time.Duration
	install  bool
	forget   time.Duration
	forgetE  time.Duration
	limits   limitFlags
}

func (f *nodeFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.listen, "listen", []string{"127.0.0.1:0"}, "`host:port` to listen on; repeatable; port 0 chooses one")
	flags.StringVar(&f.name, "name", "", "name shown to others (default the host's name)")
	flags.IntVar(&f.slots, "slots", runtime.NumCPU(), "children to run at once")
	flags.StringVar(&f.root, "root", "", "ROOT's installation folder (default: $ROOTSYS, root-config, a Python that has ROOT, the cache)")
	flags.StringVar(&f.scratch, "scratch", "", "folder for partial results (default in the state folder)")
	flags.StringVar(&f.keep, "keep-bytes", "", "bound of partial results kept here before they are committed, e.g. 20G (default: a quarter of the free disk)")
	flags.DurationVar(&f.keepFor, "keep-results", 14*24*time.Hour, "keep the result of a finished job for so long if nobody fetches it; one that was fetched is kept for another day")
	flags.DurationVar(&f.commit, "commit-every", 30*time.Second, "hand in what a child has done after so long; a crash loses no more than that")
	flags.DurationVar(&f.forget, "forget-after", 8*7*24*time.Hour, "as an inviter, drop members that were not seen for so long")
	flags.DurationVar(&f.forgetE, "forget-ephemeral", 5*time.Minute, "and ephemeral members after so long")
	flags.StringVar(&f.memory, "memory", "", "memory a child may use, e.g. 2G (default: the host's memory shared by its slots)")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	f.limits.add(flags)
	flags.BoolVar(&f.install, "install-root", false, "install ROOT into the cache if none is found")
}

// given are the settings that the user gave, as arguments for `up`.
func (f *nodeFlags) given(flags *pflag.FlagSet) []string {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(nodeFlags).add(own)
	var args []string
	flags.Visit(func(fl *pflag.Flag) {
		if own.Lookup(fl.Name) == nil {
			return
		}
		for _, v := range settings.Values(fl) {
			args = append(args, "--"+fl.Name+"="+v)
		}
	})
	return args
}

// own are those of a command's flags that are settings of a daemon; they share their values with the command's.
func (f *nodeFlags) own(flags *pflag.FlagSet) *pflag.FlagSet {
	names, out := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	new(nodeFlags).add(names)
	names.VisitAll(func(fl *pflag.Flag) { out.AddFlag(flags.Lookup(fl.Name)) })
	return out
}

// find takes the settings that the user did not give from where they were left, and returns where each came from.
func (f *nodeFlags) find(g *globals, flags *pflag.FlagSet) (from map[string]string, err error) {
	paths, err := g.paths()
	if err != nil {
		return nil, err
	}
	own := f.own(flags)
	sources, err := settings.Sources(paths.State, own)
	if err != nil {
		return nil, err
	}
	return settings.Apply(sources, own)
}

// remember keeps the settings that the user gave for the next start.
func (f *nodeFlags) remember(g *globals, flags *pflag.FlagSet) error {
	given := map[string][]string{}
	own := f.own(flags)
	own.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed {
			given[fl.Name] = settings.Values(fl)
		}
	})
	if len(given) == 0 {
		return nil
	}
	paths, err := g.paths()
	if err != nil {
		return err
	}
	return settings.Remember(paths.State, given, own)
}

type upOptions struct {
	nodeFlags
	detach    bool
	ephemeral bool
}

func newUp(g *globals) *cobra.Command {
	var opts upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the daemon of this host",
		Long: `up runs the daemon: it works for the cluster, and takes jobs from the other commands over a socket
in its state folder that only you can open. Without --listen it is reachable from this host alone.
What is set here is remembered in the state folder, so that a plain ` + "`dtpnode up`" + ` is the same node again. Over what is
remembered stand /etc/dtpnode.toml, the user's dtpnode/config.toml, and the environment (DTPNODE_SLOTS and so on); flags
win over all: see ` + "`dtpnode config`" + `.
SIGINT or SIGTERM makes it hand back its work and leave; a second one ends it at once.

Exit status: 0 left, or with --detach started; 1 error; 2 wrong usage.`,
		Example: `  dtpnode up                                   # in the foreground, this host only
  dtpnode up --listen 192.0.2.7:4001 --detach  # in the background, for a cluster`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !opts.ephemeral { // a daemon for the time of another process has its settings from that
				if _, err := opts.find(g, cmd.Flags()); err != nil {
					return err
				}
			}
			if opts.slots < 1 {
				return usagef("could not use --slots %d: want at least 1", opts.slots)
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if opts.detach {
				return runUpDetached(ctx, g, opts.given(cmd.Flags()))
			}
			return runUp(ctx, g, opts, func() error { return opts.remember(g, cmd.Flags()) })
		},
	}
	opts.add(cmd.Flags())
	cmd.Flags().BoolVar(&opts.detach, "detach", false, "run in the background, logging to dtpnode.log in the state folder")
	cmd.Flags().BoolVar(&opts.ephemeral, "ephemeral", false, "end when standard input is closed")
	_ = cmd.Flags().MarkHidden("ephemeral")
	return cmd
}

func runUpDetached(ctx context.Context, g *globals, args []string) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	if client, err := running(ctx, paths); err != nil || client != nil {
		return errors.Join(err, &api.Error{
			Message: fmt.Sprintf("could not start a daemon: one is running already in %s", paths.State),
			Hint:    "see `dtpnode status`; stop it with `dtpnode down`",
		})
	}
	d, err := local.StartBackground(ctx, paths, args...)
	if err != nil {
		return err
	}
	st, err := d.Client.Status(ctx)
	if err != nil {
		return err
	}
	return g.show(st, func(w io.Writer) { printNode(w, st) })
}

// runUp runs the daemon here; started is called once it listens, unless it is for the time of another process.
func runUp(ctx context.Context, g *globals, opts upOptions, started func() error) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	memory, err := inputs.Memory(opts.memory)
	if err != nil {
		return usageError{err}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(opts.logLevel)); err != nil {
		return usagef("could not use --log-level %q: want debug, info, warn or error", opts.logLevel)
	}
	keep, err := inputs.Size(opts.keep)
	if err != nil {
		return usageError{err}
	}
	if opts.keepFor <= 0 {
		return usagef("could not use --keep-results %s: want a time above zero", opts.keepFor)
	}
	if opts.forget <= 0 || opts.forgetE <= 0 {
		return usagef("could not forget members after %s and %s: want times above zero", opts.forget, opts.forgetE)
	}
	if opts.commit <= 0 {
		return usagef("could not use --commit-every %s: want a time above zero", opts.commit)
	}
	limits := rootexec.Limits{Open: opts.limits.open, EntryCPU: opts.limits.cpu, Processes: opts.limits.processes}
	if limits.FileSize, limits.Scratch, err = opts.limits.sizes(); err != nil {
		return err
	}
	exec, err := backend()
	if err != nil {
		return err
	}
	if opts.ephemeral {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() { // ends with the input, at the latest with the process
			_, _ = io.Copy(io.Discard, g.stdin)
			cancel()
		}()
	}
	local.SweepTemporary()
	log := slog.New(slog.NewTextHandler(g.stderr, &slog.HandlerOptions{Level: level}))
	opened := func() {
		if opts.ephemeral {
			return
		}
		if err := started(); err != nil {
			log.Warn("the next start will not know these settings", "reason", err)
		}
	}
	return runNode(ctx, node.Config{
		StateDir: paths.State, CacheDir: paths.Cache, ScratchDir: opts.scratch,
		Listen: opts.listen, Name: nameOr(opts.name), Slots: opts.slots,
		ROOTPrefix: opts.root, InstallROOT: opts.install, Memory: memory, Limits: limits, Backend: exec,
		KeepBytes: keep, KeepFor: opts.keepFor, CommitEvery: opts.commit,
		ForgetAfter: opts.forget, ForgetEphemeral: opts.forgetE,
		Version: version.String(),
		Logger:  log, Opened: opened,
	})
}

// nameOr is name, else the host's without its domain.
func nameOr(name string) string {
	if name != "" {
		return name
	}
	host, err := os.Hostname()
	if err != nil {
		return "node"
	}
	host, _, _ = strings.Cut(host, ".")
	return host
}
