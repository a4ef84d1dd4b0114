package ledger

import (
	"slices"

	"github.com/dtpnode/dtpnode/tasks"
)

// replicas are the other nodes that have a copy of the record, and keep the blobs of what is committed. A replica's
// word that it keeps a blob counts as long as it is the same voter of the log: one that leaves deletes what it keeps,
// and one that has lost its disk comes back as another voter.
type replicas struct {
	self       tasks.PeerID
	ids        []tasks.PeerID          // of the others, without self
	voters     map[tasks.PeerID]uint64 // the ID of the voter of the log that each of ids is
	complete   bool                    // there are as many as there should be; commits wait until then
	unwritable map[tasks.PeerID]int    // how often in a row a replica could not write a blob
	resumed    bool                    // another home has led the job before, and its replicas are not known here yet
}

func newReplicas(self tasks.PeerID) replicas {
	return replicas{self: self, unwritable: map[tasks.PeerID]int{}, voters: map[tasks.PeerID]uint64{}}
}

// quorate reports whether this node keeps k, and with it a majority of all replicas.
func (rs *replicas) quorate(k *keeping) bool { return keptByMost(k, rs.self, rs.ids) }

// keptByMost reports whether self keeps k, and with it a majority of itself and others.
func keptByMost(k *keeping, self tasks.PeerID, others []tasks.PeerID) bool {
	n := 0
	for _, id := range others {
		if k.by[id] {
			n++
		}
	}
	return k.by[self] && n+1 > (len(others)+1)/2
}

// sources are the replicas that keep k, this node first.
func (rs *replicas) sources(k *keeping) (ids []tasks.PeerID) {
	if k.by[rs.self] {
		ids = append(ids, rs.self)
	}
	for _, id := range rs.ids {
		if k.by[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// replicasAre follows the set of replicas. A node that leaves it deletes what it keeps, so it is asked anew to keep
// blobs if it comes back, even at once.
func (h *Home) replicasAre(ev Replicas) {
	now := map[tasks.PeerID]uint64{}
	for i, id := range ev.IDs {
		now[id] = ev.Voters[i]
	}
	if h.replicas.resumed {
		for _, id := range ev.IDs {
			h.expect(id)
		}
	}
	was := h.replicas.voters
	for _, id := range h.replicas.ids {
		if voter, stays := now[id]; !stays || voter != was[id] {
			h.keepsNothing(id)
		}
	}
	rs := &h.replicas
	rs.ids, rs.voters, rs.complete, rs.resumed = ev.IDs, now, ev.Ready, false
	h.settleAll()
}

// keepsNothing forgets what a replica has said that it keeps, since it has left or lost its disk.
func (h *Home) keepsNothing(id tasks.PeerID) {
	for _, k := range h.kept.all {
		delete(k.by, id)
	}
	for _, o := range h.offers.all {
		delete(o.by, id)
	}
	if h.folding.made() {
		delete(h.folding.fold.by, id)
	}
	if h.ending.result != nil {
		delete(h.ending.result.by, id)
	}
	delete(h.replicas.unwritable, id)
}

// settleAll looks again at everything that waits to be kept by a quorum, since the replicas have changed.
func (h *Home) settleAll() {
	for _, o := range slices.Clone(h.offers.all) {
		if o.state == fetching {
			h.askToKeep(o.keeping)
		}
		h.settle(o)
	}
	if h.folding.made() {
		h.askToKeep(h.folding.fold.keeping)
	}
	h.settleFold()
	h.kept.checked = tasks.Moment{}
	h.settleResult()
}

// maxUnwritten is how often in a row a replica fails to write a blob before another takes its place.
const maxUnwritten = 3

// CannotWrite reports whether a replica's disk takes no more blobs. It may still take the log.
func (h *Home) CannotWrite(id tasks.PeerID) bool { return h.replicas.unwritable[id] >= maxUnwritten }
