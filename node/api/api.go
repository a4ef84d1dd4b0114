// Package api is the daemon's control interface: the types of the JSON that dtpnode's commands and
// --output json exchange with a local daemon, and a client for it. It is HTTP over a Unix socket of
// mode 0600; errors come as {"error": ..., "hint": ...} with a status of 400 or more.
//
//	GET  /v1/status                 NodeStatus
//	GET  /v1/members                []Member
//	GET  /v1/links                  Links: asked of all members that are up
//	POST /v1/invites                InviteRequest -> Invite
//	POST /v1/join                   JoinRequest -> NodeStatus
//	POST /v1/revoke                 RevokeRequest -> Revoked
//	POST /v1/forget                 RevokeRequest -> Revoked: of a member that is gone
//	POST /v1/rename                 RenameRequest: what the node is called while it runs
//	POST /v1/jobs                   JobRequest -> JobStatus (accepted; work may not have begun)
//	POST /v1/check                  JobRequest -> newline-delimited CheckEvent: its first entries run, nothing is kept
//	GET  /v1/jobs                   []JobStatus (all jobs of the members that answer, without their long parts;
//	                                with ?at-once=1, of those that answer without delay)
//	POST /v1/datasets               DatasetRequest -> Dataset: files are registered under a name
//	GET  /v1/datasets               []Dataset, without their files
//	GET  /v1/dataset?name=          Dataset
//	POST /v1/dataset/verify?name=   DatasetCheck
//	POST /v1/dataset/remove?name=   Dataset
//	GET  /v1/jobs/{id}              JobStatus; id may be a unique prefix
//	GET  /v1/jobs/{id}/events       newline-delimited Event until the job ends
//	POST /v1/jobs/{id}/stop         finish with what is done: partial result
//	POST /v1/jobs/{id}/cancel       drop the job and its results -> Cancellation
//	POST /v1/jobs/{id}/finish       try again to finish a job that could not be finished
//	POST /v1/jobs/{id}/append       AppendRequest -> Appended: an open job grows, or is closed
//	POST /v1/jobs/{id}/retry        RetryRequest -> JobStatus: of a new job that runs what is missing in a partial result
//	GET  /v1/jobs/{id}/recovery     Recovery: what POST recover would do
//	POST /v1/jobs/{id}/recover      RecoverRequest -> Recovery: go on from the last copy of the job's ledger
//	GET  /v1/jobs/{id}/partials     tar of what is committed, and manifest.json, a Manifest
//	GET  /v1/jobs/{id}/units        newline-delimited UnitsEvent: results of single units, ?first=N&last=N&follow=1
//	POST /v1/jobs/{id}/taken        TakenRequest: whose values need not be kept
//	POST /v1/jobs/{id}/release      ReleaseRequest: which values that units have made for others are not needed any more
//	GET  /v1/jobs/{id}/watch        newline-delimited WatchEvent: named objects of the output while the job runs,
//	                                ?name=N&name=N&every=SECONDS&file=1
//	GET  /v1/jobs/{id}/logs         newline-delimited LogPart: what the job's children printed
//	GET  /v1/jobs/{id}/result       bytes of the output file; with ?whole=1, of a result: see exec.ReadResult
//	POST /v1/shutdown               leave politely and stop
//
// The JSON is stable: fields are added, never renamed or removed.
package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// JobState is where a job stands. Done, Partial, Failed and Cancelled are final.
type JobState string

// The states of a job in order.
const (
	Preparing JobState = "preparing" // planning, compiling, Begin
	Running   JobState = "running"
	// Waiting says that nothing of the job can be committed just now, since most of the nodes that keep its ledger, or
	// its home, cannot be reached; the phase says which. It goes on by itself when they are back.
	Waiting JobState = "waiting"
	Merging JobState = "merging" // all units committed; last merge, Terminate, output
	Done    JobState = "done"
	// CannotFinish says that all is committed, and that the last merge, Terminate or writing the output failed. The
	// ledger is kept until the job is finished after all, is cancelled, or expires like a result that nobody fetches.
	CannotFinish JobState = "cannot finish"
	Partial      JobState = "partial" // output written, some ranges missing
	Failed       JobState = "failed"
	Cancelled    JobState = "cancelled"
)

// States are all of them, in order.
func States() []JobState {
	return []JobState{Preparing, Running, Waiting, Merging, Done, CannotFinish, Partial, Failed, Cancelled}
}

// Final reports whether a job in state s will not change any more.
func (s JobState) Final() bool {
	return s == Done || s == Partial || s == Failed || s == Cancelled
}

// Halted reports whether a job in state s goes on only if its user says so: it is final, or cannot be finished.
func (s JobState) Halted() bool { return s.Final() || s == CannotFinish }

// Stands says how a job in state s stands, as what follows "it" in a sentence.
func (s JobState) Stands() string {
	switch s {
	case Preparing:
		return "is being prepared"
	case Running:
		return "is running"
	case Waiting:
		return "waits, and goes on by itself"
	case Merging:
		return "is being merged"
	case Done:
		return "is done"
	case CannotFinish:
		return "has run, and could not be finished"
	case Partial:
		return "has ended with a partial result"
	case Failed:
		return "has failed"
	case Cancelled:
		return "was cancelled"
	}
	return "is in the state " + string(s)
}

