package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// nodes are the members that are connected, and what each of them has reported last. order has exactly the keys of
// byID, sorted, since effects must not depend on the order of a map. slots is the sum of the nodes' slots. pending
// counts the nodes that have reported before, but not since the last audit.
type nodes struct {
	cfg     *Config // says how often nodes report
	byID    map[tasks.PeerID]*node
	order   []tasks.PeerID
	slots   int
	pending int
	busy    []tasks.PeerID // nodes with waiting work at the last audit, those with the most first
}

// node is what this home knows of a connected member.
type node struct {
	slots  int           // with which it works for the job; 0 if it does not
	upAt   time.Duration // when it was connected
	report Report        // its last report
	heard  bool          // it has reported
	spoke  bool          // it has reported since the last audit
	fresh  bool          // it has reported since the job began to be wound up
	last   time.Duration // when it last reported or offered something

	// shunned is why the job was taken from it: it is given no work until it has gone and come back, but see
	// unready. Empty if it was not.
	shunned string
	spoilt  bool // it was for what it has made, of which no more is taken
	// unready says that the code was not loaded when that happened. Such a node is given work again once it has the code
	// loaded, and says that the job is not taken from it any more.
	unready bool

	knows uint64 // how many appends it knows, by its last report or since this home has told it of one

	every   time.Duration // the time between its reports that it was told
	acked   time.Duration // when it was last answered
	dealt   bool          // it was dealt its share of the work
	asideAt time.Duration // when it was last told that the job is taken from it

	blind    tasks.Cover // units that it cannot read: all those of report.Unseen
	doubt    doubtful    // units that it has claimed to hold for long, see trust.go
	failures int         // how many of its failures have blamed units, while nothing had gone well there
	lastWord string      // the reason of the last of these failures

	uppers  []tasks.PeerID // nodes that it was told to have merge its partials
	coming  tasks.Cover    // units that others say they gave it, and that its own reports do not show yet
	awaited int            // how many more of its reports coming is waited for
}

func newNodes(cfg *Config) nodes { return nodes{cfg: cfg, byID: map[tasks.PeerID]*node{}} }

// up adds a node, or changes the number of slots of one that is there.
func (ns *nodes) up(id tasks.PeerID, slots int, now time.Duration) {
	n := ns.byID[id]
	if n == nil {
		n = &node{upAt: now}
		ns.byID[id] = n
		i, _ := slices.BinarySearch(ns.order, id)
		ns.order = slices.Insert(ns.order, i, id)
	}
	ns.slots += slots - n.slots
	n.slots = slots
}

// down removes a node, which must be there.
func (ns *nodes) down(id tasks.PeerID) {
	n := ns.byID[id]
	if n.heard && !n.spoke {
		ns.pending--
	}
	ns.slots -= n.slots
	delete(ns.byID, id)
	if i, ok := slices.BinarySearch(ns.order, id); ok {
		ns.order = slices.Delete(ns.order, i, i+1)
	}
}

// speaks notes that a node has just reported.
func (ns *nodes) speaks(n *node, now time.Duration) {
	if !n.spoke && n.heard {
		ns.pending--
	}
	n.spoke, n.heard, n.last = true, true, now
}

// startAudit begins to count which nodes have reported since this audit; the next one waits for them.
func (ns *nodes) startAudit() {
	ns.pending = 0
	for _, n := range ns.byID {
		n.spoke = false
		if n.heard {
			ns.pending++
		}
	}
}

// loaded reports whether a node has the job's code loaded. If so it can merge, even if the job's work was taken from it
// since all of it fails there.
func (ns *nodes) loaded(id tasks.PeerID) bool {
	n := ns.byID[id]
	return n != nil && n.heard && n.report.Ready
}

// rankBusy sorts the nodes with waiting work by how long it will take them.
func (ns *nodes) rankBusy() {
	ns.busy = ns.busy[:0]
	for _, id := range ns.order {
		if ns.byID[id].report.Left > 0 {
			ns.busy = append(ns.busy, id)
		}
	}
	slices.SortStableFunc(ns.busy, func(a, b tasks.PeerID) int {
		return cmp.Compare(ns.byID[b].report.Left, ns.byID[a].report.Left)
	})
}

