package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/internal/settings"
)

// setting is one setting of this host's daemon, as `config show` prints it.
type setting struct {
	Name   string   `json:"name"`
	Values []string `json:"values"` // one, but for settings that may be repeated
	From   string   `json:"from"`   // a file, "the environment" or "default"
}

func newConfig(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show or change what this host's daemon is started with",
		Long: `config shows and changes the settings with which ` + "`dtpnode up`" + ` starts this host's daemon. They are the flags of up. What
is not given there comes from the environment (DTPNODE_KEEP_BYTES for --keep-bytes), else from dtpnode/config.toml in
$XDG_CONFIG_HOME (~/.config), else from /etc/dtpnode.toml, else from what up was last given, which is remembered in the
state folder. A file has a line for each, NAME = VALUE, in TOML:

  listen = ["192.0.2.7:4001"]
  slots = 16

Exit status: 0 done, 1 error, 2 wrong usage.`,
		Example: "  dtpnode config show\n  dtpnode config set slots 16\n  dtpnode config unset slots",
		Args:    knownCommand,
		RunE:    func(*cobra.Command, []string) error { return usagef("dtpnode config: want show, set or unset") },
	}
	cmd.AddCommand(newConfigShow(g), newConfigSet(g), newConfigUnset(g))
	return cmd
}

// daemonSettings are all settings, with their defaults.
func daemonSettings() (*nodeFlags, *pflag.FlagSet) {
	f, flags := &nodeFlags{}, pflag.NewFlagSet("", pflag.ContinueOnError)
	f.add(flags)
	return f, flags
}

func newConfigShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show the settings, and where each comes from",
		Long:    "show lists the settings that the next `dtpnode up` takes, and where each comes from.\n\nExit status: 0 shown, 1 error, 2 wrong usage.",
		Example: "  dtpnode config show --output json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			f, flags := daemonSettings()
			from, err := f.find(g, flags)
			if err != nil {
				return err
			}
			var all []setting
			flags.VisitAll(func(fl *pflag.Flag) {
				s := setting{Name: fl.Name, Values: settings.Values(fl), From: "default"}
				if where := from[fl.Name]; where != "" {
					s.From = where
				}
				all = append(all, s)
			})
			return g.show(all, func(w io.Writer) { printSettings(w, all) })
		},
	}
}

func printSettings(w io.Writer, all []setting) {
	tw := progress.Table(w)
	fmt.Fprintln(tw, "NAME\tVALUE\tFROM\t")
	for _, s := range all {
		fmt.Fprintf(tw, "%s\t%s\t%s\t\n", s.Name, progress.Clean(strings.Join(s.Values, " ")), progress.Clean(s.From))
	}
	tw.Flush()
}

func newConfigSet(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME VALUE...",
		Short: "Remember a setting for the next start",
		Long: `set remembers a setting in the state folder. A daemon that runs takes it when it is started again.

Exit status: 0 remembered, 1 error, 2 wrong usage.`,
		Example: "  dtpnode config set slots 16\n  dtpnode config set listen 192.0.2.7:4001 '[2001:db8::7]:4001'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s: got %d arguments, want a name and a value", cmd.CommandPath(), len(args))
			}
			return changeSetting(cmd.Context(), g, args[0], args[1:])
		},
	}
}

func newConfigUnset(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "unset NAME",
		Short:   "Forget a setting",
		Long:    "unset forgets a setting that is remembered in the state folder.\n\nExit status: 0 forgotten, 1 error, 2 wrong usage.",
		Example: "  dtpnode config unset slots",
		Args:    exactly("NAME"),
		RunE:    func(cmd *cobra.Command, args []string) error { return changeSetting(cmd.Context(), g, args[0], nil) },
	}
}

// changeSetting remembers values, or forgets them if there are none.
func changeSetting(ctx context.Context, g *globals, name string, values []string) error {
	_, flags := daemonSettings()
	f := flags.Lookup(name)
	if f == nil {
		return usagef("there is no setting %q%s", name, didYouMean(near(flags, name, "")))
	}
	if _, list := f.Value.(pflag.SliceValue); !list && len(values) > 1 {
		return usagef("could not set %s: got %d values, want one", name, len(values))
	}
	for _, v := range values {
		if err := flags.Set(name, v); err != nil {
			return usagef("could not set %s to %s: want %s", name, v, wanted(f.Value.Type()))
		}
	}
	paths, err := g.paths()
	if err != nil {
		return err
	}
	if err := settings.Remember(paths.State, map[string][]string{name: values}, flags); err != nil {
		return err
	}
	client, err := running(ctx, paths)
	if err == nil && client != nil {
		fmt.Fprintln(g.stderr, "the daemon that runs takes it when it is started again: dtpnode down && dtpnode up --detach")
	}
	return g.show(setting{Name: name, Values: append([]string{}, values...), From: settings.File(paths.State)}, func(io.Writer) {})
}