// Advice is what the user of a job can do that cannot be finished: commands that go on from there. unit is that of its
// status: jobs of events, or without a word for it, have a Terminate.
func Advice(id, unit string) string {
	id = Short(id)
	if unit != "" && unit != "events" {
		return "`dtpnode finish " + id + "` tries again, `dtpnode cancel " + id + "` drops it"
	}
	return "`dtpnode finish " + id + "` tries again, `dtpnode get " + id +
		" -o FILE` writes the output as it was before Terminate, `dtpnode get --partials " + id +
		" -o DIR` writes what is done, `dtpnode cancel " + id + "` drops it"
}

// NoLimit is the number of seconds that stands for no limit, where 0 is the default. Any other negative one is refused.
const NoLimit = -1

// JobRequest asks the daemon for a job. Paths are absolute or URLs; globs and lists are expanded by the
// command, so that they mean what the user's shell means.
type JobRequest struct {
	Kind    string `json:"kind,omitempty"`    // of work: which runtimes do it; empty: that of the daemon's first
	Version string `json:"version,omitempty"` // of the runtime; empty: the daemon's first of that kind
	// further words that a runtime must offer to run the job, such as "environment=muons"
	Needs []string        `json:"needs,omitempty"`
	Title string          `json:"title"` // what the user named, such as the path of a source file, to show
	Spec  json.RawMessage `json:"spec"`  // what is wanted of the runtime, in the words of the kind

	Part  string      `json:"part"` // that is read of each file which names none itself; for ROOT the path of a tree
	Files []InputFile `json:"files"`
	// Datasets are those whose files are among Files: the job's user is told what of them is no more what it was.
	Datasets []UsedDataset `json:"datasets,omitempty"`
	// Lists of entries: where there are any, only the entries that one of them names are run, and First and N count them.
	EntryLists []ObjectRef `json:"entry_lists,omitempty"`
	Friends    []FriendRef `json:"friends,omitempty"` // inputs that are read beside the files
	Aliases    []Alias     `json:"aliases,omitempty"` // names for expressions, for the user's code
	// that some of them have matched, absolute: where other hosts see more, that is told
	Globs  []string `json:"globs,omitempty"`
	First  int64    `json:"first,omitempty"`  // first unit
	N      int64    `json:"n"`                // number of units, -1 for all
	Output string   `json:"output,omitempty"` // absolute path; empty: kept for get
	// absolute folder for the files that the user's code writes besides; empty: Dir
	OutputDir string `json:"output_dir,omitempty"`
	// absolute paths on this host of what the job reads besides its files, such as its code: nothing that the user's code
	// writes takes the place of one, as of none of the files
	Spares []string `json:"spares,omitempty"`

	Dir    string   `json:"dir"` // working directory of Begin and Terminate
	Env    []string `json:"env,omitempty"`
	Memory int64    `json:"memory,omitempty"`        // bytes a child may use, 0 for the default
	Stall  float64  `json:"stall_seconds,omitempty"` // an entry may take this long, 0 for the default; NoLimit for none

	Open      float64 `json:"open_seconds,omitempty"`      // opening a file may take this long, 0 for the default
	EntryCPU  float64 `json:"entry_cpu_seconds,omitempty"` // CPU time of one entry, 0 for no limit
	Processes int     `json:"max_processes,omitempty"`     // started by a child at once, 0 for the default
	FileSize  int64   `json:"max_file_size,omitempty"`     // bytes of any one file that a child writes, 0 for no limit
	Scratch   int64   `json:"max_scratch,omitempty"`       // bytes in a child's working folder, 0 for the default

	AllowCopies bool `json:"allow_copies,omitempty"` // hosts may have files that were written anew, with as many entries
	Duplicates  bool `json:"duplicates,omitempty"`   // count a file that is named twice twice
	// SkipMissing has a file that nobody sees be missing in the result, with its reason, as one that cannot be read is;
	// otherwise it is refused, since its name is most likely misspelt.
	SkipMissing bool `json:"skip_missing,omitempty"`
	// more may be appended until the job is closed; there need be no files yet
	StaysOpen bool `json:"open,omitempty"`
	// Abandon is for a job that a program appends to over exchanges: it is closed when for so long none was open that
	// appends (ExchangeProtocol), since the program was killed; 0 for never.
	Abandon   float64 `json:"abandon_seconds,omitempty"`
	SeedLocal bool    `json:"seed_local,omitempty"` // seed all work on the home; others steal
}

// AppendRequest asks for an open job to grow by files, by items, or by nothing when it only closes the job. Nothing is
// appended unless all files can be read.
type AppendRequest struct {
	// Seq numbers the appends of a job from 1. One that is repeated, since its answer was not heard, counts once; another
	// with a number that is taken is refused. 0 takes the next number, and is to be sent once only. Of more files than fit
	// into one append several are made, in order, with the numbers that follow, and so again if it is repeated.
	Seq   uint64      `json:"seq,omitempty"`
	Part  string      `json:"part,omitempty"` // as in a JobRequest; empty: the job's
	Files []InputFile `json:"files,omitempty"`
	Items int64       `json:"items,omitempty"` // further items that are only numbers, of a kind that runs over items
	Data  [][]byte    `json:"data,omitempty"`  // further items, in base64; they follow those that are only numbers
	Close bool        `json:"close,omitempty"` // nothing is appended after this
	// Near says which nodes have run some of the items before, and are faster with them. It is a hint: without it, or
	// where a node is gone, the items run all the same.
	Near []NearItems `json:"near,omitempty"`
	// Depends says that each of Data begins with the units whose results it takes (exec.LinkedItem), and is run when all
	// of these are committed.
	Depends bool `json:"depends,omitempty"`
	// Upto is as ExchangeAppend.Upto, and is not sent as JSON.
	Upto uint64 `json:"-"`
	// OfKept says that the items are made of calls that this daemon keeps.
	OfKept bool `json:"-"`

	Open        float64 `json:"open_seconds,omitempty"` // as in a JobRequest
	AllowCopies bool    `json:"allow_copies,omitempty"`
	Duplicates  bool    `json:"duplicates,omitempty"`
}

