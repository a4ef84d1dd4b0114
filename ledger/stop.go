package ledger

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// stopping is the winding up of a job. It is proposed first, begins when that is in the log, and ends when no node
// holds anything of the job any more, or after Config.StopWait. Units that are open then are told as missing.
type stopping struct {
	proposed tasks.Moment // when it was last proposed
	reason   string       // that was proposed with it
	begun    bool         // the record says that it has begun
	begunAt  time.Duration
}

// stop proposes to wind the job up.
func (h *Home) stop(why string) {
	if h.record.Stop == nil && !h.stopping.proposed.Within(h.cfg.Propose, h.now) {
		h.stopping.proposed, h.stopping.reason = tasks.At(h.now), why
		h.emit(Propose{Entry{Stop: &Stop{Reason: why}}})
	}
}

// stopAgain proposes it again if the log may have lost the proposal. It is called at each audit.
func (h *Home) stopAgain() {
	if !h.stopping.proposed.Never() {
		h.stop(h.stopping.reason)
	}
}

// windUp begins to wind the job up. What is committed within Config.StopWait will be in the result.
func (h *Home) windUp() {
	if h.stopping.begun {
		return
	}
	h.stopping.begun, h.stopping.begunAt = true, h.now
	for _, n := range h.nodes.byID {
		n.fresh = false
	}
	h.emit(StopAll{})
}

// drained reports whether all nodes have reported since the winding up began, and hold nothing any more.
func (h *Home) drained() bool {
	if len(h.offers.all) > 0 {
		return false
	}
	done := h.record.Done.Cover()
	for _, n := range h.nodes.byID {
		if n.heard && (!n.fresh || !done.Covers(n.report.Held) || !done.Covers(n.report.Also)) {
			return false
		}
	}
	return true
}

// Stopping reports whether the job is being wound up.
func (h *Home) Stopping() bool { return h.stopping.begun }
