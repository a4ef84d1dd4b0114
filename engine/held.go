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

// held is what a replica of a job's ledger keeps of partials' blobs: those of the record, and those that a home has
// asked for because it may propose to commit them.
//
// A home counts on a copy to have a blob only when the copy has said so (Kept) in the home's own term, whatever it told
// homes before. What a home proposes comes in the log before what the next home does. So a copy may free a blob that is
// not in its record in three cases:
//
//   - it has applied an entry of a later term than that in which the blob was last asked for. Whatever the home of the
//     earlier term proposed, counting on this copy, is in the record by then or never will be;
//   - it has followed the log at least as far as the home had when it asked (Keep.At), and the record would not admit
//     the blob any more. The home comes to the same conclusion, and gives the blob up;
//   - the home says so (Keep.Free).
//
// After a restart a copy knows which blobs on its disk belong to the record, and nothing of the others. It frees those
// when it applies an entry of a later term than any in which it may have given its word (since).
//
// A copy that is behind may free a blob that is in the other replicas' records already, if it was asked for the blob in
// an earlier term only. That is harmless: the home does not count it among those that keep the blob, and asks it again.
// Requests that it cannot judge yet, because it is too far behind, wait in postponed, and their blobs are not freed.
type held struct {
	blobs     map[merge.ID]heldBlob
	applied   uint64         // term of the last entry that was applied here
	index     uint64         // index of the last entry that was applied here
	postponed []Keep         // requests of a home that has applied more of the log than this copy has
	result    *ledger.Result // that the home wants kept, while this copy has not followed the log to the job's end
	stale     bool           // entries were applied since tidy last looked for what may be freed
	since     uint64         // term of the log when this copy was opened
	unswept   bool           // blobs may be on the disk that an earlier life of this peer kept, and this one does not know
	hoarded   int            // requests refused since the last commit, because the home has too much kept
}

// heldBlob is a blob that is here, or on its way here, with the last request for it.
type heldBlob struct {
	merge.Partial
	term uint64 // of the home that asked
	at   uint64 // index of the last entry that the home had applied when it asked
	seq  uint64 // number of the request, among that home's
}

// hold notes that a blob is to be here. A home asks for it in the current term that has applied the log up to index at.
func (j *jobState) hold(b merge.Partial, at uint64) {
	if j.held.blobs == nil {
		j.held.blobs = map[merge.ID]heldBlob{}
	}
	j.held.blobs[b.ID] = heldBlob{Partial: b, term: j.term, at: at}
}

// maxPostponed bounds the requests that wait for this copy to follow the log.
const maxPostponed = 64

// onKeepPartial answers a home's request to keep a blob. A copy that is behind the home puts the request off at first:
// what it has yet to free may be as much as it has room for. If the home asks again it keeps the blob all the same.
func (p *Peer) onKeepPartial(j *jobState, k Keep) {
	same := func(l Keep) bool { return l.Partial.ID == k.Partial.ID }
	switch {
	case k.At > j.held.index && !slices.ContainsFunc(j.held.postponed, same) && len(j.held.postponed) < maxPostponed:
		j.held.postponed = append(j.held.postponed, k)
	case k.At > j.held.index && len(j.held.blobs) >= p.cfg.Ledger.MaxBlobs && !j.holds(k.Partial.ID):
		// This copy has all the blobs that it may have, and can free none before it has followed the log.
	case k.At > j.held.index && !j.holds(k.Partial.ID) && p.hoards(j, *k.Partial):
		// Too much is kept without being committed, as far as this copy knows. It cannot tell, being behind, so it neither
		// keeps the blob nor accuses the home.
	case !j.holds(k.Partial.ID) && p.hoards(j, *k.Partial):
		if j.held.hoarded++; j.held.hoarded > spareBlobs {
			p.violated(j.home, j.id, Hoards)
		}
		p.blobKept(j.id, j.home, Kept{ID: k.Partial.ID, Full: true, Term: j.term, Seq: k.Seq})
	case k.At > j.held.index || j.wants(*k.Partial): // otherwise the home will find out that the record does not admit it
		j.held.postponed = slices.DeleteFunc(j.held.postponed, same)
		j.hold(*k.Partial, k.At)
		b := j.held.blobs[k.Partial.ID]
		b.seq = k.Seq
		j.held.blobs[k.Partial.ID] = b
		p.emit(KeepBlob{Partial: *k.Partial, Sources: k.Sources, To: j.home, Term: j.term, Seq: k.Seq})
	}
}

// A home may lie about what it is going to commit, so a replica bounds the blobs that it keeps for a job beside the
// committed ones. An honest home asks only for what may be on its way to a commit at one time: few blobs of together no
// more bytes than twice the largest, or than FoldFloor, and one fold beside them. Its word that it has given a blob up
// may be lost, and earlier homes may have asked for others, so the bounds are several times that. A home that goes on
// asking beyond them and commits nothing is reported.
const (
	spareBlobs = 64 // blobs that may be kept beyond Config.Ledger.MaxBlobs
	spareTimes = 8  // how many times the largest blob, or FoldFloor, may be kept in bytes beside what is committed
)

