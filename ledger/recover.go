package ledger

import (
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// Recover makes the record one that goes on from this copy alone, since the others are lost for good, and notes under
// whose word. What the others committed and this copy does not have runs again: nodes that take it for committed are
// told that it is not. A result that nobody has any more (kept is false) is made again.
func (r *Record) Recover(by quorum.Link, kept bool) {
	if r.Result != nil && r.Result.SHA256 != "" && !kept {
		r.Result = nil
	}
	r.Recovery = &by
	r.Undone = r.Undone.Union(r.Open())
	r.Attempts, r.Round = nil, r.Round+1 // those who tried may be gone
}

// Epoch tells apart what came of a job's ledger by recoveries: of two ends, or two homes, of a job the one of the later
// epoch counts. It is 0 for a ledger that was never recovered.
func (r *Record) Epoch() uint64 {
	if r.Recovery == nil {
		return 0
	}
	return quorum.Epoch(r.Recovery.Conf.Term)
}

// checkRecovery holds a record that came from elsewhere to what Recover keeps true. Who signed is not asked: whoever
// hands a record over could have written all of it.
func (r *Record) checkRecovery() error {
	if r.Recovery == nil {
		return nil
	}
	if err := r.Recovery.RecoveryConf(); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return nil
}

// maxAsked is how many nodes are asked at once for a blob that a recovered record names.
const maxAsked = 32

// whoever are the nodes that a blob is asked of: the replicas, or, where those that kept it are lost, all that are
// there, some at a time.
func (h *Home) whoever(k *keeping) []tasks.PeerID {
	ids := slices.Clone(h.replicas.ids)
	if h.record.Recovery == nil {
		return ids
	}
	for i := range min(maxAsked, len(h.nodes.order)) {
		if id := h.nodes.order[(k.fails*maxAsked+i)%len(h.nodes.order)]; id != h.cfg.Self {
			ids = append(ids, id)
		}
	}
	return ids
}
