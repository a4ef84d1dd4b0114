package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// Entry is one change of a job's record, as it stands in the replicated log: exactly one field is set.
type Entry struct {
	// Commit is a partial whose blob a quorum keeps; R3 decides once more when it is applied.
	Commit *merge.Partial `msgpack:"c,omitempty"`
	// Fold is the merge of committed partials, its kids, that takes their place; a quorum keeps its blob.
	Fold *merge.Partial `msgpack:"f,omitempty"`
	// Uncommit is a committed partial whose blob is damaged or gone everywhere: its units are run again.
	Uncommit *merge.ID `msgpack:"u,omitempty"`
	// Append is the next step by which an open job grows.
	Append  *tasks.Append `msgpack:"g,omitempty"`
	Lost    *Lost         `msgpack:"l,omitempty"` // units that are set aside
	Stop    *Stop         `msgpack:"s,omitempty"` // the job is wound up
	End     *End          `msgpack:"e,omitempty"` // nothing more is committed
	Result  *Result       `msgpack:"r,omitempty"` // the job is over
	Attempt *Attempt      `msgpack:"a,omitempty"` // the result could not be made
	Retry   *Retry        `msgpack:"y,omitempty"` // the result is to be tried again
}

// End says that nothing more is committed. In a job that was stopped the units that are open then are told as missing;
// in any other job there must be none.
type End struct{}

// Result is what a job leaves: a file that a quorum keeps, and what its users are told.
type Result struct {
	SHA256 string `msgpack:"h"` // of the file, hex; empty for a job without a file
	Size   int64  `msgpack:"z"` // of the file, bytes
	Status []byte `msgpack:"s"` // how the job ended, in the daemon's encoding; at most MaxStatus bytes
}

// Sum is a hash, hex, over all fields of the result, each with its length.
func (r *Result) Sum() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %d %d ", len(r.SHA256), r.SHA256, r.Size, len(r.Status))
	h.Write(r.Status)
	return hex.EncodeToString(h.Sum(nil))
}

// MaxStatus bounds Result.Status, which must fit into one record of the log.
const MaxStatus = 256 << 10

// Lost is a range that is not in the result, and why.
type Lost struct {
	Range tasks.Range
	Failed
}

// Failed says how something has failed, over all tries. Failure is the last one.
type Failed struct {
	Failure
	Nodes []tasks.PeerID // that have tried
	Words []string       `msgpack:",omitempty"` // what each of Nodes said, if that may differ; else empty
	Tries int            // on all nodes together
}

// Record is the part of a job's state that outlives its home: every replica holds it, and it changes only
// by entries of the log, in their order.
type Record struct {
	Want   tasks.Range // all units so far
	Growth Growth
	Done   merge.Committed
	Lost   []Lost
	Stop   *Stop       // nil unless the job is being wound up
	Ended  bool        // nothing more is committed
	Undone tasks.Cover // units that were committed once, and are not now
	Result *Result     // nil until the job is over

	Attempts []Attempt // attempts to make the result that have failed since the user last asked for one
	Round    uint64    // how often the user has asked for new attempts

	Commits int64 // partials that were ever committed
	Folds   int64 // merges that have ever taken the place of committed partials

	Recovery *quorum.Link // the last recovery of the ledger, nil for none; see Recover
}

// Apply makes one change and says whether it was one: an entry that the record does not admit is passed
// over, alike on every replica. For a commit the verdict says why.
func (r *Record) Apply(e Entry) (v merge.Verdict, changed bool) {
	switch {
	case r.Result != nil:
	case e.Commit != nil:
		return r.commit(*e.Commit)
	case e.Fold != nil: // after the end the parts are being made into the result, and must stay as they are
		if changed = !r.Ended && r.Done.Fold(*e.Fold); changed {
			r.Folds++
		}
	case e.Uncommit != nil:
		changed = r.uncommit(*e.Uncommit)
	case e.Append != nil:
		changed = r.grow(*e.Append)
	case e.Lost != nil:
		changed = r.setAside(*e.Lost)
	case e.Stop != nil:
		changed = r.Stop == nil
		if changed {
			r.Stop = e.Stop
		}
	case e.End != nil:
		changed = r.end()
	case e.Result != nil:
		r.Result, changed = e.Result, true
	case e.Attempt != nil:
		changed = r.attempted(*e.Attempt)
	case e.Retry != nil:
		changed = r.retry(*e.Retry)
	}
	return merge.Fresh, changed
}

func (r *Record) commit(p merge.Partial) (merge.Verdict, bool) {
	v := r.Done.Judge(p, r.Want)
	if r.Ended && v == merge.Fresh {
		return merge.Duplicate, false // it is too late, for its units are told as missing
	}
	if v != merge.Fresh {
		return v, false
	}
	r.Done.Commit(p)
	r.Commits++
	r.Undone = r.Undone.Minus(p.Cover)
	// Some of its units may be set aside after failures. Somebody has done them nevertheless, so they are in the result.
	r.Lost = without(r.Lost, p.Cover)
	return v, true
}

// uncommit takes a partial out of the record whose blob is lost.
func (r *Record) uncommit(id merge.ID) bool {
	p, ok := r.Done.Find(id)
	if !ok {
		return false
	}
	r.Done.Remove(id)
	r.Undone, r.Ended = r.Undone.Union(p.Cover), false
	return true
}

// setAside sets aside those units of a range that are neither committed nor set aside yet.
func (r *Record) setAside(l Lost) bool {
	if r.Ended {
		return false
	}
	rest := tasks.CoverOf(l.Range.Intersect(r.Want)).Minus(r.Done.Cover()).Minus(r.lostCover())
	for _, part := range rest {
		l.Range = part
		r.Lost = append(r.Lost, l)
	}
	return !rest.Empty()
}

func (r *Record) end() bool {
	rest := r.Open()
	if r.Ended || r.Stop == nil && (r.Growth.Open || !rest.Empty()) {
		return false // since it was proposed units were taken out of the record again, or appended
	}
	for _, l := range rest {
		why := Failure{Blame: l, Kind: "stopped", Reason: r.Stop.Reason}
		r.Lost = append(r.Lost, Lost{Range: l, Failed: Failed{Failure: why}})
	}
	r.Ended = true
	slices.SortFunc(r.Lost, func(a, b Lost) int { return int(min(max(a.Range.First-b.Range.First, -1), 1)) })
	return true
}

// without takes units out of a list of lost ranges.
func without(lost []Lost, c tasks.Cover) (keep []Lost) {
	for _, l := range lost {
		for _, r := range tasks.CoverOf(l.Range).Minus(c) {
			l.Range = r
			keep = append(keep, l)
		}
	}
	return keep
}

// lostCover is all units that are set aside.
func (r *Record) lostCover() tasks.Cover {
	rs := make([]tasks.Range, len(r.Lost))
	for i, l := range r.Lost {
		rs[i] = l.Range
	}
	return tasks.CoverOf(rs...)
}

// Open is the units that are wanted and neither committed nor set aside.
func (r *Record) Open() tasks.Cover {
	return tasks.CoverOf(r.Want).Minus(r.Done.Cover()).Minus(r.lostCover())
}
