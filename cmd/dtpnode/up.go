package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/logging"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/internal/version"
	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/pyexec"
	"github.com/dtpnode/dtpnode/rootexec"
)

// noneOfIt is the setting root, or python, of a daemon that is to run no such jobs.
const noneOfIt = "none"

// nodeFlags are the settings of a daemon, shared by the commands that may start one.
type nodeFlags struct {
	listen    []string
	name      string
	slots     int
	root      []string
	python    []string
	envBytes  string
	scratch   string
	memory    string
	logLevel  string
	logFormat string
	keep      string
	keepFor   time.Duration
	commit    time.Duration
	install   bool
	forget    time.Duration
	forgetE   time.Duration
	limits    limitFlags
}

func (f *nodeFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.listen, "listen", []string{"127.0.0.1:0"},
		"`host:port` to listen on; repeatable; port 0 chooses one, host auto the address that faces the other members, and "+
			"goes along when that changes")
	flags.StringVar(&f.name, "name", "", "name shown to others (default the host's name)")
	flags.IntVar(&f.slots, "slots", runtime.NumCPU(), "children to run at once")
	flags.StringArrayVar(&f.root, "root", nil,
		"`folder` where ROOT is installed; repeatable, one of each version: jobs that do not say are led with the first; "+
			"none for no jobs of ROOT (default: $ROOTSYS, root-config, a Python that has ROOT, the cache)")
	flags.StringArrayVar(&f.python, "python", nil,
		"Python `interpreter`, at least 3.10, that runs jobs written in Python; repeatable, one of each minor version; none "+
			"for no such jobs (default: beside this program, $VIRTUAL_ENV, python3); NAME=FILE offers an environment, beside "+
			"these, that jobs ask for by its name")
	flags.StringVar(&f.envBytes, "env-bytes", "",
		"bound of environments that are made here for jobs in Python, and kept in the cache, e.g. 20G (default: a quarter "+
			"of the free disk)")
	flags.StringVar(&f.scratch, "scratch", "", "folder for partial results (default in the state folder)")
	flags.StringVar(&f.keep, "keep-bytes", "",
		"bound of partial results kept here before they are committed, and of whole results that their users have, e.g. "+
			"20G (default: a quarter of the free disk)")
	flags.DurationVar(&f.keepFor, "keep-results", 14*24*time.Hour,
		"keep the result of a finished job for so long if nobody fetches it; one that was fetched is kept for another day")
	flags.DurationVar(&f.commit, "commit-every", 30*time.Second,
		"hand in what a child has done after so long; a crash loses no more than that")
	flags.DurationVar(&f.forget, "forget-after", 8*7*24*time.Hour,
		"as an inviter, drop members that were not seen for so long")
	flags.DurationVar(&f.forgetE, "forget-ephemeral", 5*time.Minute, "and ephemeral members after so long")
	flags.StringVar(&f.memory, "memory", "",
		"memory a child may use, e.g. 2G (default: the host's memory shared by its slots)")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", logging.Auto,
		"`format` of the log: text for people, logfmt (key=value), json, journal (with priorities for systemd); auto takes "+
			"what fits where it goes")
	f.limits.add(flags)
	flags.BoolVar(&f.install, "install-root", false, "install ROOT into the cache if none is found")
}

// given returns the settings that the user gave, as arguments for `up`.
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

// own returns those of a command's flags that are settings of a daemon; they share their values with the command's.
func (f *nodeFlags) own(flags *pflag.FlagSet) *pflag.FlagSet {
	names, out := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	new(nodeFlags).add(names)
	names.VisitAll(func(fl *pflag.Flag) { out.AddFlag(flags.Lookup(fl.Name)) })
	return out
}

// find sets the settings that the user did not give from the other sources, and returns where each came from. Even with
// an error it sets those that can be used.
func (f *nodeFlags) find(g *globals, flags *pflag.FlagSet) (from map[string]string, err error) {
	paths, err := g.paths()
	if err != nil {
		return nil, err
	}
	own := f.own(flags)
	if err := absoluteFolders(own); err != nil {
		return nil, err
	}
	sources, err := settings.Sources(paths.State, own, nearFlags)
	from, bad := settings.Apply(sources, own)
	return from, errors.Join(err, bad)
}

// absoluteFolders makes the folders absolute that the user gave: a daemon that starts from another one is to find them.
func absoluteFolders(own *pflag.FlagSet) error {
	for _, name := range []string{"root", "python", "scratch"} {
		fl := own.Lookup(name)
		if !fl.Changed {
			continue
		}
		values := settings.Values(fl)
		if name == "python" {
			values = interpreters(values)
		}
		values, err := absoluteAll(values)
		if err != nil {
			return err
		}
		if list, ok := fl.Value.(pflag.SliceValue); ok {
			err = list.Replace(values)
		} else {
			err = fl.Value.Set(values[0])
		}
		if err != nil {
			return fmt.Errorf("could not set %s to %s: %w", name, settings.Shown(values), err)
		}
	}
	return nil
}

