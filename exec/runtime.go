package exec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Info describes one runtime on one host.
type Info struct {
	Kind         string   // of the work that it does, as jobs and users name it: "ROOT"
	Version      string   // of the runtime, "6.40.00"; results of different versions are not mixed
	Platform     string   // what a runtime has built may be used by all of its kind with the same Platform
	Dir          string   // where it is installed on this host
	Capabilities []string // further words that a job may need
}

// String names the runtime for the user, with the environment that it is if it has a name.
func (i Info) String() string {
	if name := i.Environment(); name != "" {
		return i.Kind + " " + i.Version + " (" + name + ")"
	}
	return i.Kind + " " + i.Version
}

// Environment is the name by which jobs ask for the runtime (NeedsEnvironment), empty for none.
func (i Info) Environment() string {
	for _, word := range i.Capabilities {
		if name, ok := strings.CutPrefix(word, NeedsEnvironment+"="); ok {
			return name
		}
	}
	return ""
}

// Offer is what the runtime offers, in the words that a job's needs are compared with.
func (i Info) Offer() tasks.Offer {
	return append(tasks.Offer{i.Kind, Needed(i.Kind, i.Version)}, i.Capabilities...)
}

// Words among the capabilities of runtimes, for jobs that those of earlier versions would run wrong.
const (
	NeedsInputFile  = "input-file"  // GenSpec.Input is a file
	NeedsWholeFiles = "whole-files" // tasks.Dataset.Whole
)

// NeedsEnvironment is the kind of word (Needed) by which jobs ask for a runtime that has a name of its own, such as an
// interpreter with the packages of an analysis: "environment=muons".
const NeedsEnvironment = "environment"

// Needs are what a job needs that is led with the runtime, unless it needs more.
func (i Info) Needs() []string { return []string{Needed(i.Kind, i.Version)} }

// Needed is the word with which a job asks for a version of a kind.
func Needed(kind, version string) string { return kind + "=" + version }

// Named is what a Finder is too whose user may name runtimes: where one did, each that is named and cannot be used is
// told as a mistake, and not as something that this host lacks.
type Named interface {
	// IsNamed reports whether the user has named some.
	IsNamed() bool
}

// Finder knows one kind of work on this host.
type Finder interface {
	// Kind is the word for the work, which jobs and users name it by: letters and digits.
	Kind() string
	// Find lists the runtimes of the kind on this host, the best first, and starts none of them: other members are told of
	// them before they are ready. Where there is none the error says where it was looked for, and is ErrNone.
	Find(ctx context.Context) ([]Info, error)
	// Open makes one of them ready to run code, which may take minutes the first time. The caller closes it.
	Open(ctx context.Context, info Info, cfg Config) (Runtime, error)
	// Counted reads the units and the canary that a partial's own objects show. It needs no runtime on the host, so that
	// every node can keep, and vouch for, partials of this kind. What it reads and is none is ErrFlawed.
	Counted(path string) (units int64, canary uint64, err error)
	// Suffix ends the names of files that Finish and Save write, such as ".txt", so that the user's programs know what
	// they are; it may be empty. What writes them does not look at their names.
	Suffix() string
}

// Config says where a runtime works.
type Config struct {
	Scratch string // folder for working folders of processes; the daemon's own
	Cache   string // folder for what is built, shared by a user's daemons
	Log     *slog.Logger
	// Progress is told what takes its time while a runtime is opened; nil if nobody wants to know.
	Progress func(step string)
}

// Runtime plans inputs and makes programs ready. Its methods may be called from several goroutines. Its failures are
// *Failure where they are the file's or the code's.
type Runtime interface {
	Info() Info
	// Plan reads how many entries a part of an input has, and where it is best cut, within a time: zero is DefaultOpen.
	// Where part is empty the input must have one part alone, which the plan names.
	Plan(ctx context.Context, file, part string, within time.Duration) (Plan, error)
	// Describe makes a program ready from what the user named on this host, and says what must be shipped for it.
	Describe(ctx context.Context, r Request) (Description, error)
	// Prepare makes a program ready from a job's description, with what it can fetch.
	Prepare(ctx context.Context, o Order) (Program, error)
	// Complaint reports whether a line that a process printed is an error or a warning of the runtime itself, which the
	// user is to see though nothing failed.
	Complaint(line string) bool
	// Forget drops what came from a submitter, who has lost the right to run code here.
	Forget(submitter string) error
	// Close ends every process of the runtime. Generations and sessions in use fail with KindKilled.
	Close() error
}

