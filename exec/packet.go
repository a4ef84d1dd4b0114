package exec

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Plan is what the planner read of one file.
type Plan struct {
	File     string
	Part     string  // the part of the file that is read, such as the path of a tree; empty where files have no parts
	Entries  int64   // in the part
	Clusters []int64 // first entries of the clusters, ascending from 0; empty if Entries is 0
	Bytes    int64   // compressed size of the part
	UUID     string  // the identity that was written into the file when it was made; empty if it has none
}

// Packet is a slice of one part of a file, handed to a generation. First and Last are local entries. A process is told
// of it in the same form (exec/child).
type Packet struct {
	ID   uint64 `msgpack:"id"` // chosen by the parent, echoed in the report
	File string `msgpack:"file"`
	Part string `msgpack:"part"` // as in Plan
	// Items is the path of a blob of items on this host (OpenItems), of which an entry is an item; File and Part are
	// empty then. Small is the blob itself instead, if it has at most tasks.MaxItemsData bytes: to make a file of it takes
	// longer than to run many an item. All are empty for entries that are only numbers.
	Items string `msgpack:"items,omitempty"`
	Small []byte `msgpack:"small,omitempty"`
	First int64  `msgpack:"first"`
	Last  int64  `msgpack:"last"`
	Base  int64  `msgpack:"base"` // global unit of local entry 0; the canary hashes global units
	// Start is the number of entry 0 of the part where the entries of all files of the job are counted, whether they are
	// run or not: friends go by it.
	Start int64 `msgpack:"start,omitempty"`
	// Entries is how many the part has where it was planned. A file with another number is refused (CauseDiffers): it has
	// changed since, or is another file of the same name on this host. 0 leaves that unchecked.
	Entries int64 `msgpack:"total"`
	// UUID is that of the file where it was planned. One with another is refused in the same way. Empty leaves that
	// unchecked.
	UUID string `msgpack:"uuid,omitempty"`
	// End is the local entry at which ends what the job wants of the file, for one that may be given up; 0 if unknown.
	End int64 `msgpack:"end,omitempty"`
}

// Units are the global units of the packet's entries.
func (p *Packet) Units() tasks.Range { return tasks.R(p.Base+p.First, p.Base+p.Last) }

// HasItems reports whether an entry of the packet is an item.
func (p *Packet) HasItems() bool { return p.Items != "" || len(p.Small) > 0 }

// OpenItems opens the blob of items of a packet that has one. The error is as that of the function OpenItems.
func (p *Packet) OpenItems() (*Items, error) {
	if len(p.Small) > 0 {
		return ReadItems(p.Small)
	}
	return OpenItems(p.Items)
}

// Done reports a finished, or preempted, packet. A process tells of it in the same form (exec/child), but for Refused.
type Done struct {
	ID      uint64        `msgpack:"id"`
	Last    int64         `msgpack:"last"`  // first local entry NOT processed; equals Packet.Last unless preempted
	Elapsed time.Duration `msgpack:"ns"`    // in the child, file switch included
	Bytes   int64         `msgpack:"bytes"` // read from the file
	Opened  bool          `msgpack:"opened"`
	// Hints are what a process that tries the first entries of a job has found out, see Foreseer.
	Hints []byte `msgpack:"hints,omitempty"`
	// Whole says likewise why no file may be divided, see Foreseen.
	Whole string `msgpack:"whole,omitempty"`
	// Early and Held have the values of the packet's first units, in their order, of a program that keeps values (Values):
	// whoever waits for them need not wait for the partial. A process tells of small ones by Early, of large ones by Held,
	// or of none.
	Early EarlyList `msgpack:"early,omitempty"`
	Held  *Held     `msgpack:"held,omitempty"`
	// Full is why the disk takes nothing more of the generation's output, which is to be sealed with what it has; empty
	// if the disk does. No packet of the generation is run from then on: each comes back with nothing of it done.
	Full string `msgpack:"full,omitempty"`
	// Worn says that the process is to run nothing more, as its program wants it, and is to be sealed for another one to
	// take its place. Packets that it has been leased come back with nothing of them done.
	Worn bool `msgpack:"worn,omitempty"`
	// Refused is why nothing of the packet was done: its file could not be opened; the generation goes on.
	Refused *Failure `msgpack:"-"`
}

