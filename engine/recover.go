package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A job whose ledger has lost its majority for good can be recovered: its submitter, or a member with the right admin,
// signs that the job goes on from one copy that is left (quorum.Link). The peer with that copy begins a log of its own,
// with all that the copy has. What the lost copies had beyond it counts no more. If they come back they are shown the
// signed recovery and given up, and where a job counted as ended by their word it goes on. The recovered ledger's terms
// are of a later epoch than those of the lost one, so that it can be told which of two homes, or ends, counts.

// recovery is the last recovery of the job's ledger that is known here, nil for none.
func (j *jobState) recovery() *quorum.Link {
	if r := j.copy.record.Recovery; r != nil {
		return r
	}
	if j.copy.recovery == nil && j.proofs.shown != nil { // the mandate of a home that leads by a recovery has it
		return lastRecovery(j.proofs.shown.Chain)
	}
	return j.copy.recovery
}

// trueRecovery reports why a link is no valid recovery of a job's ledger by somebody who may order one; nil if it is.
func (p *Peer) trueRecovery(job tasks.JobID, submitter tasks.PeerID, l quorum.Link) error {
	return quorum.CheckRecovery(p.trust(job, submitter), l)
}

// authority tells who may have a job's ledger recovered: its submitter, and members with the right admin.
func (p *Peer) authority(submitter tasks.PeerID) func(tasks.PeerID) bool {
	return func(by tasks.PeerID) bool { return by != "" && by == submitter || slices.Contains(p.admins, by) }
}

// RecoveryText is what is signed to have a job go on from the copy of the ledger that conf names (quorum.NextRecovery).
func RecoveryText(id tasks.JobID, conf quorum.Conf) []byte {
	return quorum.ConfText(GroupName(id), conf)
}

// recoverAlive is how long ago another replica may have spoken and still count as alive.
const recoverAlive = seekAfter

// recoverJob goes on from this peer's copy of a job's ledger.
func (p *Peer) recoverJob(ev Recover) {
	if ev.Aside != nil {
		p.recoverAside(ev)
		return
	}
	j := p.job(ev.ID)
	log, err := p.recovered(j, ev)
	if err != nil {
		p.emit(NotRecovered{ID: ev.ID, Reason: err.Error()})
		return
	}
	if j.leads() {
		p.stepDown(j)
	}
	j.copy.founding = &founding{by: p.self, log: log, was: j.copy.log}
	j.copy.log, j.seeking.heard = nil, p.now
	p.emit(FoundLedger{ID: j.id, Log: log})
}

// recovered makes the new log of a recovery, or says why there is none.
func (p *Peer) recovered(j *jobState, ev Recover) (log quorum.Log, err error) {
	switch {
	case j == nil || j.copy.log == nil || j.shut || j.copy.founding != nil:
		return log, errors.New("this node has no copy of the job's ledger")
	case !j.seated():
		return log, errors.New("this node's copy is none that counts: the others have replaced it")
	case j.leads() && p.lapsed(j) == "":
		return log, errors.New("this node leads the job: it needs no recovery")
	}
	if err := p.trueRecovery(j.id, j.desc.Submitter, ev.Link); err != nil {
		return log, err
	}
	if who, majority := j.copy.log.Alive(p.now, recoverAlive); majority && p.lapsed(j) == "" {
		return log, fmt.Errorf(
			"most of the nodes that keep its ledger are alive, or were so %v ago or when this node began to listen: %s",
			recoverAlive,
			strings.Join(who, ", "),
		)
	}
	return p.recoveredLog(j, ev.Link, ev.Result)
}

// recoveredLog is the log that goes on from a copy alone, by the recovery link. kept says that the file of a result
// which the copy names is here.
func (p *Peer) recoveredLog(j *jobState, link quorum.Link, kept bool) (log quorum.Log, err error) {
	record, err := p.wholeRecord(j)
	if err != nil {
		return log, err
	}
	record.Recover(link, kept)
	state, err := record.Encode()
	if err != nil {
		return log, err
	}
	return j.copy.log.Recover(link, j.copy.founders, state)
}

// lapsed is the admin who has signed the recovery by which a job goes on here, if it has lost the right since; empty
// otherwise. Nodes that know the recovery go on. Members that come to the job later do not believe it, for they cannot
// tell whether it was signed before or after its signer lost the right, so the job has to be recovered anew by somebody
// who may.
func (p *Peer) lapsed(j *jobState) tasks.PeerID {
	if r := j.copy.record.Recovery; r != nil && p.trueRecovery(j.id, j.desc.Submitter, *r) != nil {
		return r.Sigs[0].By
	}
	return ""
}

