package engine

import (
	"cmp"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// held is what a node with a copy of a job's ledger keeps of partials' blobs for it: those of the record, and those
// that a home has asked for, since they may be on their way to the record.
//
// A home counts on a copy to have a blob only when the copy has said so (Kept) in the home's own term, whatever it told
// homes before. What a home proposes comes in the log before what the next home does. So a copy may free a blob that is
// not in its record in three cases:
//
//   - it has applied an entry of a later term than that in which the blob was last asked for. What the home of that
//     term has proposed on the copy's word is in the record by then, or never will be;
//   - it has followed the log as far as the home had that asked (Keep.At), and the record would not admit the blob any
//     more. The home finds the same, and gives the blob up;
//   - the home says so (Keep.Free).
//
// After a restart nothing is known of the blobs on the disk but those of the record. The others are freed when an entry
// is applied of a later term than any in which this copy may have given its word (since).
//
// A copy that is behind may free what is in the record of the others already, if it was asked for that in an earlier
// term alone: it does not count among those that keep it, and is asked again. What it was asked for, and cannot judge
// yet since it is too far behind, waits in postponed and is not freed.
type held struct {
	blobs     map[merge.ID]heldBlob
	applied   uint64         // term of the last entry applied
	index     uint64         // of that entry
	postponed []Keep         // requests of a home that has applied more of the log than this copy
	result    *ledger.Result // to be kept, once this copy has followed the log to the job's end
	stale     bool           // entries were applied since tidy last looked for what may be freed
	since     uint64         // term of the log when this copy was opened
	unswept   bool           // blobs of an earlier life, of which nothing is known, may be on the disk
	hoarded   int            // requests since the last commit that were refused, as the home had too much kept
}

type heldBlob struct {
	merge.Partial
	term uint64 // of the home that has asked for it
	at   uint64 // the last entry that was applied there then
	seq  uint64 // of its request
}

// hold notes that a blob is to be here, as a home asks that has applied the log as far as at.
func (j *jobState) hold(b merge.Partial, at uint64) {
	if j.held.blobs == nil {
		j.held.blobs = map[merge.ID]heldBlob{}
	}
	j.held.blobs[b.ID] = heldBlob{Partial: b, term: j.term, at: at}
}

// maxPostponed bounds the requests that wait for this copy to follow the log.
const maxPostponed = 64

// onKeepPartial has a blob kept for the home. What this copy has yet to free may be as much as there is room for, so it
// follows the log first; one that does not for long, and is asked again, keeps the blob nevertheless.
func (p *Peer) onKeepPartial(j *jobState, k Keep) {
	same := func(l Keep) bool { return l.Partial.ID == k.Partial.ID }
	switch {
	case k.At > j.held.index && !slices.ContainsFunc(j.held.postponed, same) && len(j.held.postponed) < maxPostponed:
		j.held.postponed = append(j.held.postponed, k)
	case k.At > j.held.index && len(j.held.blobs) >= p.cfg.Ledger.MaxBlobs && !j.holds(k.Partial.ID):
		// it is of no use before it follows
	case k.At > j.held.index && !j.holds(k.Partial.ID) && p.hoards(j, *k.Partial):
		// it may be committed: this copy cannot know yet
	case !j.holds(k.Partial.ID) && p.hoards(j, *k.Partial):
		if j.held.hoarded++; j.held.hoarded > spareBlobs {
			p.violated(j.home, j.id, Hoards)
		}
		p.blobKept(j.id, j.home, Kept{ID: k.Partial.ID, Full: true, Term: j.term, Seq: k.Seq})
	case k.At > j.held.index || j.wants(*k.Partial): // else the home has not heard yet
		j.held.postponed = slices.DeleteFunc(j.held.postponed, same)
		j.hold(*k.Partial, k.At)
		b := j.held.blobs[k.Partial.ID]
		b.seq = k.Seq
		j.held.blobs[k.Partial.ID] = b
		p.emit(KeepBlob{Partial: *k.Partial, Sources: k.Sources, To: j.home, Term: j.term, Seq: k.Seq})
	}
}

// Blobs that are not committed are bounded for each job, for a home may lie about what it is to commit. One that does
// not asks for what may be on its way at once: for few blobs, and no more bytes than twice the largest or FoldFloor,
// with one fold of what is committed beside them. What it gave up goes when it says so; that may have been lost, so
// there is room for some times as much, and for what earlier homes have asked for. One that is asked by a home that is
// ahead of it takes no more either. A home is named that goes on asking and commits nothing.
const (
	spareBlobs = 64 // beside as many as may be committed
	spareTimes = 8  // the largest blob, or FoldFloor
)

// hoards reports whether a blob is one too many of those that are asked for and not committed.
func (p *Peer) hoards(j *jobState, b merge.Partial) bool {
	n, bytes, largest := 1, b.Size, b.Size
	var committed int64
	for id, h := range j.held.blobs {
		largest = max(largest, h.Size)
		if _, in := j.copy.record.Done.Find(id); in {
			committed += h.Size
			continue
		}
		n, bytes = n+1, bytes+h.Size
	}
	return n > p.cfg.Ledger.MaxBlobs+spareBlobs || bytes > committed+spareTimes*max(p.cfg.Ledger.FoldFloor, largest)
}

// keepPostponed looks again at what was asked for from ahead of this copy. What is here already comes first: its term
// is that of the request then, and what the record does not want any more can go before anything new comes.
func (p *Peer) keepPostponed(j *jobState) {
	late := j.held.postponed
	j.held.postponed = nil
	here := func(k Keep) bool { return j.holds(k.Partial.ID) }
	for _, k := range slices.DeleteFunc(slices.Clone(late), func(k Keep) bool { return !here(k) }) {
		p.onKeepPartial(j, k)
	}
	absent := slices.DeleteFunc(late, here)
	p.freeAll(j)
	for _, k := range absent {
		p.onKeepPartial(j, k)
	}
}

// holds reports whether a blob is to be here.
func (j *jobState) holds(id merge.ID) bool {
	_, ok := j.held.blobs[id]
	return ok
}

// wants reports whether the record has a partial, or may come to have it.
func (j *jobState) wants(b merge.Partial) bool {
	if _, ok := j.copy.record.Done.Find(b.ID); ok {
		return true
	}
	return j.copy.record.Done.Foldable(b.Kids) || j.copy.record.Done.Judge(b, j.copy.record.Want) == merge.Fresh
}

// noteApplied notes an entry that was just applied; tidy looks at what that has made superfluous.
func (j *jobState) noteApplied(e ledger.Entry, index, term uint64, changed bool) {
	newer := term > j.held.applied
	j.held.applied, j.held.index = max(j.held.applied, term), max(j.held.index, index)
	if changed {
		for _, b := range []*merge.Partial{e.Commit, e.Fold} {
			if b != nil {
				j.held.hoarded = 0
				j.hold(*b, j.held.index)
			}
		}
	}
	j.held.stale = j.held.stale || newer || len(j.held.postponed) > 0 ||
		changed && (e.Commit != nil || e.Fold != nil || e.Uncommit != nil)
}

// noteSnapshot is noteApplied for all entries up to an index at once, by a snapshot of the record.
func (j *jobState) noteSnapshot(index uint64) {
	j.held.index, j.held.stale = max(j.held.index, index), true
	for _, b := range j.copy.record.Done.Parts() {
		j.hold(b, j.held.index)
	}
}

// tidy frees what is superfluous, after all entries that have come at once: an earlier one may speak against what a
// later one commits.
func (p *Peer) tidy(j *jobState) {
	if !j.held.stale {
		return
	}
	j.held.stale = false
	p.freeAll(j)
	if j.held.unswept && j.held.applied > j.held.since && !mutant.On(mutant.NeverFree) {
		j.held.unswept = false
		sweep := SweepBlobs{Job: j.id}
		for _, b := range j.sortedBlobs() {
			sweep.Keep = append(sweep.Keep, b.Partial)
		}
		p.emit(sweep)
	}
	p.keepPostponed(j)
}

// freeAll frees what is neither in the record nor can come there any more on this copy's word.
func (p *Peer) freeAll(j *jobState) {
	if mutant.On(mutant.NeverFree) || j.copy.record.Ended {
		return
	}
	for _, b := range j.sortedBlobs() {
		_, in := j.copy.record.Done.Find(b.ID)
		asked := slices.ContainsFunc(j.held.postponed, func(k Keep) bool { return k.Partial.ID == b.ID })
		old := b.term < j.held.applied || b.term == j.held.applied && mutant.On(mutant.FreeAsked)
		if !in && !asked && (old || b.at <= j.held.index && !j.wants(b.Partial)) {
			p.free(j, b.Partial)
		}
	}
}

// sortedBlobs are in the order of their names, for effects must not depend on that of a map.
func (j *jobState) sortedBlobs() []heldBlob {
	out := make([]heldBlob, 0, len(j.held.blobs))
	for _, b := range j.held.blobs {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b heldBlob) int {
		return cmp.Or(cmp.Compare(a.ID.Node, b.ID.Node), cmp.Compare(a.ID.Seq, b.ID.Seq))
	})
	return out
}