// hoards reports whether keeping one more blob b would exceed what a home may have kept without committing it.
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

// keepPostponed takes up the requests that were put off while this copy was behind the home. Those for blobs that are
// here already come first, which gives these blobs the requests' term; then what the record does not want any more is
// freed, to make room for the blobs that have yet to come.
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

// holds reports whether a blob is here, or on its way here, because it is to be kept.
func (j *jobState) holds(id merge.ID) bool {
	_, ok := j.held.blobs[id]
	return ok
}

// wants reports whether a partial is in the record, or the record would admit it as a commit or a fold.
func (j *jobState) wants(b merge.Partial) bool {
	if _, ok := j.copy.record.Done.Find(b.ID); ok {
		return true
	}
	return j.copy.record.Done.Foldable(b.Kids) || j.copy.record.Done.Judge(b, j.copy.record.Want) == merge.Fresh
}

// noteApplied notes an entry that was just applied, and whether the record was changed by it. Later, tidy frees what
// the entry has made superfluous.
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

// noteSnapshot notes that a snapshot of the record has taken the place of all entries up to an index.
func (j *jobState) noteSnapshot(index uint64) {
	j.held.index, j.held.stale = max(j.held.index, index), true
	for _, b := range j.copy.record.Done.Parts() {
		j.hold(b, j.held.index)
	}
}

// tidy frees the blobs that are superfluous. It runs after all entries of one step were applied, and not after each: an
// earlier entry may speak against a blob that a later one commits.
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

// freeAll frees the blobs that are not in the record and that no home can still commit by counting on this copy.
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

// sortedBlobs are the blobs that are held, in the order of their names: effects must not depend on the order of a map.
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

// release frees a blob at the word of the home, unless it is in the record.
func (p *Peer) release(j *jobState, id merge.ID) {
	if _, in := j.copy.record.Done.Find(id); in || mutant.On(mutant.NeverFree) {
		return
	}
	if b, ok := j.held.blobs[id]; ok {
		p.free(j, b.Partial)
	}
}

// free has a blob deleted, and no longer holds it.
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

// folded hands a fold that was made here to the home, or frees it if it is not wanted any more.
func (p *Peer) folded(ev Folded) {
	b := ev.Partial
	j := p.job(b.Job)
	if j == nil || !j.leads() || j.shut || !j.copy.record.Done.Foldable(b.Kids) {
		p.emit(FreeBlob{Partial: b})
		return
	}
	j.hold(b, j.held.index)
	p.stepHome(j, ev)
}

// arrived reports whether a blob that has come here is still wanted; if not it is freed.
func (p *Peer) arrived(b merge.Partial) bool {
	j := p.job(b.Job)
	if j == nil || j.holds(b.ID) {
		return true // a job that is over is deleted with its whole folder
	}
	p.emit(FreeBlob{Partial: b})
	return false
}

// onKeep answers a home's request to keep a partial's blob or the job's result, or to free a blob.
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

// blobKept tells a home whether this node keeps what the home has asked for. It says nothing in a term that is not on
// disk yet: after a crash this node would not know of that term, and might free the blob as one of an earlier home's
// (held.since). The home asks again.
func (p *Peer) blobKept(id tasks.JobID, to tasks.PeerID, k Kept) {
	if j := p.job(id); j != nil && j.copy.log != nil {
		if k.OK && k.Term > j.copy.log.SyncedTerm() {
			return
		}
		k.Voter = j.copy.self.ID
	}
	p.send(to, Message{Job: id, Kept: &k})
}

// onKept takes a replica's word on a blob. It counts only from a current voter of the log, for a voter that was
// removed deletes what it kept, and only in the term in which this peer leads.
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
	k.From = from
	p.stepHome(j, k)
}

// onKeepResult has a job's result kept for its home. A copy that does not know yet that the job has ended notes the
// request, and carries it out when it does: the home may not ask again.
func (p *Peer) onKeepResult(j *jobState, r ledger.Result) {
	if j.held.result = nil; j.mayHaveResult() {
		p.emit(KeepResult{ID: j.id, Result: r, To: j.home})
	} else if j.copy.log != nil {
		j.held.result = &r
	}
}

// mayHaveResult reports whether a home may have this peer keep the job's result: as a replica, if the record says that
// the job has ended, and otherwise, as one that works for the job, where there are no other replicas.
func (j *jobState) mayHaveResult() bool {
	if j.copy.log != nil {
		return j.copy.record != nil && j.copy.record.Ended
	}
	return j.desc != nil
}