// Partial is the outcome of a generation or of a merge: one immutable output blob. A process tells what it has counted
// in the same form (exec/child); path, hash and size are found by the driver, which reads the file.
type Partial struct {
	Path   string   `msgpack:"-"` // the blob's file, in the directory the caller named
	SHA256 [32]byte `msgpack:"-"`
	Size   int64    `msgpack:"-"` // bytes
	Units  int64    `msgpack:"units"`
	Canary uint64   `msgpack:"canary"`
	// Apart are names of objects that could not be merged and were kept apart as name;1, name;2...
	Apart []string `msgpack:"apart"`
	// Mixed are names under which objects of several classes are, with these: they stand side by side. Of a merge alone.
	Mixed []string `msgpack:"mixed"`
	// Odd are names of objects that are not in all inputs what Hints made of them. They are kept apart.
	Odd []string `msgpack:"odd"`
}

// Finished says what Session.Finish and Program.Save wrote. A process may tell it in the same form.
type Finished struct {
	Units  int64    `msgpack:"units"`  // in the partials
	Canary uint64   `msgpack:"canary"` // in the partials
	Apart  []string `msgpack:"apart"`  // objects that could not be merged
	Keys   int      `msgpack:"keys"`   // in the output file

	// Skipped is what the program left out of its own will, by file: the first files, with the number of all such files
	// and entries beside.
	Skipped        []Skipped `msgpack:"skipped"`
	SkippedFiles   int       `msgpack:"skippedfiles"`
	SkippedEntries int64     `msgpack:"skippedentries"`

	// Canvases are files of pictures that the program drew, in the working folder of the user's last step; Unsaved are
	// those that could not be written, with the reason. Only of Session.Finish with a path.
	Canvases []string `msgpack:"canvases"`
	Unsaved  []string `msgpack:"unsaved"`
	// Files are what the user's code has written to files of its own, merged: the first thousand of them.
	Files []OutputFile `msgpack:"files"`
	// Left are other files that were left in the working folders of generations, and are gone.
	Left []LeftFile `msgpack:"left"`

	// Objects are those of the output after the user's last step: the first thousand, and only of Finish without a path.
	Objects []Object `msgpack:"objects"`
	// Notes are what the user should know of the output, a sentence each.
	Notes []string `msgpack:"notes"`
}

// OutputFile is a file that the user's code has written beside its output, merged over all generations.
type OutputFile struct {
	Name    string        `msgpack:"name"`    // in the result (ResultFile)
	Path    string        `msgpack:"path"`    // where Finish has written it, absolute; empty if it is in the result alone
	Dataset string        `msgpack:"dataset"` // that the file is a part of; empty if it is none
	Note    string        `msgpack:"note"`    // what the user should know of it; mostly empty
	Size    int64         `msgpack:"size"`    // bytes; 0 if the user's last step has removed it
	Trees   []TreeEntries `msgpack:"trees"`   // the first 20

	// Register says that the files of the data set are to be known by its name, with the tree that is named Tree, and
	// Replace that they take the place of others that the name has.
	Register bool   `msgpack:"register"`
	Replace  bool   `msgpack:"replace"`
	Tree     string `msgpack:"tree"`
	// Registered is set by who has done that; processes say nothing of it.
	Registered bool `msgpack:"-"`
}

// TreeEntries says how many entries a tree in a file has.
type TreeEntries struct {
	Name    string `msgpack:"name"` // with its folders
	Entries int64  `msgpack:"entries"`
}

// LeftFile is a file that generations have left, and that is no output.
type LeftFile struct {
	Name  string `msgpack:"name"`  // in the working folder; empty for all that are not named
	Times int64  `msgpack:"times"` // how many generations left one of that name
}

// Object is one object of an output.
type Object struct {
	Name  string `msgpack:"name"`
	Class string `msgpack:"class"`
	// Entries is how many the object counts, if it is of a kind that does, as a histogram; else -1.
	Entries float64 `msgpack:"entries"`
}

// Skipped is what a program left out of a file of its own will, as a TSelector does by Abort(kAbortFile): entries that
// were planned and are accounted for in the units, but that the user's code was not called for.
type Skipped struct {
	File    string `msgpack:"file"`
	Part    string `msgpack:"part"`
	First   int64  `msgpack:"first"` // local entry
	Entries int64  `msgpack:"entries"`
	Entry   int64  `msgpack:"entry"`  // at which the code said so; -1 if it did before any entry of the file
	Step    string `msgpack:"step"`   // what was being done then, as in Failure.Op
	Reason  string `msgpack:"reason"` // what the code gave as its reason, one line; may be empty
	// Ran is how many entries behind First may be in the result nevertheless, since a failure had divided the file.
	Ran int64 `msgpack:"ran"`
}
