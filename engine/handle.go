package engine

import (
	"slices"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
)

func (p *Peer) handle(ev Event) {
	switch ev := ev.(type) {
	case Tick:
		p.tick()
	case PeerUp:
		p.peerUp(ev)
	case PeerDown:
		p.peerDown(ev.ID)
	case Able:
		p.able(ev)
	case Recv:
		p.recv(ev.From, ev.Msg)
	case Submit:
		p.submit(ev)
	case Described:
		if j := p.job(ev.ID); j != nil {
			p.describe(j, ev)
		}
	case NotDescribed:
		p.notDescribed(ev)
	case Prepared:
		p.prepared(ev)
	case NotPrepared:
		p.notPrepared(ev)
	case PacketDone:
		p.packetDone(ev)
	case GenSealed:
		p.genSealed(ev)
	case PacketRefused:
		p.packetRefused(ev)
	case GenFailed:
		p.genFailed(ev)
	case Merged:
		p.merged(ev)
	case NotMerged:
		if j := p.job(ev.Job); j != nil {
			if ev.Failure != nil {
				p.book(j, *ev.Failure)
			}
			p.carryOutMerge(j.work.parts.MergeFailed(p.now, ev.Kids, ev.Holder))
		}
	case Expelled:
		p.expelled()
	case Leave:
		p.beginLeaving()
	default:
		p.handleOrder(ev)
	}
}

// handleOrder takes what is wanted of a job from outside, and what came of its end.
func (p *Peer) handleOrder(ev Event) {
	switch ev := ev.(type) {
	case Append:
		p.append(ev)
	case Links:
		p.stepIfLed(ev.ID, ev.Links)
	case StopJob:
		p.stepIfLed(ev.ID, ledger.Stop{Reason: ev.Reason})
	case CancelJob:
		p.cancel(ev.ID)
	case Finished:
		p.stepIfLed(ev.ID, ledger.Finished{Result: ev.Result})
	case Unfinished:
		p.stepIfLed(ev.ID, ledger.Unfinished{Attempt: ev.Attempt})
	case RetryJob:
		p.stepIfLed(ev.ID, ledger.Retry{})
	case Remember:
		p.ends.put(ev.ID, pastJob{term: ev.Term, submitter: ev.Submitter, recovery: ev.Recovery}, ev.Ended)
	case Revoked:
		p.revoked(ev.ID)
	default:
		p.handleLedger(ev)
	}
}

// handleLedger takes what comes back from disks: ledgers and kept blobs.
func (p *Peer) handleLedger(ev Event) {
	switch ev := ev.(type) {
	case Stored:
		if p.arrived(ev.Partial) {
			p.stepIfLed(ev.Partial.Job, ev)
		}
	case NotStored:
		p.stepIfLed(ev.Partial.Job, ev)
	case Founded:
		p.founded(ev)
	case Written:
		p.written(ev)
	case BlobKept:
		if to := ev.Asked; !ev.OK || p.arrived(to.Partial) {
			kept := Kept{ID: to.Partial.ID, OK: ev.OK, Full: ev.Full, Term: to.Term, Seq: to.Seq}
			p.blobKept(to.Partial.Job, to.To, kept)
		}
	case ResultKept:
		p.blobKept(ev.Asked.ID, ev.Asked.To, Kept{SHA256: ev.Asked.Result.SHA256, OK: ev.OK, Full: ev.Full})
	case Looked:
		p.looked(ev)
	case Folded:
		p.folded(ev)
	case NotFolded:
		p.stepIfLed(ev.Job, ev)
	case BlobDamaged:
		p.stepIfLed(ev.Job, ledger.Damaged{ID: ev.ID})
	case BlobUnusable:
		p.stepIfLed(ev.Job, ledger.Unusable{ID: ev.ID, Reason: ev.Reason})
	case Restore:
		p.restore(ev)
	case Recover:
		p.recoverJob(ev)
	case Admins:
		p.admins = ev.IDs
	}
}

// tick repeats what may have been lost and gives up jobs whose home has gone for good.
func (p *Peer) tick() {
	for _, j := range slices.Clone(p.jobs) {
		if j.copy.log != nil {
			p.stepLog(j, quorum.Tick{})
		}
		p.noteLed(j)
		p.resign(j)
		if j.shut {
			p.sealAgain(j)
			if p.now >= j.closeAt {
				p.dropJob(j, "")
			}
			continue
		}
		p.carryOutMerge(j.work.parts.Tick(p.now))
		p.prepareAgain(j)
		p.appendAgain(j)
		p.lookAgain(j)
		if j.leads() {
			p.maintain(j)
			p.stepHome(j, ledger.Tick{})
			if j.leads() && p.now-j.led.announced > 5*p.cfg.Report {
				p.openTo(j)
			}
			continue
		}
		p.seek(j)
		if j.copy.log == nil && p.now-j.seeking.heard > p.silent(j) {
			p.closeJob(j, true)
		}
	}
}
