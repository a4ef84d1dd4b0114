package ledger

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// A node may hand out what it offers so slowly that the fetch is given up. Be it a lie or a bad link, the job waits for that
// once: from then on the node is tardy. It is shady, so that its offers come last, one at a time, and stand in nobody's way;
// what it holds is run by others as soon as they have nothing else to do; and it is given next to no work of others. It goes on
// with its own, and what comes through before others have done it counts: a node with a bad link costs the job what that node
// would have done, and is trusted again once it has delivered. Each next time it must deliver twice as often for that.
//
// Where nothing has come from any other node meanwhile it may be the home's own link, and nobody is tardy for it.

// maxTardy bounds how often a tardy node must deliver, as a power of two.
const maxTardy = 6

// tooSlowFrom notes that a blob came too slowly from a node since a time.
func (h *Home) tooSlowFrom(id tasks.PeerID, since time.Duration) {
	if id == h.cfg.Self || !h.cameFromOthers(id, since) {
		return
	}
	before, s := h.shady(id), h.standing(id)
	s.slow++
	s.tardy = max(s.tardy, 1<<min(s.slow-1, maxTardy))
	if !before {
		h.becameShady(id)
	}
}

// cameFromOthers reports whether a blob has come here since a time from another node than one, and this one.
func (h *Home) cameFromOthers(id tasks.PeerID, since time.Duration) bool {
	for o, s := range h.standings {
		if o != id && o != h.cfg.Self && s.cameAt > since {
			return true
		}
	}
	return false
}

// tardy reports whether what a node holds is waited for no more.
func (h *Home) tardy(id tasks.PeerID) bool {
	s := h.standings[id]
	return s != nil && s.tardy > 0
}

// Slow tells of which nodes blobs came too slowly, and how often.
func (h *Home) Slow() map[tasks.PeerID]int {
	out := map[tasks.PeerID]int{}
	for id, s := range h.standings {
		if s.slow > 0 {
			out[id] = s.slow
		}
	}
	return out
}

// Tardy are the nodes that have to deliver before they are given more work, in order, and what each has delivered so far.
func (h *Home) Tardy() (out []Loser) {
	for _, id := range h.order {
		if h.tardy(id) {
			out = append(out, Loser{ID: id, Delivered: h.standing(id).delivered})
		}
	}
	return out
}
