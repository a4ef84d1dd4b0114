package child

import (
	"errors"
	"log/slog"

	"github.com/dtpnode/dtpnode/exec"
)

// Config says what a program is and how it is driven. All of it is the runtime's.
type Config struct {
	Name string       // what runs, for messages: "ROOT"
	Exe  string       // path of the program
	Args []string     // behind its name
	Env  []string     // whole, NAME=value
	Dir  string       // folder in which it is started
	Log  *slog.Logger // nothing is logged if it is nil

	// Phases are what a process can be doing, by the number in its page. The first is that of a process that waits.
	Phases []Phase
	// NoMemory are what a process prints which dies of a lack of memory that its language has noticed: "std::bad_alloc".
	NoMemory []string
	// Explain, if it is not nil, may say better why a process has failed than the process does. It is given the errno of
	// the failed frame, see the package comment.
	Explain func(f *exec.Failure, errno int)
}

// Phase is one step of a process.
type Phase struct {
	Name string // as the user knows it: it becomes Failure.Op
	// Code says that user code which crashes here would do so everywhere: the failure is of KindCode, and no entry is to
	// blame.
	Code bool
	// Stage says how far a generation is in it, if no entry has begun.
	Stage exec.Stage
	// Opens says that a file is being opened, for which Limits.Open holds.
	Opens bool
}

// Role is what a fork is for.
type Role struct {
	Name   string
	GoesOn bool // it answers further requests after one that has failed
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

// stage is that of the phase with a name, if there is one.
func (c *Config) stage(name string) exec.Stage {
	for _, p := range c.Phases {
		if p.Name == name {
			return p.Stage
		}
	}
	return ""
}

// phase is a phase by its number, which comes from a process and may be any.
func (c *Config) phase(n uint32) Phase {
	if int64(n) < int64(len(c.Phases)) {
		return c.Phases[n]
	}
	return Phase{Name: "an unknown phase"}
}