// release gives up what has not come to the record.
func (p *Peer) release(j *jobState, id merge.ID) {
	if _, in := j.copy.record.Done.Find(id); in || mutant.On(mutant.NeverFree) {
		return
	}
	if b, ok := j.held.blobs[id]; ok {
		p.free(j, b.Partial)
	}
}

// free gives a blob up.
func (p *Peer) free(j *jobState, b merge.Partial) {
	delete(j.held.blobs, b.ID)
	p.emit(FreeBlob{Partial: b})
}

// freeEarly is a planted bug: the inputs of a fold are freed when it is proposed.
func (p *Peer) freeEarly(j *jobState, e ledger.Entry) {
	if e.Fold == nil || !mutant.On(mutant.FreeBeforeFold) {
		return
	}
	for _, id := range e.Fold.Kids {
		if b, ok := j.held.blobs[id]; ok {
			p.free(j, b.Partial)
		}
	}
}

func (p *Peer) folded(ev Folded) {
	b := merge.Partial{
		ID:     ev.ID,
		Job:    ev.Job,
		Units:  ev.Units,
		Canary: ev.Canary,
		SHA256: ev.SHA256,
		Size:   ev.Size,
		Kids:   ev.Kids,
		Holder: p.self,
	}
	j := p.job(ev.Job)
	if j == nil || !j.leads() || j.shut || !j.copy.record.Done.Foldable(ev.Kids) {
		p.emit(FreeBlob{Partial: b})
		return
	}
	j.hold(b, j.held.index)
	p.stepHome(j, ledger.Folded{Partial: b})
}

