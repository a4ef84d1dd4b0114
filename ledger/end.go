package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// ending is the way from the last commit to the result: the end is proposed, then the result is ordered from this node,
// kept by a quorum, and proposed. It goes back to its beginning when a committed blob turns out to be damaged or lost.
type ending struct {
	proposed tasks.Moment  // when the end was last proposed, never if it is not due
	ordered  bool          // Finish was emitted for the record as it stands
	final    Result        // as this node has made it
	finalAt  time.Duration // when it had
	result   *keeping      // who keeps final; nil until it is made
	givenUp  bool          // Fail was emitted, or the home told to do nothing more

	attempt   *Attempt     // to make the result, that failed here, until the log has it
	attemptAt tasks.Moment // when it was last proposed
}

// checkEnd is the only test of completion: committed and set aside together are what is wanted; or,
// after Stop, nobody holds anything that could still be committed.
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
	accounted := !h.record.Growth.Open && h.open().Empty()
	if !accounted && !(h.stopping.begun && (h.drained() || h.now-h.stopping.begunAt >= h.cfg.StopWait)) {
		return
	}
	h.ending.proposed = tasks.At(h.now)
	h.emit(Propose{Entry{End: &End{}}})
}

// finish has the result made once all that is committed is here.
func (h *Home) finish() {
	if h.ending.ordered || !h.KeepsAll() || !h.MayTry(h.cfg.Self) {
		return
	}
	h.ending.ordered = true
	h.emit(Finish{Lost: h.record.Lost})
}

// finished has the result kept by a quorum, and then written to the log.
func (h *Home) finished(r Result) {
	h.ending.final, h.ending.finalAt = r, h.now
	h.ending.result = newKeeping(merge.Partial{})
	h.ending.result.by[h.cfg.Self] = true
	h.askForResult()
}

// spareWait is how long the end of a job waits for a second copy of its result, where no quorum asks for one.
const spareWait = 5 * time.Second

// holders are the nodes beside this one that shall keep the result: the replicas, and where there are none any
// node that works, so that the result survives the loss of one holder.
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

// askForResult asks those holders for whom it is not known that they keep the result.
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

// spares are the nodes that keep the result and no copy of the ledger: they hear of the end from the home alone.
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