// Program is a user's code, ready to run. Release gives it back; a runtime may keep it for a later job with the same
// code.
//
// A process that a program consists of may be killed from outside. Then all methods but Release fail with ErrGone, and
// the node has the program prepared again.
type Program interface {
	// Key names the code as it was built here: programs of one key run the same.
	Key() string
	// Start begins a generation. It returns as soon as there is one; what fails later is told to sink.
	Start(ctx context.Context, spec GenSpec, sink Sink) (Generation, error)
	// Try runs the first entry of a part of an input in a generation that is thrown away: it finds what would fail
	// everywhere before the work is dealt out.
	Try(ctx context.Context, spec GenSpec, file, part string) error
	// Merge makes one partial of several at out, which appears whole or not at all. The inputs stay.
	Merge(ctx context.Context, inputs []string, out string) (Partial, error)
	// Save writes what a session's Finish would have written had the user's last step done nothing. An empty path writes
	// nothing, and only tells what is in the partials.
	Save(ctx context.Context, partials []string, outPath string) (Finished, error)
	// Session starts the submitting side's process. The caller closes it.
	Session(ctx context.Context, spec SessionSpec) (Session, error)
	Release()
}

// MergeTaker is what a program is besides whose merges can leave out values that were taken, as a Taker does.
type MergeTaker interface {
	// MergeWithout is Merge without the values of units in taken.
	MergeWithout(ctx context.Context, inputs []string, out string, taken tasks.Cover) (Partial, error)
}

// Foreseer is what a program is besides whose generations are to know something of a job that only its first entries
// show, such as the limits that a histogram gets from them.
type Foreseer interface {
	// Foresee is Try, of the first entry of the first of some packets that lie, in their order, where the job begins. For
	// what it finds out it may run more entries than the first, and nothing that happens to those is a failure.
	Foresee(ctx context.Context, spec GenSpec, ps []Packet) (Foreseen, error)
	// MergeForeseen is Merge of partials whose generations had all been told the same Hints, which may be empty: inputs
	// say for themselves what they were told, and one may lie. Strict fails where an input has something else of what
	// Hints made; otherwise that is apart, and told (Partial.Odd), where other inputs have it.
	MergeForeseen(ctx context.Context, inputs []string, out string, hints []byte, strict bool) (Partial, error)
}

// Claimer is what a Finder is besides if partials of its kind hold things of which a job may have so many, whoever
// claims them. Counted refuses a partial that has too many by itself.
type Claimer interface {
	// Claims reads what a partial holds. It needs no runtime on the host.
	Claims(path string) ([]Claim, error)
}

// Claim are things of one kind that a partial holds. Those of one number are one when partials are merged.
type Claim struct {
	What  string   // such as "files"
	Most  int      // that a job may have
	Names []uint64 // hashes of their names
}

// Foreseen is what the first entries of a job have shown.
type Foreseen struct {
	// Hints are what all generations of the job are to be told (GenSpec.Hints), at most MaxHints bytes; empty if there is
	// nothing.
	Hints []byte
	// Whole says, in words for the user, why no file of the job may be divided between processes, as Description.Whole
	// does for what is known before; empty if that has not shown.
	Whole string
}

// MaxHints bounds the bytes of what Foresee returns, which are part of the job's description.
const MaxHints = 1 << 20