// arrived takes note that a blob is here now; false if it is not wanted any more.
func (p *Peer) arrived(id tasks.JobID, b merge.Partial) bool {
	j := p.job(id)
	if j == nil || j.holds(b.ID) {
		return true // without the job its folder goes
	}
	p.emit(FreeBlob{Partial: b})
	return false
}

// onKeep has a blob kept for the home.
func (p *Peer) onKeep(j *jobState, k Keep) {
	switch {
	case k.Result != nil:
		p.onKeepResult(j, *k.Result)
	case j.copy.log == nil || k.Partial == nil:
	case k.Partial.Job != j.id:
	case k.Free:
		if b, ok := j.held.blobs[k.Partial.ID]; ok && b.term == j.term && b.seq < k.Seq {
			p.release(j, k.Partial.ID)
		}
	default:
		p.onKeepPartial(j, k)
	}
}

// blobKept gives this node's word to a home. It is not given in a term that the disk does not know yet: after a crash
// this node could take what it has told of then for what an earlier home had wanted (held.since). The home asks again.
func (p *Peer) blobKept(id tasks.JobID, to tasks.PeerID, k Kept) {
	if j := p.job(id); j != nil && j.copy.log != nil {
		if k.OK && k.Term > j.copy.log.SyncedTerm() {
			return
		}
		k.Voter = j.copy.self.ID
	}
	p.send(to, Message{Job: id, Kept: &k})
}

// onKept takes a replica's word on a blob. A late word of a voter that the log has removed counts for nothing: it
// deletes what it kept.
func (p *Peer) onKept(j *jobState, from tasks.PeerID, k Kept) {
	if !j.leads() {
		return
	}
	if k.ID != (merge.ID{}) && j.copy.log != nil &&
		!slices.Contains(j.copy.log.Voters(), quorum.Voter{ID: k.Voter, Peer: from}) {
		return
	}
	if k.ID != (merge.ID{}) && k.Term != j.term {
		return
	}
	p.stepHome(j, ledger.Kept{From: from, ID: k.ID, SHA256: k.SHA256, OK: k.OK, Full: k.Full, Seq: k.Seq})
}

// onKeepResult has a job's result kept for its home, once this peer knows that the job has ended: the home asks at
// once, and no more when most replicas have it.
func (p *Peer) onKeepResult(j *jobState, r ledger.Result) {
	if j.held.result = nil; j.mayHaveResult() {
		p.emit(KeepResult{ID: j.id, Result: r, To: j.home})
	} else if j.copy.log != nil {
		j.held.result = &r
	}
}

// mayHaveResult reports whether a home may have this peer keep the job's result. With a copy of the ledger it knows
// that the job has ended; without one it works for the job, and keeps the result where there are no other replicas.
func (j *jobState) mayHaveResult() bool {
	if j.copy.log != nil {
		return j.copy.record != nil && j.copy.record.Ended
	}
	return j.desc != nil
}
