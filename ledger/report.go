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
	Held    tasks.Cover `msgpack:"h"` // waiting, running, or sealed here
	// Also is what this node answers for beside Held, though others hold it too: given away so lately that
	// the taker may not have reported it, or merged here from other nodes' partials.
	Also     tasks.Cover   `msgpack:"o"`
	Ran      int64         `msgpack:"n"` // units processed and not yet committed
	Left     time.Duration `msgpack:"l"` // run time of what waits here
	Failures []Failure     `msgpack:"f"` // repeated until they are acknowledged
	// Unseen tells what this host cannot read now, though others may; at most MaxUnseen groups. Presumed is what
	// of that it has not tried yet.
	Unseen   []Unseen    `msgpack:"u,omitempty"`
	Presumed tasks.Cover `msgpack:"p,omitempty"`
	Blames   []Blame     `msgpack:"b,omitempty"` // who lost most of what it took from this node; at most maxBlames
	Stats    Stats       `msgpack:"s"`
	// Traced says that Gave tells all that this node has given others lately, to run or in partials to be merged. It
	// does where reports come often.
	Traced bool   `msgpack:"t,omitempty"`
	Gave   []Gift `msgpack:"g,omitempty"`
	// Aside says that the job was taken from this node, since all of it failed here: a home that has taken the lead
	// over, or that lost the link for a moment, learns it from this.
	Aside bool `msgpack:"i,omitempty"`
	// Appends is how many appends of an open job this node has, and Sum that of all of them.
	Appends uint64 `msgpack:"a,omitempty"`
	Sum     []byte `msgpack:"z,omitempty"`
}

// Stats counts one node's work for a job.
type Stats struct {
	Units       int64   `msgpack:"u"`
	Bytes       int64   `msgpack:"b"`
	Rate        float64 `msgpack:"r"` // units/s of the node
	Packets     int64   `msgpack:"p"`
	Steals      int64   `msgpack:"s"`
	Merges      int64   `msgpack:"m"`
	Generations int64   `msgpack:"g"`
	Failures    int64   `msgpack:"f"`
}

// Failure tells that user code or data failed on a node. Blame is empty when no unit is to blame.
type Failure struct {
	Seq    uint64      `msgpack:"q"` // counts a node's failures for the job
	Blame  tasks.Range `msgpack:"b"`
	Kind   string      `msgpack:"k"`
	Reason string      `msgpack:"r"`
	Stack  string      `msgpack:"s"`
	Tail   string      `msgpack:"t"`
	// Here says that the node is suspected too: the file may be there for others (kind open).
	Here bool `msgpack:"h"`
	// Host says in a word why the host, and not the file, is to blame: it does not see the file (see
	// exec.Cause). Empty for all other failures.
	Host string `msgpack:"w,omitempty"`
	// Data says that the input is to blame, not the code.
	Data bool `msgpack:"d"`
	// Fatal says that no other attempt can go better: the selector gave the job up.
	Fatal bool `msgpack:"f"`
}

// maxText bounds each text of a Failure, in bytes: user code writes them, and they must fit into a message and an
// entry of the log.
const maxText = 8 << 10

// Cut returns f with texts of bounded length: the beginning of what happened, the end of what was printed.
func (f Failure) Cut() Failure {
	const mark = " [...] "
	if len(f.Reason) > maxText {
		f.Reason = strings.ToValidUTF8(f.Reason[:maxText], "") + mark
	}
	if len(f.Stack) > maxText {
		f.Stack = strings.ToValidUTF8(f.Stack[:maxText], "") + mark
	}
	if n := len(f.Tail); n > maxText {
		f.Tail = mark + strings.ToValidUTF8(f.Tail[n-maxText:], "")
	}
	return f
}

// reported takes a node's word. An older one than known is late, or a repetition; unless nothing newer has come
// for long: then the newer ones were those of another process with the node's identity, which is gone.
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
	h.knowAside(from, r.Aside)
	h.lookAgain(false, h.follow(from, n, &n.report))
	n.report.Ran = min(n.report.Ran, h.has(from, n).Len()+n.also().Len()) // who was given nothing has run nothing
	if first {
		h.becameReady(from, n)
	}
}

// valid reports whether all that a report speaks of is of the job.
func (r *Report) valid(want tasks.Range) bool {
	return r.Held.Valid(want) && r.Also.Valid(want) && r.unseenValid(want) && r.giftsValid(want)
}

// plausible bounds numbers, which are shown, sorted by and summed up, by what a job of so many units can have cost a
// node at most.
func (r Report) plausible(want int64) Report {
	most := min(someRuns*want+smallRuns, mostUnits)
	r.Ran, r.Left = min(max(r.Ran, 0), want), max(r.Left, 0)
	s := &r.Stats
	for _, v := range []*int64{&s.Units, &s.Packets, &s.Steals, &s.Merges, &s.Generations, &s.Failures} {
		*v = min(max(*v, 0), most)
	}
	s.Bytes = min(max(s.Bytes, 0), most*min(mostBytes, math.MaxInt64/most/mostNodes))
	r.Blames = r.Blames[:min(len(r.Blames), maxBlames)]
	if !(s.Rate >= 0 && s.Rate <= mostRate) {
		s.Rate = 0
	}
	return r
}

// Bounds of what a node may say that it has done: each unit so many times, and some more in a small job, whose units
// may be tried again and again; and all in all so much that sums over all nodes are numbers still.
const (
	someRuns  = 16
	smallRuns = 1000
	mostUnits = 1 << 50
	mostBytes = 64 << 20 // read for a unit
	mostNodes = 1 << 10
	mostRate  = 1e12 // units a second
)

// lastSeq is the number of the newest of failures.
func lastSeq(fs []Failure) (s uint64) {
	for _, f := range fs {
		s = max(s, f.Seq)
	}
	return s
}