// wholeRecord is the record after all entries in a copy's log, whether the copy knows them to be committed or not.
func (p *Peer) wholeRecord(j *jobState) (*ledger.Record, error) {
	state, err := j.copy.record.Encode()
	if err != nil {
		return nil, err
	}
	record, err := ledger.DecodeRecord(state, p.newRecord(j.id, j.desc))
	if err != nil {
		return nil, err
	}
	for _, data := range j.copy.log.Tail() {
		var e ledger.Entry
		if wire.Unmarshal(data, &e) == nil {
			record.Apply(e)
		}
	}
	return record, nil
}

// recoverAside goes on from a copy that was superseded by another recovery, which turned out to be false, or came to
// nothing. What is here of that other recovery, a copy of its ledger or its end, is put aside in turn.
func (p *Peer) recoverAside(ev Recover) {
	j := p.job(ev.ID)
	log, err := p.recoveredAside(j, ev)
	if err != nil {
		p.emit(NotRecovered{ID: ev.ID, Reason: err.Error()})
		return
	}
	if p.ends.of[ev.ID] != nil {
		p.reopen(ev.ID, ev.Link)
		j = nil
	}
	if j != nil {
		p.giveUp(j, ev.Link)
		j = p.job(ev.ID) // nil if the job was shut, and is forgotten now
	}
	if j == nil {
		j = p.addJob(ev.ID, "")
	}
	if j.desc == nil {
		j.desc = ev.Aside.Job
	}
	if !j.loaded {
		p.loadCode(j, "")
	}
	j.copy.log, j.copy.recovery, j.seeking.heard = nil, &ev.Link, p.now
	j.copy.founding = &founding{by: p.self, log: log, aside: true}
	p.emit(FoundLedger{ID: j.id, Log: log, Aside: true})
}

// recoveredAside makes the new log of a recovery from a superseded copy, or says why there is none.
func (p *Peer) recoveredAside(j *jobState, ev Recover) (log quorum.Log, err error) {
	desc := ev.Aside.Job
	past := p.ends.of[ev.ID]
	switch {
	case j != nil && j.copy.founding != nil:
		return log, errors.New("a copy of the job's ledger is just being made here")
	case j != nil && j.leads() && j.copy.log == nil:
		return log, errors.New("this node leads the job without a ledger")
	case j != nil && j.outdated(ev.Link.Conf.Term), past != nil && past.epoch() >= quorum.Epoch(ev.Link.Conf.Term):
		return log, errors.New("the job was recovered since: ask again")
	}
	if err := p.trueRecovery(ev.ID, desc.Submitter, ev.Link); err != nil {
		return log, err
	}
	c, err := p.readLog(ev.Aside)
	if err != nil {
		return log, err
	}
	return p.recoveredLog(c, ev.Link, ev.Result)
}

// readLog reads a copy of a ledger only to look at it: it sends nothing and writes nothing.
func (p *Peer) readLog(from *Restore) (*jobState, error) {
	r, err := quorum.New(p.now, p.logConfig(from.ID, from.Job, func(tasks.PeerID) bool { return true }), from.Log)
	if err != nil {
		return nil, err
	}
	j := &jobState{id: from.ID}
	j.desc, j.copy.log, j.copy.self, j.copy.founders = from.Job, r, from.Log.Self, from.Log.Voters
	j.copy.record = p.newRecord(from.ID, from.Job)
	for _, e := range r.Step(p.now, quorum.Tick{}) {
		switch e := e.(type) {
		case quorum.Apply:
			var entry ledger.Entry
			if wire.Unmarshal(e.Data, &entry) == nil {
				j.copy.record.Apply(entry)
			}
		case quorum.Restore:
			if j.copy.record, err = ledger.DecodeRecord(e.State, p.newRecord(from.ID, from.Job)); err != nil {
				return nil, err
			}
		case quorum.Broken:
			return nil, errors.New(e.Reason)
		}
	}
	return j, nil
}

// AsideCopy describes a copy of a ledger that was superseded, as Copy describes the one that counts.
func (p *Peer) AsideCopy(from Restore) (v CopyView, err error) {
	j, err := p.readLog(&from)
	if err != nil {
		return v, err
	}
	return p.view(j)
}