// interpreters finds interpreters on the path that are named without a folder.
func interpreters(names []string) []string {
	out := slices.Clone(names)
	for i, given := range names {
		name, exe, named := pyexec.NamedInterpreter(given)
		path, err := osexec.LookPath(exe)
		if err == nil && given != noneOfIt {
			path, err = filepath.Abs(path)
		}
		switch {
		case err != nil || given == noneOfIt:
		case named:
			out[i] = name + "=" + path
		default:
			out[i] = path
		}
	}
	return out
}

// absoluteAll makes paths absolute; empty ones stay, for they stand for no folder.
func absoluteAll(paths []string) ([]string, error) {
	out := make([]string, len(paths))
	for i, path := range paths {
		if _, _, named := pyexec.NamedInterpreter(path); path == "" || path == noneOfIt || named {
			out[i] = path
			continue
		}
		var err error
		if out[i], err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("could not make %q absolute: %w", path, err)
		}
	}
	return out, nil
}

// remember saves the settings that the user gave for the next start.
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
	join      bool
	face      string
}

func newUp(g *globals) *cobra.Command {
	var opts upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the daemon of this host",
		Long: `up runs the daemon: it works for the cluster, and takes jobs from the other commands over a socket in its
state folder that only you can open. Without --listen it is reachable from this host alone. What is set here is
remembered in the state folder, so that a plain ` + "`dtpnode up`" + ` is the same node again. Over what is remembered
stand /etc/dtpnode.toml, the user's dtpnode/config.toml, and the environment (DTPNODE_SLOTS and so on); flags win over
all: see ` + "`dtpnode config`" + `. What it does stands on standard error: as words on a terminal, with priorities in
the journal of systemd, as key=value in a file such as the dtpnode.log of a daemon in the background; --log-format
chooses. One host lost: of two hosts, a job waits while the one that leads it (mostly the one it was submitted on) is
away, and goes on without the other; of three or more, any one may be lost. SIGINT or SIGTERM makes it hand back its
work and leave; a second one ends it at once.

Exit status: 0 left, or with --detach started; 1 error; 2 wrong usage.`,
		Example: `  dtpnode up                                   # in the foreground, this host only
  dtpnode up --listen 192.0.2.7:4001 --detach  # in the background, for a cluster`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var from map[string]string
			if !opts.ephemeral { // a daemon that runs for another process gets its settings from that process
				var err error
				if from, err = opts.find(g, cmd.Flags()); err != nil {
					return usageError{err} // a start cannot succeed without a change of the settings
				}
			}
			if err := opts.checked(cmd.Flags(), from); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if opts.detach {
				return runUpDetached(ctx, g, opts, from, opts.given(cmd.Flags()))
			}
			return runUp(ctx, g, opts, from, func() error { return opts.remember(g, cmd.Flags()) })
		},
	}
	opts.add(cmd.Flags())
	cmd.Flags().BoolVar(&opts.detach, "detach", false, "run in the background, logging to dtpnode.log in the state folder")
	cmd.Flags().BoolVar(&opts.ephemeral, "ephemeral", false, "end when standard input is closed")
	cmd.Flags().StringVar(&opts.face, "face", "", "what the host auto in --listen stands for at this start")
	cmd.Flags().BoolVar(&opts.join, "join", false, "with --ephemeral: join by the token that is the first line of input")
	_ = cmd.Flags().MarkHidden("ephemeral")
	_ = cmd.Flags().MarkHidden("join")
	_ = cmd.Flags().MarkHidden("face")
	return cmd
}

func runUpDetached(ctx context.Context, g *globals, opts upOptions, from map[string]string, args []string) error {
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
	if opts.install {
		root := first(opts.root)
		advice := noROOT(paths.State, root, from["root"], false)
		if err := installROOT(ctx, g, tools{root, paths.Cache, advice}); err != nil {
			return err
		}
	}
	d, err := local.StartBackground(ctx, paths, args...)
	if err != nil {
		return err
	}
	st, err := settledStatus(ctx, d.Client)
	if err != nil {
		return err
	}
	return g.show(st, func(w io.Writer) { printNode(w, st) })
}

// meetWait is how long a start waits for a link to another member, to report whether the node is connected.
const meetWait = 2 * time.Second

