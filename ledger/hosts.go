package ledger

import (
	"cmp"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// What user code opens by itself, such as a friend tree or a table of calibrations, may be missing on some hosts. Such
// a failure looks like one of the entry that ran, until other nodes run that entry well. So as long as there are nodes
// on which some of the job has gone well, the word of a node on which nothing ever has counts for nothing against an
// entry. What it blames is run elsewhere, and if it goes on failing, the job is taken from it.

const (
	// enoughNodes is how many nodes at most try a file that cannot be opened, or lacks what the code reads, before it is
	// set aside.
	enoughNodes = 16
	// asksInVain is how often a node may be asked to try a range without answering before it counts as having tried.
	asksInVain = 3
)

// able reports whether some of the job has gone well on a node.
func (n *node) able() bool { return n.report.Stats.Units > 0 }

// atWork reports whether a node can run packets of files that it sees now.
func (ns *nodes) atWork(id tasks.PeerID) bool {
	n := ns.byID[id]
	return n != nil && n.slots > 0 && ns.ready(id)
}

// works reports whether a node can run packets of r now.
func (h *Home) works(id tasks.PeerID, r tasks.Range) bool {
	n, units := h.nodes.byID[id], tasks.Cover{r}
	return h.nodes.atWork(id) && !n.blind.Intersects(units) && !h.record.unknown(n.report.Appends).Intersects(units)
}

// ableBeside reports whether there is an able node that can run r, or could until it went lately, besides those that
// have tried.
func (h *Home) ableBeside(r tasks.Range, tried []tasks.PeerID) bool {
	for id, n := range h.nodes.byID {
		if n.able() && h.works(id, r) && !slices.Contains(tried, id) {
			return true
		}
	}
	return slices.ContainsFunc(h.sight.awaited(h.now-h.cfg.Return, r), func(id tasks.PeerID) bool {
		return h.sight.away[id].able && !slices.Contains(tried, id)
	})
}

// goesWellBeside reports whether there is another able node that can run some of the open units, or could until it went
// lately.
func (h *Home) goesWellBeside(id tasks.PeerID) bool {
	open := h.open()
	for o, n := range h.nodes.byID {
		if o != id && n.able() && h.nodes.atWork(o) && !open.Minus(n.blind).Empty() {
			return true
		}
	}
	return slices.ContainsFunc(h.sight.awaited(h.now-h.cfg.Return, h.record.Want), func(o tasks.PeerID) bool {
		return h.sight.away[o].able && o != id
	})
}

// ableSaid reports whether one of the nodes that blame a range is able.
func (h *Home) ableSaid(s *suspect) bool {
	return slices.ContainsFunc(s.Nodes, func(id tasks.PeerID) bool {
		n, gone := h.nodes.byID[id], h.sight.away[id]
		return n != nil && n.able() || n == nil && gone != nil && gone.able
	})
}

// countFailure notes a failure of a node that is not able.
func (ns *nodes) countFailure(from tasks.PeerID, f Failure) {
	if n := ns.byID[from]; n != nil && !n.able() {
		n.failures, n.lastWord = n.failures+1, f.Reason
	}
}

// hostsFailure reports whether a failure is put down to the node's host: the node is not able, and able ones have yet
// to fail at what it blames.
func (h *Home) hostsFailure(from tasks.PeerID, blame tasks.Range) bool {
	if n := h.nodes.byID[from]; n == nil || n.able() || mutant.On(mutant.HostStrikes) {
		return false
	}
	for _, s := range h.blame.suspects {
		if !s.Intersect(blame).Empty() && h.ableSaid(s) {
			return false
		}
	}
	return h.ableBeside(blame, []tasks.PeerID{from})
}

// witnessed reports whether enough nodes have failed at s to blame the entries, and not the hosts. Some of the nodes
// that work must have; all of them, if it is a file that cannot be used; and two of the able ones, if there are as
// many.
func (h *Home) witnessed(s *suspect) bool {
	if mutant.On(mutant.HostStrikes) {
		return len(s.Nodes) >= min(2, h.workers(s.Range))
	}
	var all, tried, able, ableTried int
	for id, n := range h.nodes.byID {
		if !h.works(id, s.Range) {
			continue
		}
		t := slices.Contains(s.Nodes, id) || s.vain[id] >= asksInVain
		all, tried = all+1, tried+btoi(t)
		if n.able() {
			able, ableTried = able+1, ableTried+btoi(t)
		}
	}
	least := h.cfg.Strikes
	if s.Kind == "open" || s.Kind == "schema" {
		least = enoughNodes
	}
	if tried < min(least, all) || ableTried < min(2, able) {
		return false
	}
	if ableTried > 0 || h.ableSaid(s) {
		return true
	}
	// Where units are committed some node is able, even if this home has not heard which, and its word is waited for.
	// Units that an earlier job has done say nothing of the nodes of this one.
	someCan := h.record.Done.Cover().Len() > h.blame.inherited || len(h.sight.awaited(h.now-h.cfg.Return, s.Range)) > 0
	return !someCan || h.now-s.since >= h.cfg.Return
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// acquit drops suspects that no able node blames, once there are able nodes; their units are run again elsewhere. A
// node on which nothing but failures happens has the job taken from it. It is called at each audit.
func (h *Home) acquit() {
	if mutant.On(mutant.HostStrikes) {
		return
	}
	h.blame.drop(func(s *suspect) bool {
		there := h.nodes.byID[s.at]
		return !h.ableSaid(s) && !(there != nil && there.able()) && h.ableBeside(s.Range, s.Nodes)
	})
	for _, id := range h.nodes.order {
		n := h.nodes.byID[id]
		if n.slots == 0 || n.able() || n.shunned != "" || !h.goesWellBeside(id) {
			continue
		}
		if n.failures-h.confirmed(id) >= h.cfg.Strikes {
			h.shun(id, n.lastWord)
		}
	}
}

// knowAside compares a node's word that the job was taken from it with what this home knows. A node that does not
// know of it has missed the order, which is repeated. A node that says so although this home has not ordered it was
// told by an earlier home; it does no work, so this home does not wait for it.
func (h *Home) knowAside(id tasks.PeerID, says bool) {
	switch n := h.nodes.byID[id]; {
	case says && n.shunned == "":
		n.unready = !n.report.Ready
		n.shunned = cmp.Or(n.lastWord, "everything failed there before this home led the job")
	case !says && n.shunned != "" && h.now-n.asideAt >= h.cfg.Repeat:
		n.asideAt = h.now
		h.emit(Shun{ID: id, Reason: n.shunned, Again: true})
	}
}

// recovered gives work again to a node from which the job was taken before it could load the code, as when its disk was
// full, and that has loaded it since.
func (h *Home) recovered(id tasks.PeerID, n *node) {
	if n.shunned != "" && n.unready && n.report.Ready && !n.report.Aside {
		n.shunned, n.unready = "", false
		delete(h.blame.strikes, id)
	}
}

// shun takes the job from a connected node, for a reason that users are told.
func (h *Home) shun(id tasks.PeerID, reason string) {
	n := h.nodes.byID[id]
	n.shunned, n.asideAt = cmp.Or(reason, "everything fails"), h.now
	n.unready = !n.heard || !n.report.Ready
	h.emit(Shun{ID: id, Reason: n.shunned})
}

// confirmed counts failures of a node that able nodes have had as well, and that therefore say nothing against the
// node. It may count too few.
func (h *Home) confirmed(id tasks.PeerID) (n int) {
	for _, s := range h.blame.suspects {
		if h.ableSaid(s) {
			n += s.by[id]
		}
	}
	for _, l := range h.record.Lost {
		if l.Host == "" && slices.Contains(l.Nodes, id) { // a file that nodes cannot see is no failure of theirs
			n += l.Tries - len(l.Nodes) + 1 // the most of these tries that can be this node's
		}
	}
	return n
}