// onRecovery takes a member's word that a job's ledger was recovered.
func (p *Peer) onRecovery(from tasks.PeerID, j *jobState, m Message) {
	l := *m.Recovery
	past := p.ends.of[m.Job]
	over := past != nil
	switch {
	case over && past.epoch() < quorum.Epoch(l.Conf.Term) && !mutant.On(mutant.OldEnd):
		switch {
		case p.trueRecovery(m.Job, past.submitter, l) != nil:
		case p.keepsEnd(m.Job, past, l):
			p.tellEnd(from, m.Job)
		default:
			p.reopen(m.Job, l)
		}
		return
	case over || j == nil:
		return
	}
	submitter := j.past().submitter
	switch known := j.recovery(); {
	case submitter == "": // without the description it is not known who may sign a recovery
	case known != nil && known.Conf.Term > l.Conf.Term:
		p.tellRecovery(j, from)
	case known != nil && known.Conf.Term == l.Conf.Term:
		p.giveUp(j, l) // the copy may have been made since the recovery became known here
	case p.trueRecovery(j.id, submitter, l) != nil:
		p.doubtRecovery(from, j.id, submitter, l)
	case p.defies(j, l):
		p.tellMoved(from, j)
	default:
		j.copy.recovery = &l
		if l.Conf.Seq > j.proofs.conf.Seq {
			j.proofs.conf = l.Conf // whom earlier voters elect counts no more
		}
		p.giveUp(j, l)
	}
}

// doubtRecovery reports a member that shows an invalid recovery which nobody but itself has signed. A recovery that
// another has signed may have been valid when that one had the right admin, and whoever passes it on is not accused.
func (p *Peer) doubtRecovery(from tasks.PeerID, id tasks.JobID, submitter tasks.PeerID, l quorum.Link) {
	if !slices.ContainsFunc(l.Signers(p.trust(id, submitter)), func(by tasks.PeerID) bool { return by != from }) {
		p.violated(from, id, FalseProof)
	}
}

// giveUp gives up this peer's copy of a ledger that was recovered from another copy. It is put aside and not destroyed,
// for whoever signed the recovery may have lied, or the recovered job may come to nothing.
func (p *Peer) giveUp(j *jobState, l quorum.Link) {
	if j.copy.log == nil || !j.isBefore(l.Conf.Term) {
		return
	}
	if j.leads() {
		p.stepDown(j)
	}
	j.home, j.copy.record = "", p.newRecord(j.id, j.desc)
	p.dropLog(j, DropLedger{ID: j.id, Superseded: &l,
		Reason: fmt.Sprintf("%s has said that the job goes on from the copy of %s", l.Sigs[0].By, l.Conf.Voters[0].Peer)})
	p.emit(HomeIs{ID: j.id, Term: j.term})
}

// isBefore reports whether this peer's copy has entries of an earlier epoch than that of a term.
func (j *jobState) isBefore(term uint64) bool {
	last, _ := j.copy.log.Last()
	return last > 0 && j.copy.record.Epoch() < quorum.Epoch(term)
}

// reopen takes up a job again whose end was of a ledger that counts no more, by a recovery.
func (p *Peer) reopen(id tasks.JobID, by quorum.Link) {
	if j := p.job(id); j != nil {
		if j.copy.log != nil {
			p.dropLog(j, DropLedger{ID: id, Superseded: &by, Reason: "the job was recovered from another copy"})
		}
		p.dropJob(j, "")
	}
	p.ends.forget(id)
	p.emit(Reopened{ID: id, By: by})
}

// tellRecovery shows a node the last recovery of a job's ledger, if there was one.
func (p *Peer) tellRecovery(j *jobState, to tasks.PeerID) {
	if r := j.recovery(); r != nil && to != p.self {
		p.send(to, Message{Job: j.id, Recovery: r})
	}
}

// tellPast answers a member that announces a job which is over here. If the job has ended after a recovery, and the
// member leads it in an earlier epoch, it is shown the recovery.
func (p *Peer) tellPast(from tasks.PeerID, m Message) {
	if past := p.ends.of[m.Job]; past != nil && past.recovery != nil && quorum.Epoch(m.Term) < past.epoch() &&
		from != p.self {
		p.send(from, Message{Job: m.Job, Recovery: past.recovery})
	}
}

// tellRecoveredEnds tells a member that has just been connected how recovered jobs have ended, since it may know of
// another end.
func (p *Peer) tellRecoveredEnds(to tasks.PeerID) {
	for _, id := range p.ends.ids {
		if e := p.ends.of[id]; e.recovery != nil && e.Seal != nil {
			p.tellEnd(to, id)
		}
	}
}

// outdated reports whether a term is of an earlier epoch than the job's ledger is in now.
func (j *jobState) outdated(term uint64) bool {
	return quorum.Epoch(term) < max(quorum.Epoch(j.term), j.copy.record.Epoch())
}

func checkRecovery(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	if m.Recovery.RecoveryConf() != nil {
		return Malformed
	}
	return ""
}
