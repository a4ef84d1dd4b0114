package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// reporting is when this node next tells a job's home where things stand.
//
// A report is due at next at the latest. It goes sooner if it is urgent, or if there is news and reports are frequent,
// but not so often that this node comes near to its share of the home's time (see allowance).
type reporting struct {
	last   time.Duration // when this node last reported
	next   time.Duration // when it reports next, at the latest
	every  time.Duration // the time between two reports that the home has asked for
	urgent bool          // a report is to go at once
	news   bool          // a report is to go at once where reports are frequent
	spread bool          // next was moved to a time of this node's own, so that not all nodes report at the same time
}

// report reports to the job's home, which may be this peer, if it is time.
func (p *Peer) report(j *jobState) {
	if j.leads() {
		j.reports.every = p.cfg.Report // it costs no message
	}
	few := j.reports.every <= p.cfg.Report
	hurry := (j.reports.urgent || j.reports.news && few) && (j.leads() || p.hurries())
	if j.home == "" || (!hurry && p.now < j.reports.next) || (j.leads() && j.led.home.Ended()) {
		return
	}
	j.reports.next = p.now + j.reports.every
	if !few && j.loaded && !j.reports.spread { // not all nodes at the same time
		j.reports.next, j.reports.spread = p.now+j.reports.every*time.Duration(p.cfg.Steal.Seed%1024)/1024, true
	}
	j.reports.last, j.reports.urgent, j.reports.news = p.now, false, false
	p.seq++
	j.work.stats.Rate = p.sched.Rate(j.id) * float64(p.cfg.Steal.Slots)
	j.work.stats.Merges = j.work.parts.Merges()
	j.work.stats.Slots = p.slotTime(j)
	r := &ledger.Report{
		Seq:      p.seq,
		Ready:    j.loaded && !p.leaving.on,
		Leaving:  p.leaving.on,
		Held:     p.held(j),
		Also:     p.also(j),
		Ran:      p.sched.Ran(j.id) + j.work.parts.Own().Len(),
		Left:     p.sched.Left(j.id),
		Failures: j.failuresToReport(),
		Blames:   p.blames(j),
		Stats:    j.work.stats,
		Aside:    j.aside,
		Full:     j.work.full.why,
	}
	if few {
		r.Traced, r.Gave = true, p.gifts(j)
	}
	if j.desc != nil && j.desc.Open && j.growth.known() > 0 {
		sum := j.growth.sum()
		r.Appends, r.Sum = j.growth.known(), sum[:]
	}
	if j.loaded {
		r.Unseen, r.Presumed = j.sight.unseen(j.data(), j.want())
		if !j.stopped {
			p.lookAhead(j, r.Held)
		}
	}
	if j.home != p.self {
		// Units that find no place in the report may be run elsewhere, too, which costs time and nothing else.
		r.Held, r.Also = r.Held[:min(len(r.Held), maxRanges)], r.Also[:min(len(r.Also), maxRanges)]
		p.payForReport(r)
	}
	p.tellHome(j, Message{Report: r})
}

// pace sets the time between reports as the home asks. It is never shorter than in a small cluster, since a report
// costs this node as much as the home.
func (p *Peer) pace(j *jobState, every time.Duration) {
	if every > 0 && every <= maxEvery {
		every = max(every, p.cfg.Report)
		j.reports.every = every
		j.work.parts.SetPace(every)
		j.reports.next = min(j.reports.next, j.reports.last+every)
	}
}

// maxEvery is the longest time between reports that a home may ask for.
const maxEvery = time.Hour

// onAck takes the home's answer to a report.
func (p *Peer) onAck(j *jobState, a ReportAck) {
	p.pace(j, a.Every)
	if a.Above != "" {
		j.work.parts.SetAbove(a.Above)
	}
	j.work.failures = slices.DeleteFunc(j.work.failures, func(f ledger.Failure) bool { return f.Seq <= a.Failures })
	j.work.blamed, j.reports.urgent = nil, j.reports.urgent || len(j.work.failures) > 0
	for _, f := range j.work.failures {
		j.work.blamed = j.work.blamed.Add(f.Blame)
	}
	if len(a.Busy) <= busyHints {
		p.schedule(steal.Busy{Peers: a.Busy, Left: a.Left})
	}
	p.heedLosses(j, a)
}

// maxFailureText bounds the text of the failures in one report, which must fit in a message.
const maxFailureText = 256 << 10

// failuresToReport are the failures that fit into one report, the oldest first. The others follow when the home has
// booked these.
func (j *jobState) failuresToReport() []ledger.Failure {
	size := 0
	for i, f := range j.work.failures {
		if size += len(f.Reason) + len(f.Stack) + len(f.Tail); size > maxFailureText && i > 0 {
			return slices.Clone(j.work.failures[:i])
		}
	}
	return slices.Clone(j.work.failures)
}

// held is the units that this node reports to hold.
func (p *Peer) held(j *jobState) tasks.Cover {
	return p.sched.Here(j.id).Union(j.work.parts.Own()).Union(j.work.blamed)
}

// also is the units that this node answers for though others hold them (ledger.Report.Also). What was given away stays
// in two reports: when the first of them comes, the taker's last report may be as old as one can be, and one may be
// lost.
func (p *Peer) also(j *jobState) tasks.Cover {
	return p.sched.Given(j.id, p.now-2*j.reports.every).Union(j.work.parts.InMerges())
}

// gifts are what was given away as lately as in also, and partials that others are to merge.
func (p *Peer) gifts(j *jobState) (out []ledger.Gift) {
	room := maxRanges // of the report; gifts that do not fit are not told
	add := func(g ledger.Gift, most int) {
		if len(out) < most && len(g.Ranges) <= room {
			out, room = append(out, g), room-len(g.Ranges)
		}
	}
	for _, m := range j.work.parts.Passed() {
		add(ledger.Gift{To: m.To, Ranges: m.Partial.Cover, Merge: true}, ledger.MaxGifts/2)
	}
	for _, g := range p.sched.Gifts(j.id, p.now-2*j.reports.every) {
		add(ledger.Gift{To: g.To, Ranges: g.Ranges, Taken: g.Taken}, ledger.MaxGifts)
	}
	return out
}

// giftPieces counts the ranges in gifts.
func giftPieces(gifts []ledger.Gift) (n int) {
	for _, g := range gifts {
		n += len(g.Ranges)
	}
	return n
}

// mayReport reports whether there is a home to report to.
func (j *jobState) mayReport() bool { return j.home != "" && (!j.leads() || !j.led.home.Ended()) }
