package node

import (
	"os"
	"slices"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

func (d *Daemon) obey(e engine.Effect) {
	switch e := e.(type) {
	case engine.Send:
		d.send(e.To, e.Msg)
	case engine.Announce:
		d.announce(e.Msg)
	case engine.Describe:
		d.spawn(func() { d.jobs.AskDescription(e) })
	case engine.Prepare:
		d.spawn(func() { d.jobs.Prepare(e) })
	case engine.StartGen:
		d.jobs.Workers().Start(e)
	case engine.LeasePacket:
		d.jobs.Workers().Lease(e)
	case engine.PreemptGen:
		d.jobs.Workers().Preempt(e.Gen)
	case engine.SealGen:
		d.jobs.Workers().Seal(e)
	case engine.KillGen:
		d.jobs.Workers().Kill(e.Gen)
	case engine.MergeBlobs:
		d.spawn(func() { d.jobs.MergeBlobs(e) })
	case engine.FetchBlob:
		d.spawn(func() { d.jobs.FetchBlob(e) })
	case engine.ForgetBlob:
		path := d.blobs.Partial(e.Job, e.ID)
		d.blobs.ForgetPath(path)
		d.spawn(func() { _ = os.Remove(path) })
	case engine.FinishJob:
		d.spawn(func() { d.jobs.Finish(e) })
	case engine.FailJob:
		d.jobs.FailJob(e)
	case engine.SetAside:
		d.jobs.SetAside(e)
	case engine.JobOver:
		d.jobs.JobOver(e)
	case engine.Look:
		d.spawn(func() { d.jobs.Look(e) })
	case engine.Stolen:
		d.steals.Add(e.Wait)
	case engine.Violation:
		d.cluster.Violated(e.From, e.Job, e.What, string(e.What))
	case engine.Left:
		close(d.leaving.left)
	default:
		d.obeyLedger(e)
	}
}

// obeyLedger carries out what the peer's copies of ledgers want.
func (d *Daemon) obeyLedger(e engine.Effect) {
	switch e := e.(type) {
	case engine.Grown:
		d.jobs.Grown(e)
	case engine.Regrown:
		d.jobs.Regrown(e)
	case engine.ReadLinks:
		d.spawn(func() { d.jobs.ReadLinks(e) })
	case engine.Appended:
		d.jobs.Appended(e)
	case engine.KeepBlob:
		d.spawn(func() { d.jobs.KeepBlob(e) })
	case engine.FoldBlobs:
		d.spawn(func() { d.jobs.FoldBlobs(e) })
	case engine.FreeBlob:
		d.jobs.FreeBlob(e.Partial)
	case engine.SweepBlobs:
		d.ledgers.Sweep(e.Job, e.Keep)
	case engine.KeepResult:
		d.spawn(func() { d.jobs.KeepResult(e) })
	case engine.FoundLedger:
		d.spawn(func() { d.foundLedger(e) })
	case engine.WriteLedger:
		d.ledgers.Write(e.ID, e.Write)
	case engine.DropLedger:
		d.dropLedger(e)
	case engine.HomeIs:
		d.jobs.HomeIs(e)
	case engine.Settled:
		d.jobs.UnitsSettled(e)
	case engine.JobEnded:
		d.jobs.JobEnded(d.loop.peer, e)
	case engine.NotRecovered:
		d.notRecovered(e)
	case engine.RecoveryRefused:
		d.recoveryRefused(e)
	case engine.Reopened:
		d.jobs.Reopened(e.ID, e.By)
	case engine.EndSealed:
		d.jobs.EndSealed(e)
	}
}

// send is at most once: the protocol repeats what matters.
func (d *Daemon) send(to tasks.PeerID, m engine.Message) {
	m, ok := d.said(m)
	if !ok {
		return
	}
	before(m)
	b, err := wire.Marshal(&m)
	if err == nil {
		err = d.net.Send(to, b)
	}
	after(m)
	if err != nil {
		d.log.Debug("could not send", "to", to, "reason", err)
	}
}

// announce tells the peers that are connected directly, for speed, and all others by gossip.
func (d *Daemon) announce(m engine.Message) {
	for _, member := range d.net.Members() {
		if member.Up && !member.Self {
			d.send(member.ID, m)
		}
	}
	b, err := wire.Marshal(&m)
	if err != nil {
		d.log.Error("could not announce a job", "job", m.Job.Short(), "reason", err)
		return
	}
	d.spawn(func() {
		if err := d.net.Publish(jobsTopic, b); err != nil {
			d.log.Debug("could not announce a job", "job", m.Job.Short(), "reason", err)
		}
	})
}

// listen turns what the network tells into events of the peer.
func (d *Daemon) listen() {
	for ev := range d.net.Events() {
		switch ev := ev.(type) {
		case p2p.PeerUp:
			d.cluster.NoteNames()
			d.loop.Post(d.peerUp(ev.ID, ev.Info))
		case p2p.PeerChanged:
			d.loop.Post(d.peerUp(ev.ID, ev.Info))
		case p2p.PeerDown:
			d.loop.Post(engine.PeerDown{ID: ev.ID})
		case p2p.PeerRefused:
			d.log.Warn("peer refused", "id", ev.ID, "reason", ev.Reason)
		case p2p.Flapping:
			d.cluster.Violated(ev.ID, "", members.Restless, "other addresses of its own, more often than a host has them")
		case p2p.MembersChanged:
			if id := d.net.ID(); !d.net.HasRight(id, p2p.Worker) && !d.net.HasRight(id, p2p.Submitter) {
				d.loop.Post(engine.Expelled{}) // or without any right that a job needs
			}
			d.warnExpelled()
			d.tellAdmins(d.loop.Post)
			d.jobs.StopRevoked()
			d.cluster.NoteNames()
		case p2p.Message:
			d.receive(ev.From, ev.Payload, ev.Done)
		case p2p.Announced:
			d.receive(ev.From, ev.Payload, ev.Done)
		}
	}
}

// receive hands on a message that may be said, and has done called when it needs no memory any more.
func (d *Daemon) receive(from tasks.PeerID, payload []byte, done func()) {
	if m, ok := d.decode(from, payload); ok {
		d.loop.postThen(engine.Recv{From: from, Msg: m}, done)
		return
	}
	done()
}

// decode reads a message and drops what its sender has no right to say.
func (d *Daemon) decode(from tasks.PeerID, payload []byte) (m engine.Message, ok bool) {
	if err := wire.Unmarshal(payload, &m); err != nil {
		d.cluster.Violated(from, "", members.Undecodable, err.Error())
		return m, false
	}
	if why := d.forbidden(from, &m); why != "" {
		d.cluster.Violated(from, m.Job, members.Rightless, why)
		return m, false
	}
	received(m)
	return m, d.hears(from, m)
}

// forbidden says why a message is dropped, for want of a right. A job's submitter works for that job, whether it may
// work for others or not. Of the report of any other member that may not work nothing is left but that it lives.
func (d *Daemon) forbidden(from tasks.PeerID, m *engine.Message) string {
	submits, works := d.net.HasRight(from, p2p.Submitter), d.net.HasRight(from, p2p.Worker)
	switch {
	case m.Steal == nil && !m.Job.Valid():
		return "it names no job"
	case (m.Open != nil || m.Enlist != nil) && !submits && !works:
		return "its sender has no right to lead a job" // a worker may come to lead one that it has a copy of
	case works:
		return ""
	case m.Steal != nil:
		return d.idleSteal(from, m.Steal, submits)
	case m.Offer == nil && m.Gather == nil && m.Report == nil:
		return ""
	case submits && d.worksFor(from, m.Job):
		return ""
	case m.Report == nil || m.Gather != nil:
		return notWorking
	}
	m.Report = &ledger.Report{Seq: m.Report.Seq}
	return ""
}

const notWorking = "its sender has no right to work"

// worksFor reports whether a member without the right to work may do so for a job, which it does if it has submitted
// that. Where the job is not known nothing comes of it, and so it may.
func (d *Daemon) worksFor(who tasks.PeerID, id tasks.JobID) (may bool) {
	d.loop.Ask(func(p *engine.Peer) {
		submitter := p.Submitter(id)
		may = submitter == "" || submitter == who
	})
	return may
}

// idleSteal is forbidden for what the scheduler of a member says that has no right to work. Anybody may say that it has
// or takes nothing: thieves ask all members.
func (d *Daemon) idleSteal(from tasks.PeerID, m *steal.Message, submits bool) string {
	switch {
	case m.Refuse != nil || m.Ack != nil && !m.Ack.OK:
		return ""
	case !submits:
		return notWorking
	case m.Request != nil:
		return d.ownRequest(from, m.Request)
	case m.Ack != nil:
		return "" // of a grant from here
	case m.Grant != nil:
		return d.foreignGrant(from, m.Grant)
	}
	return ""
}

// ownRequest leaves of a request the sender's own jobs. One that is not known here may turn out to be another's, and
// would be pushed to who waits for it: it is asked for again.
func (d *Daemon) ownRequest(from tasks.PeerID, r *steal.Request) string {
	own, foreign := []int{}, false
	d.loop.Ask(func(p *engine.Peer) {
		for i, id := range r.Jobs[:min(len(r.Jobs), steal.MaxJobs)] {
			switch p.Submitter(id) {
			case from:
				own = append(own, i)
			case "":
			default:
				foreign = true
			}
		}
	})
	if foreign {
		return "its sender has no right to work for another's job"
	}
	*r = r.Only(own)
	return ""
}

// foreignGrant says why work that a member gives away is dropped which may submit jobs and not work: it has units of
// its own jobs, and of those that it leads or has led, and of no other.
func (d *Daemon) foreignGrant(from tasks.PeerID, g *steal.Grant) string {
	may := true
	d.loop.Ask(func(p *engine.Peer) { may = p.MayDeal(g.Job, from) })
	if !may {
		return "its sender gives away work of another's job, and has no right to work"
	}
	return ""
}

// peerUp is what the engine is to know of a member that has a link. Its slots are how many children it may run for jobs
// whose needs its runtimes meet.
func (d *Daemon) peerUp(id tasks.PeerID, info p2p.Info) engine.PeerUp {
	offers := runtimes.Offers(runtimes.Announced(info.Meta))
	up := engine.PeerUp{ID: id, Submits: d.net.HasRight(id, p2p.Submitter), Offers: offers}
	if d.net.HasRight(id, p2p.Worker) {
		up.Slots = info.Slots
	}
	if up.Submits {
		up.Own = info.Slots
	}
	return up
}

// announceRuntimes tells the engine, and the other members, which runtimes can be used here whenever that changes.
func (d *Daemon) announceRuntimes(set *runtimes.Set) {
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-set.Changes():
		}
		told := set.Told()
		if err := d.net.SetMeta(runtimes.Announce(told, p2p.MaxMeta)); err != nil {
			d.log.Error("could not tell the other members what this node can run", "reason", err)
		}
		d.loop.Post(engine.Able{Offers: runtimes.Offers(told)})
	}
}

