package child

import (
	"errors"
	"log/slog"

	"github.com/dtpnode/dtpnode/exec"
)

// Config says what a program is and how it is driven. The runtime that owns the program fills it in.
type Config struct {
	Name string       // what runs, for messages: "ROOT"
	Exe  string       // path of the program
	Args []string     // the arguments that follow the program's name
	Env  []string     // the whole environment, as NAME=value
	Dir  string       // folder in which the program is started
	Log  *slog.Logger // nil for no log

	// Phases are the phases that a process can be in. The index of one is the number by which the process names it in its
	// page. Phase 0 is that of a process that waits for a request.
	Phases []Phase
	// NoMemory are words which a process prints as it dies because its language had no more memory to give, such as
	// "std::bad_alloc". They turn a crash into one of KindMemory.
	NoMemory []string
	// Stall is how its user allows an entry more time, for the message of a failure; empty for the command line's --stall.
	Stall string
	// Stack makes the text of a crash's stack one for the user's eyes. Without it the text is that of glibc's
	// backtrace_symbols_fd.
	Stack func(text string) string
	// Explain, if it is not nil, may improve what is said of a failure. It is given the errno of the failed frame, which
	// the package comment explains.
	Explain func(f *exec.Failure, errno int)
}

// Phase is one step of a process.
type Phase struct {
	Name string // in the user's words; it becomes Failure.Op
	// Code says that user code which crashes in this phase would crash on every host: the failure is of KindCode, and no
	// entry is to blame.
	Code bool
	// Stage is how far a generation in this phase is, where no entry has begun yet or all are done; otherwise empty.
	Stage exec.Stage
	// Adds says that results are added to one another in this phase, so that a failure in it is one as of Failure.Adds.
	Adds bool
	// Opens says that a file is being opened in this phase, so that Limits.Open bounds its duration.
	Opens bool
	// Left is why a process in this phase has left that leaves by itself, where the phase says it.
	Left string
}

// Role is what a fork is for.
type Role struct {
	Name   string
	GoesOn bool // whether the process answers further requests after one that has failed, and does not exit
}

func (c *Config) validate() error {
	if c.Exe == "" || len(c.Phases) == 0 {
		return errors.New("no program, or no phases of it, are named")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// stage is the stage of the phase with a name; empty if there is no such phase.
func (c *Config) stage(name string) exec.Stage {
	for _, p := range c.Phases {
		if p.Name == name {
			return p.Stage
		}
	}
	return ""
}

// phase finds a phase by its number. The number comes from a process that runs user code, and may be wrong.
func (c *Config) phase(n uint32) Phase {
	if int64(n) < int64(len(c.Phases)) {
		return c.Phases[n]
	}
	return Phase{Name: "an unknown phase"}
}
