// Package doctor checks what a host needs to run dtpnode, and says how to repair what is missing.
package doctor

import (
	"context"
	"fmt"
	"io"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// Level says how bad a finding is.
type Level string

// These are the levels: with Warn dtpnode works, but less well or not yet; with Fail it does not work.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Finding is the outcome of one check.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`           // what was found
	Mend  string `json:"mend,omitempty"` // what to do about it
}

// Runtime is one of those that the daemon runs jobs with, or would look for.
type Runtime struct {
	Kind  string // of work, such as ROOT, by which the finding is called
	Named bool   // by the user, so that it is a mistake if it is not there
	Off   bool   // the user wants no jobs of the kind run here, which Text says
	Needs string // what building the child against it takes beside it, such as a compiler; empty: nothing of this host
	Mend  string // what to do if it is not found, unless its error says
	// Find looks for it.
	Find func(ctx context.Context) (Found, error)
	// Build builds the child against it, or finds it built.
	Build func(ctx context.Context) error
}

// Found is the version of a runtime, and where it is installed.
type Found struct{ Version, Dir string }

// Config says what to look at.
type Config struct {
	State, Cache string
	Listen       []string
	Version      string // of this binary

	// Settings reports wrong settings of the daemon, and environment variables that look like misspelt settings; it may be
	// nil.
	Settings func() (wrong, misspelt []string)
	// Damaged reports the files of the daemon's state that cannot be used, and what to do about each; it may be nil.
	Damaged func() (texts, mends []string)
	// Runtimes are all that the settings name, the preferred first.
	Runtimes []Runtime
	// Status asks the daemon.
	Status func(ctx context.Context) (api.NodeStatus, error)
	// Links asks the daemon which members have no link to each other; it may be nil.
	Links func(ctx context.Context) (*api.Links, error)
	// Members asks the daemon for the members; it may be nil.
	Members func(ctx context.Context) ([]api.Member, error)
	// Sweep removes folders that runs without a daemon have left behind, except those with work in them, and returns their
	// paths. Kept lists the folders of jobs that such runs could not finish, by the jobs' names. Either may be nil.
	Sweep func() []string
	Kept  func() map[string]string
}

// Check runs all checks, and calls on for each finding as it is made.
func Check(ctx context.Context, c Config, on func(Finding)) []Finding {
	var all []Finding
	add := func(f Finding) {
		all = append(all, f)
		on(f)
	}
	add(cores())
	add(memory())
	add(folder("state folder", c.State, "--state", 100<<20, 1<<30))
	add(folder("cache folder", c.Cache, "--cache", 1<<30, 4<<30))
	runtimes := c.look(ctx)
	compiler := tool(ctx, "compiler", []string{"g++", "clang++", "c++"},
		"install g++: `apt install g++` or `dnf install gcc-c++`")
	if !needCompiler(runtimes) {
		compiler = compiler.soften()
	}
	add(compiler)
	add(tool(ctx, "make", []string{"make"}, "install make; only building dtpnode itself needs it").soften())
	add(python(ctx))
	for _, f := range findings(ctx, runtimes, compiler) {
		add(f)
	}
	for _, f := range c.settings() {
		add(f)
	}
	for _, f := range c.damaged() {
		add(f)
	}
	daemon, st := c.daemon(ctx)
	for _, addr := range c.Listen {
		add(c.listen(addr, st))
	}
	add(c.socket())
	add(daemon)
	for _, f := range broken(st) {
		add(f)
	}
	for _, f := range c.links(ctx, st) {
		add(f)
	}
	for _, f := range c.clocks(ctx, st) {
		add(f)
	}
	for _, f := range c.left() {
		add(f)
	}
	return all
}

// Worst is the worst level among findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Fail || f.Level == Warn && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

// Print writes a finding as text.
func Print(w io.Writer, f Finding) {
	fmt.Fprintf(w, "%-4s  %-13s  %s\n", f.Level, f.Check, progress.Clean(f.Text))
	if f.Mend != "" {
		fmt.Fprintf(w, "      %-13s  -> %s\n", "", progress.Clean(f.Mend))
	}
}

// soften makes a failure a warning.
func (f Finding) soften() Finding {
	if f.Level == Fail {
		f.Level = Warn
	}
	return f
}
