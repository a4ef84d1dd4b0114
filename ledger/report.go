package ledger

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Report is a node's regular word to the home of a job it takes part in.
type Report struct {
	Seq     uint64      `msgpack:"q"` // counts the node's reports, so that a late one is known
	Ready   bool        `msgpack:"y"` // the job's code is loaded, and work may be dealt here
	Leaving bool        `msgpack:"e"` // the node hands its work back and goes
	Held    tasks.Cover `msgpack:"h"` // units that wait, run, or are sealed here
	// Also is units that this node answers for though others hold them: those that it gave away so lately that the taker
	// may not have reported them, and those in merges that it has made of others' partials.
	Also     tasks.Cover   `msgpack:"o"`
	Ran      int64         `msgpack:"n"` // how many units were processed here and are not committed yet
	Left     time.Duration `msgpack:"l"` // how long what waits here will take
	Failures []Failure     `msgpack:"f"` // repeated until they are acknowledged
	// Unseen tells what this host cannot read now, though others may, in at most MaxUnseen groups. Presumed is the units
	// of it that this host has not tried to read yet.
	Unseen   []Unseen    `msgpack:"u,omitempty"`
	Presumed tasks.Cover `msgpack:"p,omitempty"`
	Blames   []Blame     `msgpack:"b,omitempty"` // nodes that lost what they took from this one; at most maxBlames
	Stats    Stats       `msgpack:"s"`
	// Traced says that Gave tells all that this node has given others lately, to run or in partials to be merged. That is
	// so where reports are frequent.
	Traced bool   `msgpack:"t,omitempty"`
	Gave   []Gift `msgpack:"g,omitempty"`
	// Aside says that the job was taken from this node, since all of it failed here. A home that has taken over the lead,
	// or that had lost the link, learns it from this.
	Aside bool `msgpack:"i,omitempty"`
	// Appends is how many appends of an open job this node knows, and Sum the sum over all of them.
	Appends uint64 `msgpack:"a,omitempty"`
	Sum     []byte `msgpack:"z,omitempty"`
	// Full is why this node's disk takes nothing more of an open job, which waits here until it does; empty if it does.
	Full string `msgpack:"x,omitempty"`
}

// Stats counts one node's work for a job.
type Stats struct {
	Units       int64   `msgpack:"u"`
	Bytes       int64   `msgpack:"b"`
	Rate        float64 `msgpack:"r"` // units a second, of the whole node
	Packets     int64   `msgpack:"p"`
	Steals      int64   `msgpack:"s"`
	Merges      int64   `msgpack:"m"`
	Generations int64   `msgpack:"g"`
	Failures    int64   `msgpack:"f"`
	Slots       int64   `msgpack:"t,omitempty"` // milliseconds for which generations had slots, all together
}

// Failure is what a job's record says of a failure: of user code, of data or of a node. What a runtime says of it is an
// exec.Failure; package worker makes this of that.
type Failure struct {
	Seq    uint64      `msgpack:"q"` // counts the failures of a node for the job
	Blame  tasks.Range `msgpack:"b"` // the units that are to blame; empty for none
	Kind   string      `msgpack:"k"` // an exec.Kind
	Reason string      `msgpack:"r"` // for the user, one line
	Stack  string      `msgpack:"s"` // stack trace; may be empty
	Tail   string      `msgpack:"t"` // what the process printed last
	// Here says that the node is suspected, too, since others may be able to open the file (kind open).
	Here bool `msgpack:"h"`
	// Host is an exec.Cause if the host does not see the file, and so is to blame for it; otherwise empty.
	Host string `msgpack:"w,omitempty"`
	// Data says that the input is to blame, and not the code.
	Data bool `msgpack:"d"`
	// Fatal says that no other attempt can go better, since the code gave the whole job up.
	Fatal bool `msgpack:"f"`
	// Adds says that results could not be added to one another: no unit is to blame, and the job has no result unless they
	// can be.
	Adds bool `msgpack:"ad,omitempty"`
	// Cause is the user's exception for clients in the runtime's language, as bytes of which a home knows nothing.
	Cause string `msgpack:"cs,omitempty"`
}

// maxText bounds each text of a Failure, in bytes. User code writes them, and they must fit into a message and an entry
// of the log.
const maxText = 8 << 10

