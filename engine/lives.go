package engine

import (
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// life is one run of a peer: after a restart it counts anew.
type life struct {
	id   tasks.PeerID
	boot uint64
}

func lifeOf(id tasks.PeerID, r ledger.Report) life { return life{id, r.Seq >> 24} }

// maxLives bounds the lives of nodes that have gone of which a job's home remembers what they counted.
const maxLives = 2048

// rememberLife keeps what a node has counted in the life that has just ended. Earlier lives of the node, which never
// come back, are one from then on; beyond the bound the nodes that come first by their names are forgotten, for display
// is all that this is for.
func (j *jobState) rememberLife(l life, s ledger.Stats) {
	if j.led.gone == nil {
		j.led.gone = map[life]ledger.Stats{}
	}
	old := life{id: l.id}
	for o, counted := range j.led.gone {
		if o.id == l.id && o.boot < l.boot && o != old {
			j.led.gone[old] = sum(counted, j.led.gone[old])
			delete(j.led.gone, o)
		}
	}
	j.led.gone[l] = s
	if len(j.led.gone) > maxLives {
		least := l
		for o := range j.led.gone {
			if o.id < least.id || o.id == least.id && o.boot < least.boot {
				least = o
			}
		}
		delete(j.led.gone, least)
	}
}

// keepStats keeps what a node that goes has counted.
func (j *jobState) keepStats(id tasks.PeerID) {
	if r, ok := j.led.home.Nodes()[id]; ok && r.Seq > 0 {
		j.rememberLife(lifeOf(id, r), r.Stats)
	}
}

// allNodes are the last reports of all nodes, with what those counted that went, or went and came back.
func (j *jobState) allNodes() map[tasks.PeerID]ledger.Report {
	out := j.led.home.Nodes()
	now := map[life]bool{}
	for id, r := range out {
		now[lifeOf(id, r)] = true
	}
	for l, s := range j.led.gone {
		if now[l] {
			continue
		}
		r := out[l.id]
		r.Stats = sum(r.Stats, s)
		out[l.id] = r
	}
	return out
}

// sum adds what an earlier life counted; what is gone has no rate.
func sum(s, gone ledger.Stats) ledger.Stats {
	s.Units += gone.Units
	s.Bytes += gone.Bytes
	s.Packets += gone.Packets
	s.Steals += gone.Steals
	s.Merges += gone.Merges
	s.Generations += gone.Generations
	s.Failures += gone.Failures
	s.Slots += gone.Slots
	return s
}
