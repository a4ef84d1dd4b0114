package ledger

import (
	"cmp"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// What a selector opens by itself, a friend or a table of calibrations, may be missing on some hosts alone. Nothing
// tells such a failure from one of the entries but that others do them well: the word of a node on which nothing of
// the job has ever gone well counts for nothing against an entry, as long as there are nodes on which something has.
// What it blames runs elsewhere, and when it only goes on to fail the job is taken from it.

const (
	// enoughNodes bounds how many nodes try a file that cannot be opened, or lacks what the selector reads, before it
	// is struck out.
	enoughNodes = 16
	// asksInVain is how often a node is asked to try a range and does not answer until it counts as having tried.
	asksInVain = 3
)

// able reports whether something of the job has gone well on a node.
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

// ableBeside reports whether nodes on which something has gone well can run r, or could until lately; those that tried
// do not count.
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

// goesWellBeside reports whether other nodes on which something has gone well can run some of what is open, or could
// until lately. None of them may see all of it.
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

// ableSaid reports whether one of the nodes that blame a range has done something of the job well.
func (h *Home) ableSaid(s *suspect) bool {
	return slices.ContainsFunc(s.Nodes, func(id tasks.PeerID) bool {
		n, gone := h.nodes.byID[id], h.sight.away[id]
		return n != nil && n.able() || n == nil && gone != nil && gone.able
	})
}

// countFailure notes a failure of a node on which nothing has gone well.
func (ns *nodes) countFailure(from tasks.PeerID, f Failure) {
	if n := ns.byID[from]; n != nil && !n.able() {
		n.failures, n.lastWord = n.failures+1, f.Reason
	}
}

// hostsFailure reports whether what a node blames is put down to its host: nothing of the job has gone well there, and
// others that have done some of it well have yet to fail at this.
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

// witnessed reports whether so many nodes have failed at s that it is the entries, and not the hosts, that are to
// blame: some of those that work, all of them if it is a file that cannot be used; and of those on which something has
// gone well two, if there are so many.
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
	// Where something is done somebody could do it, though this home may not have heard of whom: it is waited for. What an
	// earlier job has done tells nothing of the nodes of this one.
	someCan := h.record.Done.Cover().Len() > h.blame.inherited || len(h.sight.awaited(h.now-h.cfg.Return, s.Range)) > 0
	return !someCan || h.now-s.since >= h.cfg.Return
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// acquit drops suspects that only nodes blame on which nothing has gone well, once other nodes show that the job can be
// done; their units run again elsewhere. A node on which nothing but failures happens has the job taken from it. Called
// at each audit.
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
		n.shunned = cmp.Or(n.lastWord, "everything failed there before this home led the job")
	case !says && n.shunned != "" && h.now-n.asideAt >= h.cfg.Repeat:
		n.asideAt = h.now
		h.emit(Shun{ID: id, Reason: n.shunned, Again: true})
	}
}

// shun takes the job from a node, which must be there.
func (h *Home) shun(id tasks.PeerID, reason string) {
	n := h.nodes.byID[id]
	n.shunned, n.asideAt = cmp.Or(reason, "everything fails"), h.now
	h.emit(Shun{ID: id, Reason: n.shunned})
}

// confirmed counts, as a lower bound, those failures of a node that nodes on which other things go well have had as
// well: they say nothing against the node.
func (h *Home) confirmed(id tasks.PeerID) (n int) {
	for _, s := range h.blame.suspects {
		if h.ableSaid(s) {
			n += s.by[id]
		}
	}
	for _, l := range h.record.Lost {
		if l.Host == "" && slices.Contains(l.Nodes, id) { // what nodes cannot see is no failure of theirs
			n += l.Tries - len(l.Nodes) + 1 // as many as may be its own
		}
	}
	return n
}