// NearItems are consecutive items of an append that a node has run before. They wait for that node for as long as it
// would take for them without what it has kept of them, and are then run by any.
type NearItems struct {
	First int64   `json:"first" msgpack:"first"` // of the append's items, from 0
	Last  int64   `json:"last" msgpack:"last"`   // the item behind the last one
	Node  string  `json:"node" msgpack:"node"`   // its id
	Cost  float64 `json:"cost" msgpack:"cost"`   // how many seconds longer one item takes on other nodes
}

// MaxNearItems bounds how many an append has.
const MaxNearItems = 1024

// Appended says that an append is in the job's ledger, durably, and what the job is then.
type Appended struct {
	Seq     uint64 `json:"seq"`     // of it, the last of those that were made of one request
	Appends uint64 `json:"appends"` // in all
	Units   int64  `json:"units"`   // of the job so far
	Closed  bool   `json:"closed"`
}

// RetryRequest asks for a job that runs what is missing in the result of another, and has the rest from that.
type RetryRequest struct {
	// absolute path; empty: that of the earlier job if it was submitted here, else kept for get
	Output string `json:"output,omitempty"`
	// working directory of Begin and Terminate, if that of the earlier job is not known here
	Dir    string  `json:"dir"`
	Memory int64   `json:"memory,omitempty"`        // bytes a child may use, 0 for what it was
	Stall  float64 `json:"stall_seconds,omitempty"` // an entry may take this long, 0 for what it was; NoLimit for none

	Open      float64 `json:"open_seconds,omitempty"` // as in a JobRequest, 0 for what it was
	EntryCPU  float64 `json:"entry_cpu_seconds,omitempty"`
	Processes int     `json:"max_processes,omitempty"`
	FileSize  int64   `json:"max_file_size,omitempty"`
	Scratch   int64   `json:"max_scratch,omitempty"`

	Title string `json:"title,omitempty"` // of mended code, as in a JobRequest; empty: that of the earlier job
	// in the words of the earlier job's kind; what it does not say is as it was
	Spec json.RawMessage `json:"spec,omitempty"`
}

// InputFile is one file of a job's input. Part is empty for the job's default.
type InputFile struct {
	URL  string `json:"url"`
	Part string `json:"part,omitempty"`
	// Unseen marks a local file that is not on the host of who submits; members that see it plan it.
	Unseen bool `json:"unseen,omitempty"`
	// Object is the name of an object in the file that stands for the files which it names, such as a TChain or a
	// TFileCollection; Part is then that of those which name none.
	Object string `json:"object,omitempty"`
}

// ObjectRef names an object in a file; with an empty name the only one there is of its sort.
type ObjectRef struct {
	URL    string `json:"url"`
	Object string `json:"object,omitempty"`
}

// String is the object as a user names it.
func (r ObjectRef) String() string {
	if r.Object == "" {
		return r.URL
	}
	return r.URL + ":" + r.Object
}

// FriendRef is an input whose entries are read beside those of a job: entry n of all its files beside entry n of all
// files of the job or, with a key, the entry in which one or two expressions have the same values.
type FriendRef struct {
	Alias string      `json:"alias,omitempty"` // by which the user's code knows it; empty: its part
	Part  string      `json:"part"`
	Key   []string    `json:"key,omitempty"`
	Files []InputFile `json:"files"`
}

