package ledger

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// stopping is the winding up of a job: it is proposed, has begun once the log has it, and ends when no node holds
// anything any more or Config.StopWait has passed. What is open then is lost with the job's end.
type stopping struct {
	proposed tasks.Moment // last
	reason   string       // of the proposal
	begun    bool         // the record says so
	begunAt  time.Duration
}

// stop has the job wound up, once that is in the log.
func (h *Home) stop(why string) {
	if h.record.Stop == nil && !h.stopping.proposed.Within(h.cfg.Propose, h.now) {
		h.stopping.proposed, h.stopping.reason = tasks.At(h.now), why
		h.emit(Propose{Entry{Stop: &Stop{Reason: why}}})
	}
}

// stopAgain proposes a stop again that the log may have lost; called at each audit.
func (h *Home) stopAgain() {
	if !h.stopping.proposed.Never() {
		h.stop(h.stopping.reason)
	}
}

// windUp ends the job: what comes in within StopWait is in the result.
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

// drained reports whether all nodes have answered the winding up and hold nothing any more.
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