// busiest are the n nodes that have the most left to do, without the node that asks, and how long it will take each.
func (ns *nodes) busiest(n int, asks tasks.PeerID) (ids []tasks.PeerID, left []time.Duration) {
	for _, id := range ns.busy {
		if len(ids) == n {
			break
		}
		if o := ns.byID[id]; o != nil && id != asks && o.report.Left > 0 {
			ids, left = append(ids, id), append(left, o.report.Left)
		}
	}
	return ids, left
}

// nodeDown forgets a node. Its offers go with it, except those on their way to a commit. What it was ordered to merge
// or to try is left to others.
func (h *Home) nodeDown(id tasks.PeerID) {
	n := h.nodes.byID[id]
	if n == nil {
		return
	}
	h.sight.goes(id, n, h.now)
	h.nodes.down(id)
	delete(h.blame.strikes, id)
	h.offers.dropAll(func(o *offer) bool { return o.Holder == id && o.state != fetching && o.state != proposed })
	h.offers.changed = true
	for _, o := range h.offers.all {
		if o.state == reducing && o.at == id {
			o.state = waiting
		}
	}
	h.blame.leave(id, tasks.CoverOf(h.record.Want))
	h.lookAgain(false, []tasks.PeerID{id}) // its units cannot be disputed any more
}

// stale reports whether a node is gone, or has not reported for so long that nothing is expected of it.
func (ns *nodes) stale(id tasks.PeerID, now time.Duration) bool {
	n := ns.byID[id]
	return n == nil || now-n.last > 2*(ns.cfg.Audit+ns.slack())
}

// silent reports whether a node has not reported yet, or not for long.
func (ns *nodes) silent(id tasks.PeerID, now time.Duration) bool {
	n := ns.byID[id]
	return n == nil || !n.heard || now-n.last > ns.cfg.AuditWait+4*ns.slack()
}

// Silent reports whether a node has not reported yet, or not for long: the last report may be of an earlier life,
// and it knows nothing of the job.
func (h *Home) Silent(id tasks.PeerID) bool { return h.nodes.silent(id, h.now) }

// Heard reports whether a node has reported to this home.
func (h *Home) Heard(id tasks.PeerID) bool { return h.nodes.byID[id] != nil && h.nodes.byID[id].heard }

// ready reports whether a node works for the job: it has the code loaded, and the job was not taken from it.
func (ns *nodes) ready(id tasks.PeerID) bool { return ns.loaded(id) && ns.byID[id].shunned == "" }

// Ready reports whether a node works for the job: it has the code loaded, and the job was not taken from it.
func (h *Home) Ready(id tasks.PeerID) bool { return h.nodes.ready(id) }

// leaving reports whether a node has said that it goes.
func (ns *nodes) leaving(id tasks.PeerID) bool {
	n := ns.byID[id]
	return n != nil && n.report.Leaving
}

// Leaving reports whether a node has said that it goes.
func (h *Home) Leaving(id tasks.PeerID) bool { return h.nodes.leaving(id) }

// canMerge reports whether this home can merge what is committed: also while it leaves and has nobody to hand the
// lead to.
func (ns *nodes) canMerge() bool { return ns.loaded(ns.cfg.Self) || ns.leaving(ns.cfg.Self) }

// shunned names the nodes from which the job was taken, and why.
func (ns *nodes) shunned() map[tasks.PeerID]string {
	out := map[tasks.PeerID]string{}
	for id, n := range ns.byID {
		if n.shunned != "" {
			out[id] = n.shunned
		}
	}
	return out
}

// whyShunned is why the job was taken from the first node of those from which it was; empty if from none.
func (ns *nodes) whyShunned() string {
	for _, id := range ns.order {
		if why := ns.byID[id].shunned; why != "" {
			return why
		}
	}
	return ""
}

// Nodes returns what each node last reported, for display.
func (h *Home) Nodes() map[tasks.PeerID]Report {
	out := make(map[tasks.PeerID]Report, len(h.nodes.byID))
	for id, n := range h.nodes.byID {
		if n.heard {
			out[id] = n.report
		}
	}
	return out
}