// settledStatus is the status of a daemon that has just started, once it has a link to another member or has been told
// that it is not a member any more.
func settledStatus(ctx context.Context, client *api.Client) (st api.NodeStatus, err error) {
	late := time.After(meetWait)
	for {
		st, err = client.Status(ctx)
		if err != nil || st.Expelled != nil || st.Members < 2 || st.Up > 1 {
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-late:
			return st, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// finders are the kinds of work that the daemon knows. Those that it is not to run are known as well, since it keeps
// their results for others.
func (f *nodeFlags) finders(cache string, log *slog.Logger) ([]exec.Finder, error) {
	root := &rootexec.Finder{Prefixes: f.root, Cache: cache, Install: f.install, Log: log}
	if slices.Equal(f.root, []string{noneOfIt}) {
		root.Prefixes, root.None = nil, true
	}
	envBytes, err := inputs.Size(f.envBytes)
	if err != nil {
		return nil, err
	}
	python := &pyexec.Finder{Interpreters: f.python, EnvBytes: envBytes, Log: log}
	if slices.Equal(f.python, []string{noneOfIt}) {
		python.Interpreters, python.None = nil, true
	}
	return finders(root, python)
}

// advise sets what the daemon tells users to do on a host that lacks what runs a job.
func (o *upOptions) advise(cfg *node.Config, state string, from map[string]string) {
	root, python := first(o.root), first(o.python)
	cfg.OtherNeeds = map[string]string{pyexec.Kind: otherPython}
	cfg.Lacks = map[string]string{
		rootexec.Kind: noROOT(state, root, from["root"], true),
		pyexec.Kind:   noPython(state, python, from["python"]) + samePythons,
	}
	if o.ephemeral {
		cfg.Lacks[rootexec.Kind] = noROOTForRun(root)
		cfg.Lacks[pyexec.Kind] = noPythonForRun(python)
		cfg.OtherNeeds = map[string]string{rootexec.Kind: otherROOTForRun, pyexec.Kind: otherPythonForRun}
	}
	cfg.NoRuntime = cfg.Lacks[rootexec.Kind] + ". For jobs in Python: " + cfg.Lacks[pyexec.Kind]
}

// runUp runs the daemon in this process. started is called once it listens, unless it runs for another process.
func runUp(ctx context.Context, g *globals, opts upOptions, from map[string]string, started func() error) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	log, err := opts.logger(g.stderr)
	if err != nil {
		return err
	}
	held := &spawned{}
	if opts.ephemeral {
		if held, err = newSpawned(g, &opts); err != nil {
			return err
		}
	}
	cfg, err := opts.config()
	if err != nil {
		return err
	}
	cfg.StateDir, cfg.CacheDir, cfg.Logger = paths.State, paths.Cache, log
	cfg.Face = opts.face
	opts.advise(&cfg, paths.State, from)
	if cfg.Runtimes, err = opts.finders(paths.Cache, log); err != nil {
		return err
	}
	hurry := context.WithoutCancel(ctx)
	if opts.ephemeral {
		var end func()
		ctx, hurry, end = held.hold(ctx, paths)
		defer end()
	} else { // an ephemeral state folder keeps no jobs, and the process that started it has swept already
		local.SweepTemporary(paths)
		local.SweepKept(paths)
	}
	cfg.Opened = func() {
		if opts.ephemeral {
			held.opened(ctx)
			return
		}
		if err := started(); err != nil {
			log.Warn("the next start will not know these settings", "reason", err)
		}
	}
	err = runNode(ctx, hurry, cfg)
	return errors.Join(err, held.failed(ctx))
}

// logger returns the daemon's log, which goes to standard error.
func (f *nodeFlags) logger(stderr *os.File) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("could not use --log-level %q: want debug, info, warn or error", f.logLevel)
	}
	handler, err := logging.New(stderr, f.logFormat, level)
	if err != nil {
		return nil, usagef("could not use --log-format %q: want one of %s", f.logFormat,
			strings.Join(logging.Formats(), ", "))
	}
	return slog.New(handler), nil
}

// config checks the settings and makes the daemon's configuration.
func (f *nodeFlags) config() (cfg node.Config, err error) {
	cfg = node.Config{
		ScratchDir:      f.scratch,
		Listen:          f.listen,
		Name:            nameOr(f.name),
		Slots:           f.slots,
		KeepFor:         f.keepFor,
		CommitEvery:     f.commit,
		ForgetAfter:     f.forget,
		ForgetEphemeral: f.forgetE,
		Limits:          exec.Limits{Open: f.limits.open, EntryCPU: f.limits.cpu, Processes: f.limits.processes},
		Version:         version.String(),
	}
	if cfg.Memory, err = inputs.Memory(f.memory); err != nil {
		return cfg, usageError{err}
	}
	if cfg.KeepBytes, err = inputs.Size(f.keep); err != nil {
		return cfg, usageError{err}
	}
	cfg.Limits.FileSize, cfg.Limits.Scratch, err = f.limits.sizes()
	return cfg, err
}

// nameOr is name or, if that is empty, the host's name without its domain.
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
