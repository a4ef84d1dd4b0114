package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// A node may take work, do nothing about it, and not even report that it holds it. The audit has such units run
// again, but the node would take them again. So each node reports who took from it what was later found to be lost
// (Blame), and the home counts what each node has delivered. A node that has lost far more than it has delivered is
// named to all (Loser), and from then on is given work only in step with what it delivers. One that was blamed
// wrongly, or that crashed, is therefore soon trusted again.
const (
	maxBlames = 16
	maxLosers = 16
	// owes is how many units a node may have lost for each unit that it has delivered, and a few in addition.
	owes, owesFirst = 4, 16
	// fewWitnesses is the largest number of nodes among which the word of a single one counts. Among more nodes, the
	// largest number that any one says of another is left out.
	fewWitnesses = 3
)

// Blame is a node's word on another one, By: how many of the units that By has ever taken from it were found to be held
// by nobody.
type Blame struct {
	By    tasks.PeerID `msgpack:"b"`
	Units int64        `msgpack:"u"`
}

// Loser is a node that has lost much of what it took.
type Loser struct {
	ID        tasks.PeerID
	Delivered int64 // how many committed units it has run
	Lost      int64 // how many units it has lost, as others say
}

// delivers counts the units of a committed partial for the nodes that made its parts, in equal shares.
func (ss standings) delivers(p merge.Partial, now time.Duration) {
	makers := []tasks.PeerID{p.ID.Node}
	for _, k := range p.Kids {
		makers = append(makers, k.Node)
	}
	for _, id := range makers {
		s := ss.of(id)
		s.delivered, s.lastAt = s.delivered+p.Cover.Len()/int64(len(makers))+1, now
	}
}

// Losers are the nodes that have lost far more than they have delivered, the worst first.
func (h *Home) Losers() (out []Loser) {
	said := map[tasks.PeerID][]int64{} // by node, how many units it has lost as each of the others says
	lost := map[tasks.PeerID]int64{}
	for _, id := range h.nodes.order {
		for _, b := range h.nodes.byID[id].report.Blames {
			switch units := min(b.Units, h.counts.Reissued); {
			case b.By == id || b.By == h.cfg.Self || units <= 0:
			case id == h.cfg.Self:
				lost[b.By] = units
			default:
				said[b.By] = append(said[b.By], units)
			}
		}
	}
	for id, all := range said {
		if len(h.nodes.order) > fewWitnesses { // one of them may lie
			slices.Sort(all)
			all = all[:len(all)-1]
		}
		for _, units := range all {
			lost[id] = min(lost[id]+units, h.counts.Reissued)
		}
	}
	for id, units := range lost {
		done := int64(0)
		if s := h.standings[id]; s != nil {
			done = s.delivered
		}
		if units > owes*done+owesFirst {
			out = append(out, Loser{ID: id, Delivered: done, Lost: units})
		}
	}
	slices.SortFunc(out, func(a, b Loser) int { return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(a.ID, b.ID)) })
	return out[:min(len(out), maxLosers)]
}
