package exec

import "time"

// Plan is what the planner read of one file.
type Plan struct {
	File     string
	Part     string  // the part of the file that is read, such as the path of a tree; empty where files have no parts
	Entries  int64   // in the part
	Clusters []int64 // first entries of the clusters, ascending from 0; empty if Entries is 0
	Bytes    int64   // compressed size of the part
	UUID     string  // the identity that was written into the file when it was made; empty if it has none
}

// Packet is a slice of one part of a file, handed to a generation. First and Last are local entries.
type Packet struct {
	ID   uint64 // chosen by the parent, echoed in the report
	File string
	Part string // as in Plan
	// Items is the path of a blob of items on this host (OpenItems), of which an entry is an item; File and Part are empty
	// then. Both are empty for entries that are only numbers.
	Items       string
	First, Last int64
	Base        int64 // global unit of local entry 0; the canary hashes global units
	// Entries is how many the part has where it was planned. A file with another number is refused (CauseDiffers): it has
	// changed since, or is another file of the same name on this host. 0 leaves that unchecked.
	Entries int64
	// UUID is that of the file where it was planned. One with another is refused in the same way. Empty leaves that
	// unchecked.
	UUID string
}

// Done reports a finished, or preempted, packet.
type Done struct {
	ID      uint64
	Last    int64         // first local entry NOT processed; equals Packet.Last unless preempted
	Elapsed time.Duration // in the child, file switch included
	Bytes   int64         // read from the file
	Opened  bool          // the packet opened a file
	Refused *Failure      // why nothing of the packet was done: its file could not be opened; the generation goes on
}

// Partial is the outcome of a generation or of a merge: one immutable output blob.
type Partial struct {
	Path   string // the blob's file, in the directory the caller named
	SHA256 [32]byte
	Size   int64
	Units  int64    // as read back from the objects in the blob
	Canary uint64   // likewise
	Apart  []string // names of objects that could not be merged and were kept apart as name;1, name;2...
	// Mixed are names under which objects of several classes are, with these: they stand side by side. Of a merge alone.
	Mixed []string
}

// Finished says what Session.Finish and Program.Save wrote.
type Finished struct {
	Units  int64    // in the partials
	Canary uint64   // in the partials
	Apart  []string // objects that could not be merged
	Keys   int      // in the output file

	Skipped        []Skipped // what the program left out of its own will, by file; the first files
	SkippedFiles   int       // in all
	SkippedEntries int64     // in all

	Objects []Object // of the output, after the user's last step; the first thousand, and only of Finish without a path
	Notes   []string // what the user should know of the output, a sentence each; likewise
}

// Object is one object of an output.
type Object struct {
	Name, Class string
	Entries     float64 // that it counts, if it is of a kind that does, as a histogram; else -1
}

// Skipped is what a program left out of a file of its own will, as a TSelector does by Abort(kAbortFile): entries that
// were planned and are accounted for in the units, but that the user's code was not called for.
type Skipped struct {
	File    string
	First   int64 // local entry
	Entries int64
}