// Alias is a name for an expression over the entries of a job.
type Alias struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// JobStatus describes one job.
type JobStatus struct {
	ID       string `json:"id"`
	Kind     string `json:"kind,omitempty"` // of work: which runtimes do it
	Title    string `json:"title"`          // name of what the user named to be run, such as a source file
	Home     string `json:"home"`           // peer id
	HomeName string `json:"home_name"`

	Submitter     string `json:"submitter"` // peer id of the member whose job it is
	SubmitterName string `json:"submitter_name"`
	// why no more is told than whose job it is, its state and what it costs the asking node
	Private string `json:"private,omitempty"`

	State JobState `json:"state"`
	Phase string   `json:"phase,omitempty"` // what is being done just now, e.g. "compiling DiMuon.C"
	Error string   `json:"error,omitempty"`
	Hint  string   `json:"hint,omitempty"`
	// Cause is the exception of the user's code that has ended the job, for clients in the runtime's language: of a
	// reduction in Python the pickle that python/src/dtpnode/_sums.py describes. At most 16 KiB.
	Cause []byte `json:"cause,omitempty"`

	Submitted time.Time `json:"submitted"`
	Seconds   float64   `json:"seconds"`                   // since submission, until the end
	Working   float64   `json:"working_seconds,omitempty"` // of these, from the first packet to the last

	Unit  string `json:"unit,omitempty"` // what its units are called, in the plural, such as "items"; empty: events
	Files int    `json:"files"`
	// files whose length could not be read: units counts nothing of them
	Unknown   int     `json:"unknown_files,omitempty"`
	Units     int64   `json:"units"`             // wanted, of the files whose length is known
	Done      int64   `json:"done"`              // processed, committed or not; never above Units
	Committed int64   `json:"committed"`         // in the ledger
	Open      bool    `json:"open,omitempty"`    // more may be appended: it does not end before it is closed
	Appends   uint64  `json:"appends,omitempty"` // by which it has grown
	Bytes     int64   `json:"bytes"`             // read
	Rate      float64 `json:"rate"`              // units/s, recent

	RetryOf string `json:"retry_of,omitempty"` // the job whose missing entries this one runs
	Before  int64  `json:"before,omitempty"`   // entries that it has from that one; they count in Done and Committed
	// what ran how many of the committed entries, where that is not the same for all
	Codes []Code `json:"codes,omitempty"`

	Commits int64 `json:"commits"` // partial results that were ever committed
	Folds   int64 `json:"folds"`   // merges that took the place of some of them
	Parts   int   `json:"parts"`   // partial results that are committed now
	Packets int64 `json:"packets"`
	Steals  int64 `json:"steals"`
	Merges  int64 `json:"merges"`
	// for how long the job had slots of nodes, all together
	SlotSeconds float64    `json:"slot_seconds"`
	Nodes       []NodeWork `json:"nodes"`
	Missing     []Missing  `json:"missing,omitempty"` // only in a partial result, or if it cannot be finished
	Failing     []Missing  `json:"failing,omitempty"` // failed at least once, being tried again
	// what the program left out of its own will, the first files; once final
	Skipped []Skipped  `json:"skipped,omitempty"`
	EndedIn *Elsewhere `json:"ended_in,omitempty"` // where Terminate ran, if not where the job was submitted
	Apart   []string   `json:"apart,omitempty"`    // output objects that could not be merged
	Output  string     `json:"output,omitempty"`   // where it was written, once it is; empty: kept for get
	SHA256  string     `json:"sha256,omitempty"`   // of the output, hex, once there is one

	// of a partial result: over what it was made of, which retry goes on with
	PartsSHA256 string `json:"parts_sha256,omitempty"`

	// files that the program has written beside its output, the first thousand, and other files that it left where it ran
	// and that are gone; once final
	OutputFiles []OutputFile `json:"output_files,omitempty"`
	Left        []LeftFile   `json:"left_files,omitempty"`

	SkippedFiles   int   `json:"skipped_files,omitempty"`   // all files of which something was left out so
	SkippedEntries int64 `json:"skipped_entries,omitempty"` // and all entries

	Canvases []string `json:"canvases,omitempty"` // files of the canvases after Terminate, in the folder in which it ran
	Unsaved  []string `json:"unsaved,omitempty"`  // those of them that could not be written, each with the reason

	Notes []string `json:"notes,omitempty"` // what the user may not know, and should

	OutputError string `json:"output_error,omitempty"` // why it could not be written yet where it was wanted

	Replicas []string `json:"replicas,omitempty"` // names of the nodes that have a copy of the job's ledger
	// the copies are as many as they should be: the job outlives the loss of its home
	Safe bool   `json:"safe"`
	Term uint64 `json:"term,omitempty"` // of the home; grows with each change
	Kept int64  `json:"kept_bytes"`     // partial results kept for the job on the node that tells this

	KeptIn string `json:"kept_in,omitempty"` // folder in which a job of a run without a daemon is kept

	Stdout string `json:"stdout,omitempty"` // what Begin and Terminate printed, once final
}

// Called is what the units of a job are called, in the plural.
func (st JobStatus) Called() string {
	const longest = 16
	if strings.Trim(st.Unit, "abcdefghijklmnopqrstuvwxyz") != "" || len(st.Unit) > longest {
		return "units"
	}
	return cmp.Or(st.Unit, "events")
}

// Code is a state of the user's code, and the parameters that went with it.
type Code struct {
	Title   string            `json:"title"`  // what the user named, such as the path of a source file
	Source  string            `json:"source"` // SHA-256 of the code that was shipped, hex
	Params  map[string]string `json:"params,omitempty"`
	Job     string            `json:"job"`     // one that ran it
	Entries int64             `json:"entries"` // that are committed
}

// NodeWork is one node's share of a job.
type NodeWork struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Slots       int     `json:"slots"`
	Units       int64   `json:"units"`
	Rate        float64 `json:"rate"` // units/s
	Packets     int64   `json:"packets"`
	Steals      int64   `json:"steals"` // successful, as thief
	Merges      int64   `json:"merges"`
	Generations int64   `json:"generations"`
	Failures    int64   `json:"failures"`
	SlotSeconds float64 `json:"slot_seconds"` // for which the job had slots of the node, all together
	Up          bool    `json:"up"`
	Problem     string  `json:"problem,omitempty"` // why the job was taken from it
	// why its disk takes nothing more of the job; what is left of an open job waits there until it does
	Full string `json:"full,omitempty"`
	// units that it took and did not do, where these are far more than it did
	Lost int64 `json:"lost,omitempty"`
	Slow int   `json:"slow,omitempty"` // results that it handed out too slowly to be waited for

	Unseen []Unseen `json:"unseen,omitempty"` // what its host does not see, and is left to others
}

