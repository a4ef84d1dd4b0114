package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// ending is the way from the last commit to the result: the end is proposed, then this node makes the result, a quorum
// keeps it, and it is proposed. It begins again when a committed blob turns out to be damaged or lost.
type ending struct {
	proposed tasks.Moment  // when the end was last proposed; never if it is not due
	ordered  bool          // Finish was emitted for the record as it stands
	final    Result        // the result that this node has made
	finalAt  time.Duration // when it was made
	result   *keeping      // who keeps final; nil until it is made
	givenUp  bool          // Fail was emitted, or the home was told to do nothing more

	attempt   *Attempt     // a failed attempt of this node to make the result, until it is in the log; nil for none
	attemptAt tasks.Moment // when attempt was last proposed
}

// checkEnd is the only place where a job is found to be complete: all wanted units are committed or set aside or, in a
// job that is wound up, nobody holds anything that could still be committed.
func (h *Home) checkEnd() {
	switch {
	case h.ending.givenUp:
		return
	case h.record.Ended:
		h.attemptAgain()
		h.finish()
		return
	case h.ending.proposed.Within(h.cfg.Propose, h.now):
		return
	}
	accounted := !h.record.Growth.Open && h.unaccounted().Empty()
	if !accounted && !(h.stopping.begun && (h.drained() || h.now-h.stopping.begunAt >= h.cfg.StopWait)) {
		return
	}
	h.ending.proposed = tasks.At(h.now)
	h.emit(Propose{Entry{End: &End{}}})
}

// finish has this node make the result, once it keeps all that is committed.
func (h *Home) finish() {
	if h.ending.ordered || !h.KeepsAll() || !h.MayTry(h.cfg.Self) {
		return
	}
	h.ending.ordered = true
	h.emit(Finish{Lost: h.record.Lost})
}

// finished takes the result that this node has made. When a quorum keeps it, it is proposed.
func (h *Home) finished(r Result) {
	h.ending.final, h.ending.finalAt = r, h.now
	h.ending.result = newKeeping(merge.Partial{})
	h.ending.result.by[h.cfg.Self] = true
	h.askForResult()
}

// spareWait is how long the end of a job waits for a second copy of its result, where the quorum is this node alone.
const spareWait = 5 * time.Second

// holders are the other nodes that are to keep the result: the replicas or, where there are none, two nodes that work,
// so that the loss of one node does not lose the result.
func (h *Home) holders() []tasks.PeerID {
	ids := slices.Clone(h.replicas.ids)
	if len(ids) > 0 {
		return ids
	}
	for _, id := range h.nodes.order {
		if len(ids) < 2 && id != h.cfg.Self && h.nodes.loaded(id) && !h.Leaving(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// askForResult asks those holders to keep the result that are not known to.
func (h *Home) askForResult() {
	e := &h.ending
	e.result.asked = h.now
	if e.final.SHA256 != "" {
		for _, id := range h.holders() {
			if !e.result.by[id] {
				h.emit(KeepResult{To: id, Result: e.final})
			}
		}
	}
	h.settleResult()
}

// resultKept takes a node's word that it keeps the result.
func (h *Home) resultKept(ev Kept) {
	if e := &h.ending; e.result != nil && ev.SHA256 == e.final.SHA256 {
		e.result.by[ev.From] = true
		h.settleResult()
	}
}

// spared reports whether the result has a second copy, or none can be had.
func (h *Home) spared() bool {
	return len(h.ending.result.by) > 1 || len(h.holders()) == 0 || h.now-h.ending.finalAt >= spareWait
}

// settleResult proposes the result when a quorum keeps its file, or at once if there is none.
func (h *Home) settleResult() {
	e := &h.ending
	if e.result == nil || h.record.Result != nil {
		return
	}
	if e.final.SHA256 == "" || h.replicas.quorate(e.result) && h.spared() {
		r := e.final
		h.emit(Propose{Entry{Result: &r}})
	}
}

// spares are the nodes that keep the result and have no copy of the ledger, and so hear of the end from the home alone.
func (h *Home) spares() (ids []tasks.PeerID) {
	if h.ending.result == nil {
		return nil
	}
	for _, id := range h.nodes.order {
		if h.ending.result.by[id] && id != h.cfg.Self && !slices.Contains(h.replicas.ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
