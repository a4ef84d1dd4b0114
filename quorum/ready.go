package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// writes is what is on disk, and on its way there. One Write is under way at a time, of what raft has ready or of a
// snapshot (compaction.store), and what depends on it waits for it. So the synced fields are never ahead of the disk,
// and hard may be.
type writes struct {
	seq   uint64      // number of the last Write
	ready *raft.Ready // what raft wants done after Written; nil for nothing
	hard  Hard        // the newest, as raft has given it out
	last  uint64      // index of the last entry that raft gave out to be written

	syncedTerm, syncedLead uint64 // Term and Lead as of the last Write that is on disk
	commit                 uint64 // Commit in the last Write, whether it is on disk or not
}

// newWrites is what a disk holds before anything is written.
func newWrites(disk *storage, hard Hard) writes {
	w := writes{hard: hard, syncedTerm: disk.hard.Term, syncedLead: hard.Lead, commit: disk.hard.Commit}
	w.hard.Commit = disk.hard.Commit
	w.last, _ = disk.LastIndex()
	return w
}

// begin counts a Write with the present hard state.
func (w *writes) begin() (seq uint64) {
	w.seq++
	w.commit = w.hard.Commit
	return w.seq
}

// take notes what raft has ready, and returns what is to be written of it.
func (w *writes) take(rd *raft.Ready) Write {
	if n := len(rd.Entries); n > 0 {
		w.last = rd.Entries[n-1].Index
	}
	out := Write{Hard: w.hard, Entries: entries(rd.Entries)}
	if s := rd.Snapshot; !raft.IsEmptySnap(s) {
		w.last = s.Metadata.Index + uint64(len(rd.Entries))
		out.Snapshot, out.Reset = &Snapshot{
			Index:    s.Metadata.Index,
			Term:     s.Metadata.Term,
			Base:     s.Metadata.Index,
			BaseTerm: s.Metadata.Term,
			Data:     s.Data,
		}, true
	}
	return out
}

// harden notes a hard state of raft's, if it is one.
func (w *writes) harden(s raftpb.HardState) {
	if raft.IsEmptyHardState(s) {
		return
	}
	if s.Term != w.hard.Term {
		w.hard.Lead = raft.None
	}
	w.hard.Term, w.hard.Vote, w.hard.Commit = s.Term, s.Vote, s.Commit
}

// follow notes a new leader to be written, and reports whether there is one. It must be on disk before anything is
// signed or acknowledged; otherwise a liar with a valid mandate could be followed in the same term after a restart.
func (w *writes) follow(s raft.BasicStatus) bool {
	if s.Lead == raft.None || s.Term != w.hard.Term || s.Lead == w.hard.Lead {
		return false
	}
	w.hard.Lead = s.Lead
	return true
}

// knownLead is the leader of the current term, from raft's state or else from disk; raft.None if neither knows it.
func (w *writes) knownLead(s raft.BasicStatus) uint64 {
	if s.Lead == raft.None && s.Term == w.hard.Term {
		return w.hard.Lead
	}
	return s.Lead
}

// changesVoters reports whether a change of the voters is among the committed entries and the disk does not know that
// it is committed. The disk must know before the change is applied; otherwise replicas that restart would need the
// votes of voters that have left for good.
func (w *writes) changesVoters(committed []raftpb.Entry) bool {
	return slices.ContainsFunc(committed, func(e raftpb.Entry) bool {
		return e.Type == raftpb.EntryConfChangeV2 && e.Index > w.commit
	})
}

func entries(in []raftpb.Entry) []Entry {
	out := make([]Entry, len(in))
	for i, e := range in {
		out[i] = Entry{Index: e.Index, Term: e.Term, Kind: uint8(e.Type), Data: e.Data}
	}
	return out
}

// pump carries out what raft has ready, until something must be on disk first.
func (r *Replica) pump() {
	for !r.broken && r.writes.ready == nil && r.compaction.store == nil {
		if r.compaction.due != nil && r.storeSnapshot() {
			break
		}
		if !r.node.HasReady() {
			break
		}
		rd := r.node.Ready()
		r.writes.harden(rd.HardState)
		follows := r.writes.follow(r.node.BasicStatus())
		w := r.writes.take(&rd)
		if !rd.MustSync && !follows && !w.Reset && !r.writes.changesVoters(rd.CommittedEntries) {
			r.finish(&rd)
			continue
		}
		// Commit is written too: a replica that has a change of the voters in its log must know that the change before it is
		// committed, or voters of long ago could elect it.
		w.Seq = r.writes.begin()
		r.writes.ready = &rd
		r.emit(w)
		if mutant.On(mutant.AckBeforeSync) {
			r.send(rd.Messages)
			rd.Messages = nil
		}
	}
}

// written goes on after a Write.
func (r *Replica) written(seq uint64) {
	if seq != r.writes.seq {
		return
	}
	r.writes.syncedTerm, r.writes.syncedLead = r.writes.hard.Term, r.writes.hard.Lead
	r.answerAsked()
	switch rd := r.writes.ready; {
	case rd != nil:
		r.writes.ready = nil
		r.finish(rd)
	case r.compaction.store != nil:
		r.stored()
	}
}

// finish does what has to wait until a Ready is on disk.
func (r *Replica) finish(rd *raft.Ready) {
	if !raft.IsEmptySnap(rd.Snapshot) {
		r.received(rd.Snapshot)
	}
	if err := r.disk.Append(rd.Entries); err != nil {
		panic(err.Error())
	}
	r.send(rd.Messages)
	for _, e := range rd.CommittedEntries {
		r.applied = position{e.Index, e.Term}
		r.compaction.grown += len(e.Data)
		switch {
		case e.Type == raftpb.EntryConfChangeV2:
			r.changed(e)
		case isMark(e.Data):
			r.voters.marks = max(r.voters.marks-1, 0)
		case len(e.Data) > 0: // a leader's first entry is empty
			r.emit(Apply{Index: e.Index, Term: e.Term, Data: e.Data})
		}
	}
	r.node.Advance(*rd)
	r.askState()
}
