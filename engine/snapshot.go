package engine

import (
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
)

// takeSnapshot gives the log the job's record in place of the entries that made it. One that is over gets none: its log
// ends soon, and the word of its end may have come from elsewhere.
func (p *Peer) takeSnapshot(j *jobState, index uint64) {
	if j.copy.record.Result != nil {
		return
	}
	state, err := j.copy.record.Encode()
	if err != nil {
		return // nothing in a record can fail to encode; the log is kept
	}
	p.stepLog(j, quorum.Snapshotted{Index: index, State: state})
}

// restoreRecord goes on from a snapshot: this peer's own from an earlier life, or the leader's.
func (p *Peer) restoreRecord(j *jobState, index uint64, state []byte) {
	record, err := ledger.DecodeRecord(state, p.newRecord(j.id, j.desc))
	if err != nil { // the log has asked before
		p.leaveLog(j, err.Error())
		return
	}
	if j.leads() { // no member that leads is sent one: this is one that has just lost the lead
		p.stepDown(j)
		j.home = ""
	}
	over := j.copy.record.Result != nil
	j.copy.record = record
	j.noteSnapshot(index)
	p.followRecord(j)
	if record.Result != nil && !over {
		p.jobEnded(j)
	}
}
