package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
)

// setting is one setting of this host's daemon, as `config show` prints it.
type setting struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`          // one, except for settings that may be repeated
	From   string   `json:"from"`            // a file, "the environment" or "default"
	Wrong  string   `json:"wrong,omitempty"` // why a daemon would refuse it

	stands string // its default in words, for people
}

func newConfig(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show or change what this host's daemon is started with",
		Long: `config shows and changes the settings with which ` + "`dtpnode up`" + ` starts this host's daemon. They are
the flags of up. What is not given there comes from the environment (DTPNODE_KEEP_BYTES for --keep-bytes), else from
dtpnode/config.toml in $XDG_CONFIG_HOME (~/.config), else from /etc/dtpnode.toml, else from what up was last given,
which is remembered in the state folder. A file has a line for each, NAME = VALUE, in TOML:

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

// daemonSettings returns all settings, with their defaults.
func daemonSettings() (*nodeFlags, *pflag.FlagSet) {
	f, flags := &nodeFlags{}, pflag.NewFlagSet("", pflag.ContinueOnError)
	f.add(flags)
	return f, flags
}

func newConfigShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the settings, and where each comes from",
		Long: "show lists the settings that the next `dtpnode up` takes, where each comes from, and which of them it " +
			"would refuse.\n\nExit status: 0 shown, 1 some cannot be used, or another error, 2 wrong usage.",
		Example: "  dtpnode config show --output json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			all, misspelt, err := effective(g)
			if len(all) == 0 {
				return err
			}
			return errors.Join(g.show(all, func(w io.Writer) {
				printSettings(w, all)
				for _, text := range misspelt {
					fmt.Fprintln(w, "note: "+progress.Clean(text))
				}
			}), err)
		},
	}
}

// effective returns all settings as the next start of a daemon would use them, and environment variables that look like
// misspelt settings. The error says which settings cannot be used; they are among all too.
func effective(g *globals) (all []setting, misspelt []string, err error) {
	f, flags := daemonSettings()
	if _, err := g.paths(); err != nil {
		return nil, nil, err
	}
	from, err := f.find(g, flags)
	wrong := map[string]*settings.Invalid{}
	for _, bad := range unjoined(err) {
		var w *settings.Invalid
		if errors.As(bad, &w) {
			wrong[w.Setting] = w
		}
	}
	for _, w := range f.wrong(flags, from) {
		if wrong[w.Setting] == nil {
			wrong[w.Setting], err = w, errors.Join(err, w)
		}
	}
	flags.VisitAll(func(fl *pflag.Flag) {
		s := setting{Name: fl.Name, Values: settings.Values(fl), From: cmp.Or(from[fl.Name], "default"), stands: f.stands(fl)}
		if w := wrong[fl.Name]; w != nil {
			s.Values, s.Wrong, s.stands = w.Values, w.Why, ""
		}
		all = append(all, s)
	})
	for variable, near := range settings.Misspelt(flags, nearFlags) {
		misspelt = append(misspelt, fmt.Sprintf("%s is no setting%s", variable, didYouMean(near)))
	}
	slices.Sort(misspelt)
	return all, misspelt, err
}

// unjoined splits an error made by errors.Join.
func unjoined(err error) (all []error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the outermost alone
		for _, e := range many.Unwrap() {
			all = append(all, unjoined(e)...)
		}
		return all
	}
	return []error{err}
}

// stands is the default of a setting in words if it has no value; the words are from its usage.
func (f *nodeFlags) stands(fl *pflag.Flag) string {
	value := strings.Join(settings.Values(fl), " ")
	switch {
	case fl.Name == "name" && value == "":
		return nameOr("")
	case value == "" || fl.Value.Type() != "bool" && (value == "0" || value == "0s"):
		_, words, _ := strings.Cut(fl.Usage, "(default")
		return strings.TrimSuffix(strings.TrimLeft(words, ": "), ")")
	case fl.Value.Type() == "duration" && strings.HasSuffix(value, "h0m0s"):
		return strings.TrimSuffix(value, "0m0s")
	case fl.Value.Type() == "duration" && strings.HasSuffix(value, "m0s"):
		return strings.TrimSuffix(value, "0s")
	}
	return value
}

