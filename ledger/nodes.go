package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// nodes are the members that are connected, and what each reported last. order has exactly the keys of byID, sorted;
// slots is the sum of theirs; pending counts those that have reported before, but not since the last audit.
type nodes struct {
	cfg     *Config // for how long it takes them to be heard
	byID    map[tasks.PeerID]*node
	order   []tasks.PeerID // effects must not depend on the order of a map
	slots   int
	pending int
	busy    []tasks.PeerID // nodes with waiting work, the longest first; as of the last audit
}

// node is one of them.
type node struct {
	slots  int
	upAt   time.Duration // since when it is there
	report Report        // the last
	heard  bool          // it has reported
	spoke  bool          // it has reported since the last audit
	fresh  bool          // it has reported since the job began to be wound up
	last   time.Duration // when it last reported or offered something

	// shunned is why the job was taken from it, so that it is given no work until it goes, and comes back mended; empty if
	// it was not.
	shunned string

	knows uint64 // appends that it has, as it last reported, or was told at once since

	every   time.Duration // between its reports, as it was told
	acked   time.Duration // when it was last answered
	dealt   bool          // it was dealt its share of the work
	asideAt time.Duration // when it was last told that the job is taken from it

	blind    tasks.Cover // what it cannot read: all of report.Unseen
	doubt    doubtful    // what it claims to hold, see trust.go
	failures int         // failures that blame units, while nothing had gone well there
	lastWord string      // the reason of the last of these

	uppers  []tasks.PeerID // nodes that it was told to have merge its partials
	coming  tasks.Cover    // units that others say they gave it, and that its own reports have yet to tell
	awaited int            // so many of its reports until they have
}

func newNodes(cfg *Config) nodes { return nodes{cfg: cfg, byID: map[tasks.PeerID]*node{}} }

// up adds a node, or takes another number of slots of one that is there.
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

// startAudit has all nodes speak anew: the next audit waits for those that have reported before.
func (ns *nodes) startAudit() {
	ns.pending = 0
	for _, n := range ns.byID {
		n.spoke = false
		if n.heard {
			ns.pending++
		}
	}
}

// loaded reports whether a node has the job's code loaded. It can merge, then, also where the job's work was taken
// from it since all of it fails there.
func (ns *nodes) loaded(id tasks.PeerID) bool {
	n := ns.byID[id]
	return n != nil && n.heard && n.report.Ready
}

// rankBusy sorts the nodes by the time they still have to work.
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

// busiest are up to n nodes that have most left to do, and how long; not the one who asks.
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

// nodeDown forgets a node: what it offered goes with it, but for what is on its way to a commit already, and what it
// was ordered to merge or try goes to others.
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
	h.lookAgain(false, []tasks.PeerID{id}) // what it had is another's now
}

// stale reports whether a node has not reported for so long that it had best not be ordered about.
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
