package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// losses is what this node has heard from the home of units that were lost.
type losses struct {
	heardSeq uint64       // number of the last loss that was heard of, in the count of heardOn
	heardOn  tasks.PeerID // the home that counts the losses
	someLose bool         // the home has last named some nodes that lose what they take
}

// A home tells the nodes of a job which units it has found to be held by nobody. Each node can then see to whom it gave
// such units (package steal), and reports that. From these reports the home knows which nodes lose what they take
// (package ledger), and tells the nodes that, too.
const (
	lostFor       = 5 * time.Second // how long the home tells of a loss, since answers to reports may be lost
	maxLosers     = 16              // nodes named as losing what they take
	maxLosses     = 16              // losses that are told of at a time
	maxLostRanges = 64              // ranges of one loss
)

// lostAt is a loss: units that the home has put back to work.
type lostAt struct {
	seq    uint64
	ranges tasks.Cover
	at     time.Duration
}

// noteLoss notes at the home that units are put back to work.
func (p *Peer) noteLoss(j *jobState, ranges tasks.Cover) {
	j.led.lostSeq++
	j.led.lost = append(j.led.lost, lostAt{j.led.lostSeq, ranges[:min(len(ranges), maxLostRanges)], p.now})
	j.led.lost = j.led.lost[max(len(j.led.lost)-maxLosses, 0):]
}

// lostLately lists the losses that the home still tells of.
func (p *Peer) lostLately(j *jobState) (out []Loss) {
	j.led.lost = slices.DeleteFunc(j.led.lost, func(l lostAt) bool { return p.now-l.at > lostFor+2*j.reports.every })
	for _, l := range j.led.lost {
		out = append(out, Loss{Seq: l.seq, Ranges: l.ranges, Ago: p.now - l.at})
	}
	return out
}

// losers are the nodes that this home has found to lose what they take, or not to hand out the partials that they make
// of it.
func losers(j *jobState) (out []steal.Loser) {
	for _, l := range append(j.led.home.Losers(), j.led.home.Tardy()...) {
		if !slices.ContainsFunc(out, func(o steal.Loser) bool { return o.ID == l.ID }) {
			out = append(out, steal.Loser{ID: l.ID, Delivered: l.Delivered})
		}
	}
	return out[:min(len(out), maxLosers)]
}

// blames is what this node reports of nodes that took work from it and lost it.
func (p *Peer) blames(j *jobState) (out []ledger.Blame) {
	for _, b := range p.sched.Blames(j.id) {
		out = append(out, ledger.Blame{By: b.ID, Units: b.Units})
	}
	return out
}

// heedLosses takes what the home tells of losses, each loss once.
func (p *Peer) heedLosses(j *jobState, a ReportAck) {
	if j.losses.heardOn != j.home {
		j.losses.heardOn, j.losses.heardSeq = j.home, 0
	}
	if len(a.Losers) > 0 || j.losses.someLose {
		j.losses.someLose = len(a.Losers) > 0
		p.schedule(steal.Losers{Job: j.id, All: a.Losers})
	}
	for _, l := range a.Lost {
		if l.Seq > j.losses.heardSeq {
			j.losses.heardSeq = l.Seq
			p.schedule(steal.Lost{Job: j.id, Cover: l.Ranges, Ago: l.Ago})
		}
	}
}
