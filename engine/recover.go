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

// A job whose ledger has lost its majority for good is recovered: its submitter, or a member with the right admin,
// signs that it goes on from one copy that is left (quorum.Link). The peer with that copy begins a log of its own with
// all that the copy has. Whatever the copies that were lost had come to beyond it counts no more, also where they come
// back: they are shown the signed word, and are given up; a job that was over for somebody by their word goes on there.
// What is of the recovered ledger is of a later epoch than what is of the lost one, as its terms tell.

// recovery is the last one of the job's ledger that is known here, nil for none.
func (j *jobState) recovery() *quorum.Link {
	if r := j.copy.record.Recovery; r != nil {
		return r
	}
	if j.copy.recovery == nil && j.proofs.shown != nil { // nobody has told but who leads by it
		return lastRecovery(j.proofs.shown.Chain)
	}
	return j.copy.recovery
}

// trueRecovery reports why a link does not show that a job's ledger was recovered by somebody who may.
func (p *Peer) trueRecovery(job tasks.JobID, submitter tasks.PeerID, l quorum.Link) error {
	return quorum.CheckRecovery(p.trust(job, submitter), l)
}

// authority are those who may have a job's ledger recovered: its submitter, and members with the right admin.
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

// recovered makes the new log, or says why not.
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

// recoveredLog is the log that goes on from this copy alone, under a signed word.
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

// lapsed is who has signed the recovery by which a job goes on here, if that one may sign none any more; empty if all
// is well. Those who know of the recovery from before go on. Members that come to the job later do not believe it, for
// they cannot tell whether it was signed before or after that one lost the right: it has to be recovered anew by
// somebody who may.
func (p *Peer) lapsed(j *jobState) tasks.PeerID {
	if r := j.copy.record.Recovery; r != nil && p.trueRecovery(j.id, j.desc.Submitter, *r) != nil {
		return r.Sigs[0].By
	}
	return ""
}

// wholeRecord is the record after all that is in this copy's log, whether it is known to be committed or not.
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

// recoverAside goes on from a copy that was superseded by another recovery, which was false or came to nothing. The
// copy of that, if one is here, is put aside in turn, and so is the end that it came to.
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
		j = p.job(ev.ID) // it is gone if it was shut
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

// recoveredAside makes the new log from a copy that was superseded, or says why not.
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

// readLog reads a copy that nobody follows: it says nothing to anybody and writes nothing.
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

// onRecovery takes the word that a job's ledger was recovered.
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
	case submitter == "": // without the description nobody can tell who may
	case known != nil && known.Conf.Term > l.Conf.Term:
		p.tellRecovery(j, from)
	case known != nil && known.Conf.Term == l.Conf.Term:
		p.giveUp(j, l) // it may have begun since
	case p.trueRecovery(j.id, submitter, l) != nil:
		p.doubtRecovery(from, j.id, submitter, l)
	case p.defies(j, l):
		p.tellMoved(from, j)
	default:
		j.copy.recovery = &l
		if l.Conf.Seq > j.proofs.conf.Seq {
			j.proofs.conf = l.Conf // voters of before elect nobody any more
		}
		p.giveUp(j, l)
	}
}

// doubtRecovery tells of a member that shows a recovery which nobody has signed but itself. One that another has signed
// was perhaps true when that one had the right admin, and whoever passes it on is not accused.
func (p *Peer) doubtRecovery(from tasks.PeerID, id tasks.JobID, submitter tasks.PeerID, l quorum.Link) {
	if !slices.ContainsFunc(l.Signers(p.trust(id, submitter)), func(by tasks.PeerID) bool { return by != from }) {
		p.violated(from, id, FalseProof)
	}
}

// giveUp gives up a copy of a ledger that was recovered from another one. It is put aside, not destroyed: whoever
// signed the recovery may have lied, or the recovered job come to nothing.
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

// isBefore reports whether this peer's copy has entries of a ledger that was recovered in a later term.
func (j *jobState) isBefore(term uint64) bool {
	last, _ := j.copy.log.Last()
	return last > 0 && j.copy.record.Epoch() < quorum.Epoch(term)
}

// reopen takes a job up again that had ended by the word of a ledger which counts no more.
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

// tellRecovery shows a node that a job's ledger was recovered, if it was.
func (p *Peer) tellRecovery(j *jobState, to tasks.PeerID) {
	if r := j.recovery(); r != nil && to != p.self {
		p.send(to, Message{Job: j.id, Recovery: r})
	}
}

// tellPast answers a member that announces a job which is over here. If the job has ended after its ledger was
// recovered, the member may lead it by the ledger of before, and is shown the recovery.
func (p *Peer) tellPast(from tasks.PeerID, m Message) {
	if past := p.ends.of[m.Job]; past != nil && past.recovery != nil && quorum.Epoch(m.Term) < past.epoch() &&
		from != p.self {
		p.send(from, Message{Job: m.Job, Recovery: past.recovery})
	}
}

// tellRecoveredEnds tells a member that is back of jobs which ended after they were recovered: it may know of another
// end.
func (p *Peer) tellRecoveredEnds(to tasks.PeerID) {
	for _, id := range p.ends.ids {
		if e := p.ends.of[id]; e.recovery != nil && e.Seal != nil {
			p.tellEnd(to, id)
		}
	}
}

// outdated reports whether a term is of a ledger that was recovered since.
func (j *jobState) outdated(term uint64) bool {
	return quorum.Epoch(term) < max(quorum.Epoch(j.term), j.copy.record.Epoch())
}

func checkRecovery(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	if m.Recovery.RecoveryConf() != nil {
		return Malformed
	}
	return ""
}