// Unseen is what a host does not see of a job's input, for one reason.
type Unseen struct {
	Where  string `json:"where"` // the file, or the folder or server of several
	Files  int    `json:"files"`
	Units  int64  `json:"units"`
	Cause  string `json:"cause"`  // see exec.Cause
	Reason string `json:"reason"` // as the system or the runtime said it of each of them, else what is so of all
}

// Elsewhere is where Terminate ran, since the node that the job was submitted on was away, or tried and could not.
type Elsewhere struct {
	Node   string   `json:"node"`
	Folder string   `json:"folder"`          // on that node
	Files  []string `json:"files,omitempty"` // that are left there, the first ones
}

// HandedIn begins the Problem of a node whose results cannot be merged.
const HandedIn = "what it handed in cannot be merged"

// Skipped is what a program left out of a file of its own will, as a selector does by Abort(kAbortFile): the rest of
// the file. Such entries count as done.
type Skipped struct {
	File    string `json:"file"`
	Part    string `json:"part,omitempty"` // that was read of the file
	First   int64  `json:"first"`          // local entry
	Entries int64  `json:"entries"`
	Entry   int64  `json:"entry"`            // at which the code said so, -1 if it did before any entry of the file
	Step    string `json:"step,omitempty"`   // what was being done then: Process, or Init for Init and Notify
	Reason  string `json:"reason,omitempty"` // what the code gave as its reason
	// entries behind First that may be in the result nevertheless, since a failure had divided the file
	Ran int64 `json:"ran,omitempty"`
}

// OutputFile is a file that the program has written beside its output, merged over all processes. `get` fetches it with
// the output.
type OutputFile struct {
	Name    string `json:"name"`              // relative, as `get` names it
	Path    string `json:"path,omitempty"`    // where it was written when Terminate ran, on that node
	Dataset string `json:"dataset,omitempty"` // that it is a part of
	// Registered says that the job has registered the dataset, as `dtpnode dataset add` does.
	Registered bool          `json:"registered,omitempty"`
	Note       string        `json:"note,omitempty"`  // what the user should know of it
	Bytes      int64         `json:"bytes"`           // 0 if Terminate has removed it
	Trees      []TreeEntries `json:"trees,omitempty"` // the first 20 in it
}

// TreeEntries says how many entries a tree has.
type TreeEntries struct {
	Name    string `json:"name"` // with its folders in the file
	Entries int64  `json:"entries"`
}

// LeftFile is a file that processes have left in their working folders, and that is no output.
type LeftFile struct {
	Name  string `json:"name"`  // empty for all that are not named
	Times int64  `json:"times"` // how many processes left one
}

// Missing is a range that is not in the result, and why. Last is -1 if the file's length is unknown.
type Missing struct {
	File   string   `json:"file"`
	Units  [2]int64 `json:"units"` // as a half-open range; empty, 0 and 0, if they have no numbers
	First  int64    `json:"first"` // local entry
	Last   int64    `json:"last"`
	Kind   string   `json:"kind"` // see exec.Kind
	Reason string   `json:"reason"`
	Nodes  []string `json:"nodes"`           // names of the nodes that tried
	Words  []string `json:"words,omitempty"` // what each of Nodes said, where no node could read the file
	Tries  int      `json:"tries"`
	Stack  string   `json:"stack,omitempty"`
	Tail   string   `json:"tail,omitempty"` // last lines the child printed
	// Listed says that First and Last count the entries that lists name (JobRequest.EntryLists), and not all of the file.
	Listed bool `json:"listed,omitempty"`
}

// OpenHasNoNumbers is the error for an open job for which entries are chosen, or that is to have friends.
func OpenHasNoNumbers() *Error {
	return &Error{
		Status: http.StatusBadRequest,
		Message: "could not submit: an open job takes no lists of entries and no friends, since they go by the numbers " +
			"that entries have over all files, and what will be appended has none yet",
		Hint: "leave --open out, and run over what is there; what comes later is for a job of its own",
	}
}

// BranchAdvice says what to do about a branch that the selector asks for and that ROOT does not find, or cannot read.
// reason is what ROOT says: a name with a dot in it may be that of a friend's branch.
func BranchAdvice(reason string) string {
	for _, s := range []string{"unhandled streamer element", "not implemented", "should be accessed through"} {
		if strings.Contains(reason, s) {
			return "ROOT cannot read the branch in this way, in one process neither: take it out of the selector, which may " +
				"have all branches since MakeSelector made it, or read it by its address; --allow-missing-branches goes on " +
				"without it, as ROOT does"
		}
	}
	if strings.Contains(reason, "does not correspond to the type needed") {
		return "the variable whose address the selector gives is to be of the branch's type, the second one of these: " +
			"`rootls -t FILE` shows it; --allow-missing-branches goes on without it, as ROOT does"
	}
	if strings.Contains(reason, "CollectionProxy") {
		return "what is in the branch has no dictionary: name its class in the selector, as by #pragma link C++ class " +
			"vector<vector<float> >+; or give a library that has one with --lib"
	}
	of := "TREE"
	if words := strings.Fields(reason); len(words) > 0 {
		last := strings.Trim(words[len(words)-1], ".\"'")
		if i := strings.Index(reason, "a branch called "); i >= 0 {
			last, _, _ = strings.Cut(reason[i+len("a branch called "):], " ")
		}
		if name, _, ok := strings.Cut(last, "."); ok && name != "" {
			of = name
		}
	}
	return "`rootls -t FILE` lists the branches; if files may lack it, say --allow-missing-branches; if it is of " +
		"another tree that is read beside, say --friend " + of + "=FILES"
}