// SessionSpec says how the submitting side of a job runs.
type SessionSpec struct {
	Dir string   // working folder of the user's code; empty: one that nobody cares for
	Env []string // NAME=value, added to the environment
	// Away says that Dir is not the folder of whoever submitted the job, who is on another host: absolute paths that the
	// user's code names for output files mean nothing here, and the files go to Dir under their base names.
	Away bool
	// OutputDir is an absolute folder to which the files go that the user's code has written, in place of Dir, and to
	// which absolute paths that the code names for them may lead. It is made if it is not there. Empty: Dir, as where Away
	// is set.
	OutputDir string
	// Mark is of those files (OutputMark).
	Mark string
	// Hints are those of all generations of the job (GenSpec.Hints); false where its partials may have been told others.
	// It is called when Finish begins, and may be nil.
	Hints func() ([]byte, bool)
	// Odd lets objects stand apart that are not in all partials what Hints made of them; else Finish fails with ErrOdd
	// before the user's last step.
	Odd bool
	// Inputs returns the paths and URLs of the job's inputs, which no output file replaces; nil stands for none. It is
	// called when Finish begins.
	Inputs func() []string
	// Taken are units whose values whoever waits for them has already (Taker): the output need not have them. It is called
	// when Finish begins, and may be nil.
	Taken func() tasks.Cover
	// Out receives each line that the user's code prints, from one goroutine.
	Out func(line string)
}

// Noted is what a Program is too that has something to say to the job's user of the host it was prepared on, such as
// that a library is of another version than the user's.
type Noted interface {
	// Notes are sentences, none if there is nothing to say.
	Notes() []string
}

// Session is the submitting side of one job.
type Session interface {
	// Begin runs what the user wants to run before the first packet. What it makes is for every generation
	// (GenSpec.Input), and is in a file, which the caller removes; the path is empty if that is nothing.
	Begin(ctx context.Context) (input string, err error)
	// Finish merges the partials, runs what the user wants to run over the whole, and writes the output to outPath, an
	// absolute path, which appears whole or not at all; an empty path writes nothing. Files that the user's code has
	// written go to the working folder, and behind the output at outPath (ReadResult). The partials stay.
	Finish(ctx context.Context, partials []string, outPath string) (Finished, error)
	Close()
}

// Generation is one run of a program over packets, of which two may be leased at a time. Its sink is told of their end.
type Generation interface {
	// Lease gives the generation a packet. A third that is leased at once is ErrQueueFull; after the end it is ErrEnded.
	Lease(p Packet) error
	// Preempt ends the packet that runs at the next entry; one that waits comes back undone. Done.Last tells how far each
	// got.
	Preempt()
	// Seal makes a partial at path of the packets leased so far, and ends the generation whatever it returns.
	Seal(ctx context.Context, path string) (Partial, error)
	// Kill ends the generation at once, tells its sink nothing, and waits until its process is gone.
	Kill()
	// Done is closed when the generation has ended, and its process is gone.
	Done() <-chan struct{}
}

// Errors of finders and programs, under errors.Is.
var (
	// ErrNone says that there is no runtime of the kind on this host.
	ErrNone = errors.New("no runtime of this kind")
	// ErrNotLed says that a job cannot be led without what its code runs in (Leading).
	ErrNotLed = errors.New("it cannot be led without what it runs in")
	// ErrGone says that the process that a program consists of was killed: the program is to be prepared again.
	ErrGone = errors.New("the process that forks children is gone")
)

// Absent is an ErrNone in words, such as where a runtime was looked for.
type Absent string

func (e Absent) Error() string { return string(e) }

// Is makes it an ErrNone.
func (Absent) Is(target error) bool { return target == ErrNone }

// NeedsError says that a host has no runtime for a job.
type NeedsError struct {
	Needs []string // of the job
	Has   []Info   // of the host
	Of    string   // the job's kind
	Kind  string   // the same, if the host has no runtime of that kind; else empty
	Why   error    // why not, as far as its Finder says; nil else
}

func (e *NeedsError) Error() string {
	text := fmt.Sprintf("the job needs %s, this node has %s", NeedsText(e.Needs), InfosText(e.Has))
	if e.Why != nil {
		text += ": " + strings.ReplaceAll(e.Why.Error(), "\n", "; ")
	}
	return text
}

// Unwrap is why the host has no runtime of the kind: ErrNone, say.
func (e *NeedsError) Unwrap() error { return e.Why }
