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

// wentBy keeps what a life of a node has counted that has just gone. Earlier lives of the node, which never come back,
// are one from then on; beyond the bound the nodes that come first by their names are forgotten, for display is all that
// this is for.
func (j *jobState) wentBy(l life, s ledger.Stats) {
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