// Check is what a try of a job's first entries has found. Nothing of it is kept.
type Check struct {
	File       string        `json:"file"`    // whose first entries were run; empty if there was none
	Entries    int64         `json:"entries"` // of these
	Units      int64         `json:"units"`   // wanted of all files
	Files      int           `json:"files"`
	Timed      int64         `json:"timed"`   // of Entries, but for the first ones, which open the file
	Seconds    float64       `json:"seconds"` // for Timed, in one process
	Rate       float64       `json:"rate"`    // entries/s of one process
	Slots      int           `json:"slots"`   // of this host
	AllSlots   int           `json:"all_slots"`
	Here       float64       `json:"estimate_seconds"`     // for all wanted entries on this host
	Everywhere float64       `json:"estimate_all_seconds"` // and on all members that can work for it
	Objects    []CheckObject `json:"objects"`              // of the output list after Terminate
	Apart      []string      `json:"apart,omitempty"`      // that could not be merged
	Warnings   []string      `json:"warnings,omitempty"`
	Stdout     string        `json:"stdout,omitempty"` // what Begin and Terminate printed
}

// CheckEvent is one line of what the daemon tells of a check: what it does just now, and at last what came of it.
type CheckEvent struct {
	Phase  string `json:"phase,omitempty"`
	Check  *Check `json:"check,omitempty"`
	Failed *Error `json:"failed,omitempty"`
}

// CheckObject is one object of an output list.
type CheckObject struct {
	Name    string  `json:"name"`
	Class   string  `json:"class"`
	Entries float64 `json:"entries"` // of a histogram or a tree, else -1
}

// Cancellation answers a request to cancel a job.
type Cancellation struct {
	ID      string `json:"id"`
	Pending string `json:"pending,omitempty"` // why the job is not cancelled yet; the daemon sees to it. Empty: it is
}

// Event is one line of a job's event stream. Type "status" carries a status (sent several times a
// second and once at the end), "log" a line that the client side printed (Begin, Terminate).
type Event struct {
	Type   string     `json:"type"`
	Status *JobStatus `json:"status,omitempty"`
	Line   string     `json:"line,omitempty"`
}

// LogPart is one line of what the daemon tells of what a job's children printed: new lines of one node, or, as the
// last, that there is no more, and whose lines may be missing.
type LogPart struct {
	Node string `json:"node,omitempty"` // peer id
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"` // whole lines

	Over bool `json:"over,omitempty"` // it is the last
	// that may have worked for the job, and did not tell what was printed there
	Silent []SilentNode `json:"silent,omitempty"`
}

// SilentNode is a node that did not answer.
type SilentNode struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Member is one member of the cluster.
type Member struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Rights    []string  `json:"rights"` // "worker", "submitter", "inviter", "admin", "read"
	Addrs     []string  `json:"addrs"`
	Joined    time.Time `json:"joined"`
	Self      bool      `json:"self"`
	Up        bool      `json:"up"`
	RTT       float64   `json:"rtt_ms"`
	Slots     int       `json:"slots"`
	Runtimes  []Runtime `json:"runtimes,omitempty"` // what it runs jobs with, as it was last told
	Version   string    `json:"version"`
	Founder   bool      `json:"founder,omitempty"`   // it has the founder's role
	Ephemeral bool      `json:"ephemeral,omitempty"` // it is forgotten after minutes without a word
	Note      string    `json:"note,omitempty"`      // what is wrong with it, such as another version of dtpnode

	State    MemberState `json:"state"`
	Seen     *time.Time  `json:"seen,omitempty"`     // when it was last up, as far as the asked node knows
	Protocol int         `json:"protocol,omitempty"` // the newest number that it speaks, if it has told

	// of the asked node's clock, to a tenth, negative if it is behind; while it is up
	ClockAhead float64 `json:"clock_ahead_seconds,omitempty"`
}

// Links tells which members are not connected to each other though both are up. Each knows of its own links alone; what
// another member says is its word.
type Links struct {
	Pairs  []NoLink    `json:"pairs"`
	More   int         `json:"more,omitempty"`   // pairs that were left out
	Silent []NoLinkEnd `json:"silent,omitempty"` // members that are up and did not say whom they reach, and why
}

// NoLink is a pair of members that are up and of which one at least has no link to the other.
type NoLink struct {
	A   NoLinkEnd `json:"a"`
	B   NoLinkEnd `json:"b"`
	Via []string  `json:"via,omitempty"` // where the asked node has no link to the other: who says that it has one
}

// NoLinkEnd is one of a NoLink.
type NoLinkEnd struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Self   bool   `json:"self,omitempty"`   // it is the node that was asked
	Says   string `json:"says,omitempty"`   // the addresses of the other that it tried, and what came of each
	Denies bool   `json:"denies,omitempty"` // it says that there is a link
}

// MemberState says whether a member is up, as one node sees it.
type MemberState string

// The states of a member.
const (
	MemberSelf   MemberState = "self"
	MemberUp     MemberState = "up"
	MemberLeft   MemberState = "left"    // it went on its own word: dtpnode down
	MemberLost   MemberState = "lost"    // it went without a word
	MemberNoLink MemberState = "no link" // others say that it is up, and the node that tells this has no link to it
	MemberUnseen MemberState = "unseen"  // it was never up for the node that tells this
	MemberNone   MemberState = "none"    // the node that tells this is no member any more, and hears of nobody
)

