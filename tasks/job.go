package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// PeerID names a peer: its libp2p peer id as text.
type PeerID = string

// JobID names a job: the hex SHA-256 of its encoded body.
type JobID string

// Valid reports whether id has the form of a name, and so can be that of a job and a folder.
func (id JobID) Valid() bool {
	raw, err := hex.DecodeString(string(id))
	return err == nil && len(raw) == sha256.Size && hex.EncodeToString(raw) == string(id)
}

// Short is enough of the name for a human.
func (id JobID) Short() string {
	if len(id) > 12 {
		return string(id[:12])
	}
	return string(id)
}

// Seed is the 64-bit number that stands for the job in canaries: the first 8 bytes of its name.
func (id JobID) Seed() uint64 {
	var s uint64
	raw, _ := hex.DecodeString(string(id))
	for i := 0; i < 8 && i < len(raw); i++ {
		s = s<<8 | uint64(raw[i])
	}
	return s
}

// Job is the immutable description of what is to be run. Its msgpack encoding is hashed for its name
// and signed by the submitter.
type Job struct {
	Protocol  int     `msgpack:"v"`
	Submitter PeerID  `msgpack:"s"`
	Nonce     []byte  `msgpack:"x"` // makes two submissions of the same work two jobs
	Work      Work    `msgpack:"k"` // what is done with the units
	Data      Dataset `msgpack:"d"`
	Want      Range   `msgpack:"w"` // the units to process, within Data's space
	Input     []byte  `msgpack:"i"` // what the submitting side's Begin hands to every generation, if that is little
	// Begun is the blob with that, by its content, if it has more than MaxInline bytes; else it has no name.
	Begun     Ship   `msgpack:"j"`
	Hints     []byte `msgpack:"f,omitempty"` // what the first entries have shown, for every generation
	Limits    Limits `msgpack:"l"`
	SeedLocal bool   `msgpack:"h"`           // all work starts on the home; others steal it
	Open      bool   `msgpack:"a,omitempty"` // units may be appended until it is closed, see Append
	Bad       []Lost `msgpack:"b"`           // files left out by the planner
	Ask       Ask    `msgpack:"q"`
}

// Ask is what the submitter asked for beside the work itself. It is part of the description, and so signed: whoever
// leads the job later, or keeps a copy of its ledger, can neither have the submitter's node write to another file nor
// show as its wish what it did not say.
type Ask struct {
	// what the user named on the submitter's node, such as the path of a source file; to show
	Title string `msgpack:"s"`
	// named values that the code was given, in the order of their names; to show
	Params    []Param `msgpack:"p"`
	Part      string  `msgpack:"e,omitempty"` // that is read of files which name none, for those that are appended later
	Output    string  `msgpack:"o"`           // absolute path on the submitter's node, empty for nowhere
	OutputDir string  `msgpack:"d,omitempty"` // of files besides, on the submitter's node; empty: its working folder
	// of a job that stays open: its submitter's node closes it after so long without a program that appends, 0 for never
	Abandon   time.Duration `msgpack:"u,omitempty"`
	Submitted time.Time     `msgpack:"t"`           // by the submitter's clock
	Begun     time.Time     `msgpack:"b"`           // when the description was complete
	Most      int64         `msgpack:"n,omitempty"` // number of units, 0 for all
	Again     *Again        `msgpack:"a,omitempty"` // of a job that runs what is missing in the result of another; to show
}

// Again names a job in whose place another was submitted.
type Again struct {
	Job   string `msgpack:"j"`           // the earlier job's nonce, hex
	Units int64  `msgpack:"u"`           // that this job has from it
	Ran   []Ran  `msgpack:"r,omitempty"` // by which code these were run, if not all by that of this job
}

// Ran is what was run by one code with one set of parameters, of a result that several have made.
type Ran struct {
	Code   string  `msgpack:"s"` // Work.Code of it
	Title  string  `msgpack:"p"` // what its user named, to show
	Params []Param `msgpack:"a,omitempty"`
	Job    string  `msgpack:"j"` // a job that ran it: its nonce, hex
	Units  int64   `msgpack:"u"`
}

// Param is a named value that the user's code was given.
type Param struct {
	Name  string `msgpack:"n"`
	Value string `msgpack:"v"`
}

// Lost is a part of the wanted data that cannot be in the result, and why.
type Lost struct {
	File   string   `msgpack:"f"`
	Part   string   `msgpack:"e,omitempty"` // as it was asked for
	First  int64    `msgpack:"a"`           // local entry
	Last   int64    `msgpack:"z"`           // -1 if the length of the file is unknown
	Kind   string   `msgpack:"k"`
	Reason string   `msgpack:"r"`
	Nodes  []PeerID `msgpack:"n"`
	Tries  int      `msgpack:"t"`
	Stack  string   `msgpack:"s"`
	Tail   string   `msgpack:"o"`
}

// Protocol is the number of the job format and of the messages between nodes.
const Protocol = 2

// ErrJob is the root of all errors about a job description.
var ErrJob = errors.New("invalid job")

// NameOf is the name of a job whose encoded body is b.
func NameOf(b []byte) JobID {
	sum := sha256.Sum256(b)
	return JobID(hex.EncodeToString(sum[:]))
}

// MaxInline is how many bytes a job's input has at most that stands in its description.
const MaxInline = 64 << 10

// Kept are the blobs that go with every copy of the job's ledger.
func (j *Job) Kept() []Ship {
	kept := j.Work.Kept()
	if j.Begun.Name != "" {
		kept = append(kept, j.Begun)
	}
	return kept
}

// checkInput refuses an input that is none.
func (j *Job) checkInput() error {
	s := j.Begun
	if s == (Ship{}) {
		return nil
	}
	if s.Name != InputShip || !JobID(s.SHA256).Valid() || s.Size <= 0 || s.Size > MaxInput || !s.Keep || len(j.Input) > 0 {
		return fmt.Errorf("%w: its input has %d bytes here and a blob %q of %d, want at most %d, and one of both", ErrJob,
			len(j.Input), s.Name, s.Size, MaxInput)
	}
	return nil
}

// Check validates a decoded job and indexes its dataset.
func (j *Job) Check() error {
	if j.Protocol != Protocol {
		return fmt.Errorf("%w: protocol %d, this node speaks %d", ErrJob, j.Protocol, Protocol)
	}
	if err := j.Work.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrJob, err)
	}
	if err := j.Data.Index(); err != nil {
		return fmt.Errorf("%w: %w", ErrJob, err)
	}
	if err := j.checkInput(); err != nil {
		return err
	}
	if err := checkAllItems(j.Data.Files); err != nil {
		return fmt.Errorf("%w: %w", ErrJob, err)
	}
	if s := j.Data.Space(); j.Want.First < 0 || j.Want.Last < j.Want.First || j.Want.Last > s.Last {
		return fmt.Errorf("%w: wants %v of %v", ErrJob, j.Want, s)
	} else if j.Open && j.Want != s {
		return fmt.Errorf("%w: it is open, and wants %v of %v", ErrJob, j.Want, s)
	}
	if err := j.Limits.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrJob, err)
	}
	return nil
}
