package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// flagError describes a wrong flag in the user's terms, since the library's errors are those of its parsers.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		return usagef("%s has no flag %s%s", cmd.CommandPath(), dashed(name), didYouMean(near(cmd.Flags(), name, "--")))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usagef("could not use --%s %s: want %s", f.Name, invalid.GetValue(), settings.Wanted(f.Value.Type(), err))
	}
	return usageError{err}
}

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// near returns the flags that a misspelt one may stand for, each with a prefix.
func near(flags *pflag.FlagSet, name, prefix string) (out []string) {
	for _, n := range nearFlags(flags, name) {
		out = append(out, prefix+n)
	}
	return out
}

// nearFlags returns the flags that a misspelt one may stand for, by the measure that cobra uses for commands.
func nearFlags(flags *pflag.FlagSet, name string) []string {
	names := &cobra.Command{}
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	if len(name) < 2 {
		return nil
	}
	return suggested(names, name)
}

// didYouMean is the end of a sentence about an unknown word; empty if no known word is near it.
func didYouMean(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// knownCommand refuses an unknown command, and suggests the nearest names.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("unknown command %q%s", args[0], didYouMean(suggested(cmd, args[0])))
}

// suggested returns the commands that a misspelt one may stand for: two letters may be wrong, or one if it is the
// first.
func suggested(cmd *cobra.Command, name string) []string {
	cmd.SuggestionsMinimumDistance = 1
	near := cmd.SuggestionsFor(name)
	cmd.SuggestionsMinimumDistance = 2
	return slices.DeleteFunc(cmd.SuggestionsFor(name), func(s string) bool {
		return s[:1] != name[:min(len(name), 1)] && !slices.Contains(near, s)
	})
}

// newHelp is the help command. It replaces cobra's, which shows the general help for an unknown command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Long:    "help shows the help of a command, or of all.\n\nExit status: 0 shown, 2 wrong usage.",
		Example: "  dtpnode help run",

		ValidArgsFunction: completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.Root()
			if len(args) > 0 {
				found, rest, err := at.Find(args)
				if err != nil || found == at {
					return knownCommand(at, args)
				}
				if len(rest) > 0 && found.HasSubCommands() {
					return knownCommand(found, rest)
				}
				if len(rest) > 0 {
					return usagef("%s has no command %q: want one command", found.CommandPath(), rest[0])
				}
				at = found
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}

// exactly accepts exactly the named arguments; the names are for the message.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s: got %s, want %d: %s", cmd.CommandPath(), progress.Plural(len(args), "argument"), len(names),
				strings.TrimSpace(cmd.Name()+" "+strings.Join(names, " ")))
		}
		return nil
	}
}

// atLeast accepts the named arguments, of the last of which there may be several; the names are for the message.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s: got %s, want %d or more: %s", cmd.CommandPath(), progress.Plural(len(args), "argument"),
				len(names), cmd.Name()+" "+strings.Join(names, " "))
		}
		return nil
	}
}

// atMost accepts the named arguments or fewer; the names are for the message.
func atMost(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usagef("%s: got %s, want at most %d: %s [%s]", cmd.CommandPath(), progress.Plural(len(args), "argument"),
				len(names), cmd.Name(), strings.Join(names, "] ["))
		}
		return nil
	}
}

// selectorAndFiles separates the selector from input files among the arguments of run. There are input files among them
// if the shell expanded an unquoted glob: --files takes the first name, and the others become arguments.
func selectorAndFiles(args, files []string) (selector string, all []string, err error) {
	at := -1
	for i, arg := range args {
		if inputs.IsSource(arg) || inputs.IsLibrary(arg) || len(args) > 1 && i == 0 && inputs.IsClass(arg) {
			if at >= 0 {
				return "", nil, usagef("could not run both %q and %q: one selector a run", args[at], arg)
			}
			at = i
		}
	}
	switch {
	case len(args) == 0:
		return "", nil, usagef("dtpnode run: no selector given: run SELECTOR --files FILES")
	case at < 0 && len(args) > 1:
		return "", nil, usagef("could not find the selector among %d arguments: its source ends in .C, .cxx, .cc or .cpp, "+
			"a library in .so; is %q one?", len(args), filepath.Base(args[0]))
	case at < 0:
		at = 0
	}
	for i, arg := range args {
		if i != at && isFormats(arg) {
			return "", nil, usagef("could not use %q: the formats of --save-canvases stand behind an equals sign, "+
				"--save-canvases=%s", arg, arg)
		}
	}
	if len(args) > 1 && len(files) == 0 {
		return "", nil, usagef("could not use %q: name input files with --files", args[1-min(at, 1)])
	}
	return args[at], append(append(append([]string{}, files...), args[:at]...), args[at+1:]...), nil
}