// MemberStates are all of them.
func MemberStates() []MemberState {
	return []MemberState{MemberSelf, MemberUp, MemberLeft, MemberLost, MemberNoLink, MemberUnseen, MemberNone}
}

// Expulsion is how a node's membership ended.
type Expulsion struct {
	By      string    `json:"by,omitempty"`      // peer id of the member whose word ended it, if that is known
	ByName  string    `json:"by_name,omitempty"` // its name
	Revoked bool      `json:"revoked"`           // else forgotten, as members are that are not seen for long
	Since   time.Time `json:"since"`             // when the node heard of it
}

// String says it in a sentence, and what to do.
func (e Expulsion) String() string {
	how, why := "forgotten", ", as members are that are gone"
	if e.Revoked {
		how, why = "revoked", ""
	}
	if by := cmp.Or(e.ByName, e.By); by != "" {
		how += " by " + by
	}
	how += why
	return fmt.Sprintf("this node is no member of its cluster any more: it was %s; it heard so at %s", how,
		e.Since.Local().Format(time.DateTime))
}

// LostHost says what the loss of one host means in a cluster of so many, where that is worth knowing: up to three.
func LostHost(members int) string {
	switch members {
	case 2:
		return "two hosts have no majority: a job goes on without the one, and waits for the other, which leads it (mostly " +
			"the one it was submitted on). " +
			"With a third host any one may be lost"
	case 3:
		return "with three hosts or more any one may be lost, and jobs go on"
	}
	return ""
}

// ExpelledHint is what the user of a node that was expelled can do.
const ExpelledHint = "to come back, ask for an invitation (dtpnode invite, on a member) and `dtpnode join TOKEN` " +
	"here; to begin a cluster of its own, `dtpnode down --leave`"

// Runtime is what a node runs one kind of jobs with.
type Runtime struct {
	Kind        string `json:"kind"` // of work that it does
	Version     string `json:"version"`
	Environment string `json:"environment,omitempty"` // by whose name jobs ask for it; empty for none
	Dir         string `json:"dir,omitempty"`         // where it is installed, on the asked node alone
	Problem     string `json:"problem,omitempty"`     // why it cannot be used now; of another member the beginning of that
}

// NodeStatus describes the daemon.
type NodeStatus struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Addrs    []string  `json:"addrs"`
	Cluster  string    `json:"cluster"` // peer id of the node that founded it
	Members  int       `json:"members"`
	Up       int       `json:"up"`
	Slots    int       `json:"slots"`
	Busy     int       `json:"busy"`
	Runtimes []Runtime `json:"runtimes,omitempty"` // what it runs jobs with, the preferred first
	RSS      int64     `json:"rss"`                // bytes, the daemon alone
	Uptime   float64   `json:"uptime"`             // seconds
	StateDir string    `json:"state_dir"`
	Steal    Histogram `json:"steal"`  // request to grant, as thief
	Packet   Histogram `json:"packet"` // daemon's cost of a packet beyond the child's time
	// all that is kept for jobs: the next, ledgers with what is committed, results
	Kept     int64 `json:"kept_bytes"`
	KeptOpen int64 `json:"kept_uncommitted_bytes"` // of it partial results that are not committed
	// bound of kept_uncommitted_bytes; what has no room waits in its process
	KeptMax  int64  `json:"kept_limit"`
	Ledgers  int    `json:"ledgers"` // copies of jobs' ledgers
	Problem  string `json:"problem,omitempty"`
	Starting string `json:"starting,omitempty"` // the runtime that is being started: until then no job runs here
	Protocol int    `json:"protocol"`           // the newest number of the protocol that it speaks

	Expelled *Expulsion `json:"expelled,omitempty"` // it is no member of its cluster any more

	Unseen []Unseen `json:"unseen,omitempty"` // what this host does not see of the jobs that it works for
	Wrongs []Wrongs `json:"wrongs,omitempty"` // members that have sent this node what breaks the rules, by id
}

// Wrongs counts the messages of a member that broke the rules since this daemon started: those that it had no right to
// send, or that no honest node sends. They had no effect.
type Wrongs struct {
	ID     string         `json:"id"`
	Name   string         `json:"name,omitempty"`
	Counts map[string]int `json:"counts"` // by what was wrong, in words
}

// Histogram summarises durations in milliseconds.
type Histogram struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Rights are the rights that an invitation can give; package p2p says what each is for.
func Rights() []string { return []string{"worker", "submitter", "inviter", "admin", "read"} }

// InviteRequest asks for a token. TTL is in seconds.
type InviteRequest struct {
	Rights    []string `json:"rights"`
	TTL       float64  `json:"ttl_seconds"`
	Ephemeral bool     `json:"ephemeral,omitempty"` // the host that joins is forgotten after minutes without a word
}

// Invite is a one-use token.
type Invite struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Rights  []string  `json:"rights"`
	Warning string    `json:"warning,omitempty"` // e.g. only loopback addresses inside
	// what the loss of one host means once the token is used, in a small cluster
	Note string `json:"note,omitempty"`
}

// JoinRequest carries the token.
type JoinRequest struct {
	Token     string `json:"token"`
	Ephemeral bool   `json:"ephemeral,omitempty"` // this host is forgotten after minutes without a word
}

// HandoverRequest names the member that gets the founder's role.
type HandoverRequest struct {
	ID string `json:"id"`
}

// RecoveryKey is the key that can take the founder's role. It is told once.
type RecoveryKey struct {
	Key string `json:"key"`
}

