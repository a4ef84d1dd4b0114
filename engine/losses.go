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
	heardSeq uint64       // of the last loss that was heard of
	heardOn  tasks.PeerID // the home that has counted so
	someLose bool         // the home has named nodes that lose what they take
}

// A home tells the nodes of a job which units were found to be held by nobody, so that each can see who took them from
// it (package steal) and report that, and which nodes lose what they take (package ledger).
const (
	lostFor       = 5 * time.Second // units are told as lost for so long: a report or two may be lost
	maxLosers     = 16
	maxLosses     = 16
	maxLostRanges = 64 // of each
)

// lostAt is what was put back to work at a time.
type lostAt struct {
	seq    uint64
	ranges tasks.Cover
	at     time.Duration
}

// noteLoss notes at the home what is put back to work.
func (p *Peer) noteLoss(j *jobState, ranges tasks.Cover) {
	j.led.lostSeq++
	j.led.lost = append(j.led.lost, lostAt{j.led.lostSeq, ranges[:min(len(ranges), maxLostRanges)], p.now})
	j.led.lost = j.led.lost[max(len(j.led.lost)-maxLosses, 0):]
}

// lostLately is what was put back to work of late.
func (p *Peer) lostLately(j *jobState) (out []Loss) {
	j.led.lost = slices.DeleteFunc(j.led.lost, func(l lostAt) bool { return p.now-l.at > lostFor+2*j.reports.every })
	for _, l := range j.led.lost {
		out = append(out, Loss{Seq: l.seq, Ranges: l.ranges, Ago: p.now - l.at})
	}
	return out
}

// losers are the nodes that lose what they take, as far as this home knows, or do not hand out what they make of it.
func losers(j *jobState) (out []steal.Loser) {
	for _, l := range append(j.led.home.Losers(), j.led.home.Tardy()...) {
		if !slices.ContainsFunc(out, func(o steal.Loser) bool { return o.ID == l.ID }) {
			out = append(out, steal.Loser{ID: l.ID, Delivered: l.Delivered})
		}
	}
	return out[:min(len(out), maxLosers)]
}

// blames is what this node reports of who took work from it.
func (p *Peer) blames(j *jobState) (out []ledger.Blame) {
	for _, b := range p.sched.Blames(j.id) {
		out = append(out, ledger.Blame{By: b.ID, Units: b.Units})
	}
	return out
}

// heedLosses takes what the home tells, each loss once.
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