func printSettings(w io.Writer, all []setting) {
	tw := progress.Table(w)
	fmt.Fprintln(tw, "NAME\tVALUE\tFROM\t")
	for _, s := range all {
		value := cmp.Or(s.stands, strings.Join(s.Values, " "))
		if s.Wrong != "" {
			value += "  WRONG: " + s.Wrong
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t\n", s.Name, progress.Clean(value), progress.Clean(s.From))
	}
	tw.Flush()
}

func newConfigSet(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME VALUE...",
		Short: "Remember a setting for the next start",
		Long: `set remembers a setting in the state folder. A daemon that runs takes it when it is started again.

Exit status: 0 remembered, 1 error, 2 wrong usage.`,
		Example: "  dtpnode config set slots 16\n  dtpnode config set listen 192.0.2.7:4001 '[2001:db8::7]:4001'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s: got %s, want a name and a value", cmd.CommandPath(), progress.Plural(len(args), "argument"))
			}
			return changeSetting(cmd.Context(), g, args[0], args[1:])
		},
	}
	cmd.SetFlagErrorFunc(negative)
	return cmd
}

// negative is the error for a value that was taken for a flag, since it begins with a dash.
func negative(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || strings.Trim(unknown.GetSpecifiedShortnames(), "0123456789.hmsu") != "" {
		return flagError(cmd, err)
	}
	value := "-" + unknown.GetSpecifiedShortnames()
	all, flags := daemonSettings()
	for i, arg := range os.Args[1:] {
		f := flags.Lookup(os.Args[i])
		if arg != value || f == nil {
			continue
		}
		err := flags.Set(f.Name, value)
		if err != nil {
			err = errors.New("want " + settings.Wanted(f.Value.Type(), err))
		}
		if err = cmp.Or(err, all.check(f.Name)); err != nil {
			return usagef("could not set %s to %s: %w", f.Name, value, err)
		}
	}
	return flagError(cmd, err)
}

func newConfigUnset(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "unset NAME",
		Short: "Forget a setting",
		Long: "unset forgets a setting that is remembered in the state folder.\n\nExit status: 0 forgotten, 1 error, 2 " +
			"wrong usage.",
		Example: "  dtpnode config unset slots",
		Args:    exactly("NAME"),
		RunE:    func(cmd *cobra.Command, args []string) error { return changeSetting(cmd.Context(), g, args[0], nil) },
	}
}

// changeSetting remembers values, or forgets them if there are none.
func changeSetting(ctx context.Context, g *globals, name string, values []string) error {
	all, flags := daemonSettings()
	f := flags.Lookup(name)
	if f == nil {
		return usagef("there is no setting %q%s", name, didYouMean(near(flags, name, "")))
	}
	if _, list := f.Value.(pflag.SliceValue); !list && len(values) > 1 {
		return usagef("could not set %s: got %d values, want one", name, len(values))
	}
	for _, v := range values {
		if err := flags.Set(name, v); err != nil {
			return usagef("could not set %s to %s: want %s", name, settings.Shown(values), settings.Wanted(f.Value.Type(), err))
		}
	}
	err := all.check(name)
	if why := zero(f); why != "" {
		err = errors.New(why)
	}
	if err != nil && values != nil {
		return usagef("could not set %s to %s: %w", name, settings.Shown(values), err)
	}
	if name == "name" && values != nil && all.name == "" {
		return usagef("could not set name to \"\": it is empty; `dtpnode config unset name` takes the host's again")
	}
	if values != nil {
		if err := absoluteFolders(flags); err != nil {
			return err
		}
		values = settings.Values(f)
	}
	paths, err := g.paths()
	if err != nil {
		return err
	}
	if err := settings.Remember(paths.State, map[string][]string{name: values}, flags); err != nil {
		return err
	}
	client, err := running(ctx, paths)
	if other := stronger(paths.State, name); other != "" {
		fmt.Fprintf(g.stderr, "dtpnode: warning: this is of no effect as long as %s has another %s, which wins: see "+
			"dtpnode config\n", other, name)
	} else if err == nil && client != nil {
		fmt.Fprintln(g.stderr, "the daemon that runs takes it when it is started again: dtpnode down && dtpnode up --detach")
	}
	return g.show(setting{
		Name:   name,
		Values: append([]string{}, values...),
		From:   settings.File(paths.State),
	}, func(io.Writer) {})
}

// stronger is the strongest source of a setting that takes precedence over what is remembered; empty if there is none.
func stronger(state, name string) string {
	_, flags := daemonSettings()
	sources, _ := settings.Sources(state, flags, nearFlags) // the next start reports problems with them
	for _, s := range slices.Backward(sources) {
		if _, ok := s.Values[name]; ok && s.Name != settings.File(state) {
			return s.Name
		}
	}
	return ""
}