// TakeBackRequest carries the recovery key to the host that is to have the founder's role.
type TakeBackRequest struct {
	Key string `json:"key"`
}

// RevokeRequest names a member to put out of the cluster, or to forget.
type RevokeRequest struct {
	ID string `json:"id"`
	// WithInvited puts out whom the member has admitted, too, and whom these have.
	WithInvited bool `json:"with_invited,omitempty"`
}

// RenameRequest says what the node is to be called.
type RenameRequest struct {
	Name string `json:"name"`
}

// Revoked tells what a revocation stopped.
type Revoked struct {
	Stopped []StoppedJob `json:"stopped"` // jobs of the member that had not ended, and of those that were put out with it
	// Invited are members that were such by its word, or by that of these. They stay, by the word of the node that has put
	// it out, unless they were to be put out with it.
	Invited []InvitedMember `json:"invited,omitempty"`
}

// InvitedMember is somebody whom a member has admitted that was put out.
type InvitedMember struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Revoked bool   `json:"revoked"`         // it was put out too
	Error   string `json:"error,omitempty"` // why it could not be, though it was to be
}

// StoppedJob is a job that its submitter's revocation stops. Ended says that it was over, or that no member has its
// ledger, when the answer was given; else it stops as soon as the nodes that keep its ledger can be reached.
type StoppedJob struct {
	ID    string `json:"id"`
	Ended bool   `json:"ended"`
}

// Manifest describes what `dtpnode get --partials` writes: which entries are in which file. It is manifest.json beside
// the files.
type Manifest struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	State     JobState  `json:"state"`
	Node      string    `json:"node"`      // name of the node whose copy of the ledger this is
	Units     int64     `json:"units"`     // wanted
	Committed int64     `json:"committed"` // in these files; while the job runs there will be more
	Format    string    `json:"format"`    // FormatOutput or FormatBlob
	Merged    bool      `json:"merged"`    // one file holds all: the output as it was before Terminate
	Note      string    `json:"note,omitempty"`
	Missing   []Missing `json:"missing,omitempty"` // what has been given up
	Parts     []Part    `json:"parts"`
}

// The formats of the files of a Manifest.
const (
	FormatOutput = "output" // as the job's own output is written
	FormatBlob   = "blob"   // as dtpnode keeps partial results, to be merged by `dtpnode finish`
)

// Part is one file of a Manifest.
type Part struct {
	Name    string        `json:"name"` // of the file
	Bytes   int64         `json:"bytes"`
	SHA256  string        `json:"sha256"`
	Units   int64         `json:"units"`
	Entries []EntryRanges `json:"entries"`
	// File is the name of the output file that this is, of those that the program writes beside its output; it has the
	// same entries as the part before it that is none
	File string `json:"file,omitempty"`
}

// EntryRanges are the entries of one input file that are in a part, as half-open ranges.
type EntryRanges struct {
	File   string     `json:"file"`
	Ranges [][2]int64 `json:"ranges"`
}

// Recovery is what it means to go on with a job from the copies of its ledger that are left.
type Recovery struct {
	ID        string `json:"id"`
	Units     int64  `json:"units"`     // wanted
	Committed int64  `json:"committed"` // in the newest copy
	// the rest, but for what was given up: what of it was committed runs again
	Open int64 `json:"open"`
	// that are left; the job goes on from the first: the newest that is proven, or the one that was asked for
	Copies    []LedgerCopy `json:"copies"`
	Lost      []LostCopy   `json:"lost"`                // the others
	Recovered bool         `json:"recovered,omitempty"` // it was recovered before
	// Superseded says that these are copies that were put aside for a recovery; the job as it goes on now, if it does,
	// would be given up.
	Superseded bool `json:"superseded,omitempty"`
}

// LedgerCopy is one copy of a job's ledger.
type LedgerCopy struct {
	Node      string `json:"node"` // peer id
	Name      string `json:"name"`
	Index     uint64 `json:"index"` // of the last entry in its log; with Term it tells which copy is newer
	Term      uint64 `json:"term"`
	Committed int64  `json:"committed"` // units
	Parts     int    `json:"parts"`     // partial results that it names
	// of these, that the node does not have: fetched from whoever has them, else their units run again
	Lacking  int       `json:"lacking"`
	Written  time.Time `json:"written"`            // when it last changed
	Unproven bool      `json:"unproven,omitempty"` // the member does not prove that it keeps the ledger: it may lie
	// SupersededBy and SupersededFor are who has signed the recovery for which the copy was put aside, and from whose copy
	// that went on; both are empty for a copy that counts. Written is when it was put aside then.
	SupersededBy  string `json:"superseded_by,omitempty"`
	SupersededFor string `json:"superseded_for,omitempty"`
}

// LostCopy is a copy of a job's ledger that nobody tells of.
type LostCopy struct {
	Node string `json:"node"` // peer id
	Name string `json:"name"`
	Up   bool   `json:"up"` // the node is up, and does not have it any more
}

// RecoverRequest names the copy to go on from, as Recovery.Copies tells of it.
type RecoverRequest struct {
	Node   string `json:"node"`
	Index  uint64 `json:"index"`
	Term   uint64 `json:"term"`
	Chosen bool   `json:"chosen,omitempty"` // the user wants this one, whichever is the newest
	// Superseded says that the copy was put aside.
	Superseded bool `json:"superseded,omitempty"`
}