// mismatch says why a peer and this node can do nothing for each other's jobs, and what to do about it.
func (d *Daemon) mismatch(info p2p.Info) string {
	own, told := runtimes.Able(d.runtimes.Told()), runtimes.Announced(info.Meta)
	theirs := runtimes.Able(told)
	switch {
	case len(told) == 0:
		return "has no runtime to run jobs with: `dtpnode status` there says what to do"
	case len(theirs) < len(told):
		broken := slices.IndexFunc(told, func(t runtimes.Told) bool { return t.Problem != "" })
		return "cannot run jobs with " + told[broken].String() + ": " + told[broken].Problem
	}
	if len(own) == 0 {
		return ""
	}
	mine, its, shared := byKind(own), byKind(theirs), false
	for _, o := range own {
		a, b := mine[o.Kind], its[o.Kind]
		shared = shared || len(b) > 0
		meet := slices.ContainsFunc(a, func(o exec.Info) bool { return runtimes.Meet(told, o.Needs()) })
		if !meet && len(b) > 0 {
			return "has " + exec.InfosText(b) + ", this node " + exec.InfosText(a) +
				", so neither runs such jobs of the other: install the same version"
		}
	}
	if !shared {
		return "has " + exec.InfosText(theirs) + ", this node " + exec.InfosText(own) + ", so neither works for the other"
	}
	return ""
}

// byKind are runtimes by the kind of work that they do.
func byKind(infos []exec.Info) map[string][]exec.Info {
	out := map[string][]exec.Info{}
	for _, i := range infos {
		out[i.Kind] = append(out[i.Kind], i)
	}
	return out
}

// jobsTopic is where homes announce jobs.
const jobsTopic = "jobs"
