package engine

import "github.com/dtpnode/dtpnode/ledger"

// maxLives bounds the lives of nodes that have gone of which a job's home remembers what they counted.
const maxLives = 2048

// wentBy keeps what a life of a node has counted that has just gone. Earlier lives of the node, which never come back,
// are one from then on; beyond the bound the nodes that come first by their names are forgotten, for display is all that
// this is for.
func (j *jobState) wentBy(l life, s ledger.Stats) {
	if j.gone == nil {
		j.gone = map[life]ledger.Stats{}
	}
	old := life{id: l.id}
	for o, counted := range j.gone {
		if o.id == l.id && o.boot < l.boot && o != old {
			j.gone[old] = sum(counted, j.gone[old])
			delete(j.gone, o)
		}
	}
	j.gone[l] = s
	if len(j.gone) > maxLives {
		least := l
		for o := range j.gone {
			if o.id < least.id || o.id == least.id && o.boot < least.boot {
				least = o
			}
		}
		delete(j.gone, least)
	}
}