// maxCause bounds a Failure's Cause, which is left out if it has more bytes.
const maxCause = 16 << 10

// Cut returns f with texts of bounded length: the beginning of what happened, the end of what was printed.
func (f Failure) Cut() Failure {
	const mark = " [...] "
	if len(f.Reason) > maxText {
		f.Reason = strings.ToValidUTF8(f.Reason[:maxText], "") + mark
	}
	if len(f.Stack) > maxText {
		f.Stack = strings.ToValidUTF8(f.Stack[:maxText], "") + mark
	}
	if len(f.Cause) > maxCause {
		f.Cause = ""
	}
	if n := len(f.Tail); n > maxText {
		f.Tail = mark + strings.ToValidUTF8(f.Tail[n-maxText:], "")
	}
	return f
}

// reported takes a node's report. A report that is older than the last one is late, or repeated, and is dropped. But if
// nothing has come for long, the newer ones were those of another process with the node's key that is gone now.
func (h *Home) reported(from tasks.PeerID, r Report) {
	n := h.nodes.byID[from]
	if n == nil || n.heard && r.Seq <= n.report.Seq && !h.nodes.stale(from, h.now) || !r.valid(h.record.Want) {
		return
	}
	fresh := slices.DeleteFunc(slices.Clone(r.Failures), func(f Failure) bool {
		return n.heard && f.Seq <= lastSeq(n.report.Failures)
	})
	first := r.Ready && !h.nodes.loaded(from)
	n.report = r.plausible(h.record.Want.Len())
	n.sees()
	h.blame.leave(from, n.blind) // what it cannot try
	if r.Ready || n.slots == 0 {
		delete(h.sight.away, from)
	}
	n.fresh = n.fresh || h.stopping.begun
	n.knows = n.report.Appends
	h.nodes.speaks(n, h.now)
	for _, f := range fresh {
		h.failed(from, f)
	}
	if done := h.record.Done.Cover(); r.Held.Intersects(done) {
		h.emit(Drop{To: from, Cover: r.Held.Intersect(done)})
	}
	h.recovered(from, n)
	h.knowAside(from, r.Aside)
	h.lookAgain(false, h.follow(from, n, &n.report))
	n.report.Ran = min(n.report.Ran, h.has(from, n).Len()+n.also().Len()) // who was given nothing has run nothing
	if first {
		h.becameReady(from, n)
	}
}

// valid reports whether all units in a report are of the job.
func (r *Report) valid(want tasks.Range) bool {
	return r.Held.Valid(want) && r.Also.Valid(want) && r.unseenValid(want) && r.giftsValid(want)
}

// plausible bounds the numbers in a report, which are displayed, sorted by and summed up, by the most that a job of so
// many units can have cost a node.
func (r Report) plausible(want int64) Report {
	most := min(someRuns*want+smallRuns, mostUnits)
	r.Ran, r.Left = min(max(r.Ran, 0), want), max(r.Left, 0)
	s := &r.Stats
	for _, v := range []*int64{&s.Units, &s.Packets, &s.Steals, &s.Merges, &s.Generations, &s.Failures} {
		*v = min(max(*v, 0), most)
	}
	s.Slots = min(max(s.Slots, 0), mostSlots)
	s.Bytes = min(max(s.Bytes, 0), most*min(mostBytes, math.MaxInt64/most/mostNodes))
	r.Blames = r.Blames[:min(len(r.Blames), maxBlames)]
	if !(s.Rate >= 0 && s.Rate <= mostRate) {
		s.Rate = 0
	}
	return r
}

// Bounds of what a node may say that it has done.
const (
	someRuns  = 16       // how often it may have run each unit
	smallRuns = 1000     // units beyond that, since those of a small job may be tried again and again
	mostUnits = 1 << 50  // units in all, so that sums over all nodes do not overflow
	mostBytes = 64 << 20 // bytes read for a unit
	mostSlots = 1 << 50  // milliseconds in slots, for the same reason
	mostNodes = 1 << 10  // over how many nodes bytes can be summed up
	mostRate  = 1e12     // units a second
)

// lastSeq is the number of the newest failure, 0 for none.
func lastSeq(fs []Failure) (s uint64) {
	for _, f := range fs {
		s = max(s, f.Seq)
	}
	return s
}
