// Command dtpnode runs ROOT analyses on many hosts. See `dtpnode help`.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

// Exit statuses, also documented in the help of the commands.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitPartial     = 3
	exitAsked       = 4
	exitInterrupted = 130
)

func main() {
	g := newGlobals()
	cmd := newRoot(g)
	mendBashCompletion(g, cmd)
	at, err := cmd.ExecuteContextC(context.Background())
	lost := g.stdout.lost()
	if lost != nil && (err == nil || errors.Is(err, g.stdout.err)) {
		err, lost = cmp.Or(err, lost), nil
	}
	code := exitCode(err)
	if lost != nil { // there may be another error too, which determines the status
		report(g.stderr, g.json() || wantsJSON(os.Args[1:]), lost, code, "")
	}
	if err != nil {
		report(g.stderr, g.json() || wantsJSON(os.Args[1:]), err, code, reading(at, err))
	}
	os.Exit(code)
}

// wantsJSON looks for --output json in the arguments itself, since the flags are not parsed after a mistake that
// precedes it.
func wantsJSON(args []string) bool {
	for i, a := range args {
		if a == "--output=json" || a == "--output" && i+1 < len(args) && args[i+1] == "json" {
			return true
		}
	}
	return false
}

// exitCode maps an error to the exit status. No other place does this.
func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, submit.ErrPartial), errors.Is(err, errLines), errors.Is(err, errUnits),
		errors.Is(err, errUnchecked), errors.Is(err, errChanged):
		return exitPartial
	case errors.Is(err, submit.ErrCancelled), errors.Is(err, submit.ErrInterrupted), errors.Is(err, submit.ErrDetached),
		errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, submit.ErrAsked):
		return exitAsked
	}
	return exitError
}

// failure is an error as --output json prints it, on standard error.
type failure struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Exit  int    `json:"exit"`
}

// report tells the user what went wrong and what to do next: the error's own advice, else what to read.
func report(w io.Writer, asJSON bool, err error, code int, read string) {
	f := failure{Error: err.Error(), Hint: cmp.Or(hint(err), read), Exit: code}
	if code == exitInterrupted && errors.Is(err, context.Canceled) {
		f.Error = "interrupted"
	}
	if asJSON {
		_ = json.NewEncoder(w).Encode(f)
		return
	}
	fmt.Fprintf(w, "dtpnode: %s\n", progress.Clean(f.Error))
	if f.Hint != "" {
		fmt.Fprintf(w, "  %s\n", progress.Clean(f.Hint))
	}
}

// hint is the advice that comes with an error.
func hint(err error) string {
	var advised *api.Error
	switch {
	case errors.As(err, &advised) && advised.Hint != "":
		return advised.Hint
	case errors.Is(err, api.ErrNoDaemon):
		return "start one with `dtpnode up --detach`, or name its folder with --state"
	}
	return ""
}

// reading names the help that explains a mistake in the command line or in a setting; empty for other errors.
func reading(at *cobra.Command, err error) string {
	var usage usageError
	var invalid *settings.Invalid
	switch {
	case errors.As(err, &invalid):
		return "see `dtpnode config show`"
	case errors.As(err, &usage) && at.HasParent() && at.Name() != "help":
		return fmt.Sprintf("see `%s help %s`", at.Root().Name(), strings.TrimPrefix(at.CommandPath(), at.Root().Name()+" "))
	case errors.As(err, &usage):
		return "see `dtpnode help`"
	}
	return ""
}
