package quorum

import (
	"math/rand/v2"
	"time"
)

// election is when this replica stands for election: one to two timeouts after the last reason to believe that there is
// a leader, or that there will be. raft's own countdown never runs.
type election struct {
	rand    *rand.Rand
	timeout time.Duration
	at      time.Duration // when this replica stands next
	tick    time.Duration // when raft's next tick is due
}

// restart begins the election timeout anew.
func (e *election) restart(now time.Duration) {
	e.at = now + e.timeout + time.Duration(e.rand.Int64N(int64(e.timeout)))
}

// hearing is who was heard when. A leader counts no silence from before it led, since it had no claim to an answer.
type hearing struct {
	last       map[uint64]time.Duration // when each voter's last frame came in, or it became a voter
	leadsSince time.Duration            // for a leader
	lease      time.Duration            // the leader's lease: until then no other leader is accepted
}

// note takes note that a voter is heard.
func (h *hearing) note(id uint64, now time.Duration) { h.last[id] = now }

// forget forgets a former voter.
func (h *hearing) forget(id uint64) { delete(h.last, id) }

// quiet is how long a leader has not heard a voter.
func (h *hearing) quiet(id uint64, now time.Duration) time.Duration {
	return now - max(h.last[id], h.leadsSince)
}

// within reports whether a voter was heard in a time, led or not.
func (h *hearing) within(id uint64, now, d time.Duration) bool { return now-h.last[id] <= d }

// excuse does not count a pause of this process as silence of the others.
func (h *hearing) excuse(late, now, timeout time.Duration) {
	for id, at := range h.last {
		h.last[id] = min(at+late, now)
	}
	h.leadsSince = min(h.leadsSince+late, now)
	h.lease = min(h.lease+late, now+timeout)
}

// clock runs raft's ticks and the election timeout. Missed ticks are not made up for: if this process was paused, that
// is no reason for a leader to believe that its followers were silent.
func (r *Replica) clock() {
	if r.broken {
		return
	}
	if r.now >= r.election.tick {
		if late := r.now - r.election.tick; late > r.cfg.Heartbeat { // nor for this replica to believe it of the others
			r.hearing.excuse(late, r.now, r.cfg.Election)
		}
		r.election.tick = r.now + r.cfg.Heartbeat
		if r.leads() {
			r.node.Tick()
			r.election.restart(r.now)
			r.offerAgain()
			r.gathering.asked = 0
			r.reelect()
		} else {
			r.pieces.serving = nil
			r.askAgain()
			r.node.TickQuiesced() // counts for the leader's lease, but never makes it stand
		}
	}
	if r.now < r.election.at {
		return
	}
	r.election.restart(r.now)
	if last, _ := r.disk.LastIndex(); last > 0 && r.mayLeadNow(r.self.ID) {
		_ = r.node.Campaign() // raft refuses if this voter may not stand
	}
}
