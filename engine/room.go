package engine

import (
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
)

// What a node keeps on its disk of outputs that are not committed is bounded (Config.Keep). An output is sealed, and
// partials are merged, only where there is room for what comes of it. Until then an output waits where it is, in the
// memory of its generation, so that a disk that fills faster than partials are committed slows a job, and fails
// nothing. Folds of what is committed are not counted: they make room.

// room is how this node stands with its disk.
//
// While full is set nothing is begun here, and no merge is taken on. Generations in seals have done their work, and
// hold their output in memory until there is room for it.
type room struct {
	full  bool
	seals []steal.GenID // in the order in which they were ready
}

// sealNext lets generations seal whose output there is room for, in the order in which they are ready.
func (p *Peer) sealNext() {
	p.room.seals = slices.DeleteFunc(p.room.seals, func(id steal.GenID) bool { return p.gens[id] == nil })
	for len(p.room.seals) > 0 {
		g := p.gens[p.room.seals[0]]
		need := p.outputSize(g.job)
		taken := p.taken()
		if p.cfg.Keep > 0 && taken > 0 && taken+need > p.cfg.Keep { // a larger one than the bound goes alone
			return
		}
		g.room = max(need, 1)
		p.emit(SealGen{Gen: p.room.seals[0], ID: p.nextID(), Units: g.cover.Len(), Canary: g.canary})
		p.room.seals = p.room.seals[1:]
	}
}

// outputSize is what a generation's output may have: a little more than the largest of its job so far. Nothing is known
// of the first ones: they take half of the room each.
func (p *Peer) outputSize(j *jobState) int64 {
	if j.work.largest == 0 {
		return p.cfg.Keep / 2
	}
	return j.work.largest + j.work.largest/8
}

// taken is what is kept here, or will be by what is being sealed and merged.
func (p *Peer) taken() int64 {
	n := p.Kept()
	for _, g := range p.gens {
		n += g.room
	}
	return n
}

// roomFor is a job's partials here, told how much merges of them may add to what is kept.
func (p *Peer) roomFor(j *jobState) *merge.Local {
	room := int64(math.MaxInt64)
	if p.cfg.Keep > 0 {
		room = max(p.cfg.Keep-p.taken(), 0)
	}
	j.work.parts.SetRoom(room)
	return j.work.parts
}

// makeRoom lets seal what there is room for, and has nothing more begun where there is none.
func (p *Peer) makeRoom() {
	if p.sealNext(); p.cfg.Keep <= 0 {
		return
	}
	kept := p.Kept()
	if full := len(p.room.seals) > 0 || kept >= p.cfg.Keep || (p.room.full && kept > p.cfg.Keep*3/4); full != p.room.full {
		p.room.full = full
		p.schedule(steal.Full{On: full})
		p.sealNext()
	}
}

// Kept is how many bytes of partials are kept here that are not known to be committed, with what merges that are under
// way may come to.
func (p *Peer) Kept() (n int64) {
	for _, j := range p.jobs {
		if !j.shut {
			n += j.work.parts.Bytes()
		}
	}
	return n
}

// A disk may also be full of what others have written there. That ends no open job, whose items wait for somebody: a
// node that could not write what came of them goes on with the job after a pause, and leaves them to others that ask
// for work meanwhile. Its reports say why. Jobs that are whole when they are submitted end with what the disk took, and
// can be retried (package ledger).

// full is how often in a row this node's disk took nothing more of an open job, and why; zero where it does.
type full struct {
	times int
	why   string
}

// The pauses of an open job on a full disk: each is twice as long as the one before, since people make room, and not
// soon.
const (
	firstFullPause = 250 * time.Millisecond
	fullPauses     = 5 // times that it is doubled, to 8 s
)

// waitsForRoom reports whether a failure is one of this node's disk for which the job is to wait.
func (j *jobState) waitsForRoom(f ledger.Failure) bool {
	return j.desc != nil && j.desc.Open && f.Kind == diskKind && f.Blame.Empty() && !f.Fatal
}

// noRoom notes that this node's disk took nothing more of a job, and returns how long it is to wait.
func (j *jobState) noRoom(why string) time.Duration {
	pause := firstFullPause << min(j.work.full.times, fullPauses)
	j.work.full = full{j.work.full.times + 1, ledger.Failure{Reason: why}.Cut().Reason}
	j.reports.urgent = true
	return pause
}

// hasRoom notes that this node's disk takes what comes of a job.
func (j *jobState) hasRoom() {
	j.reports.urgent = j.reports.urgent || j.work.full.times > 0
	j.work.full = full{}
}
