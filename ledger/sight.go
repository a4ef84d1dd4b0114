package ledger

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// A host that cannot read a file says nothing of the file. Nodes report what they cannot read (Report.Unseen); nothing
// is set aside for that, and others run it. Only files that every node which works has tried in vain are given up.

// sight is what is known of files that nodes cannot read, and of nodes that have gone and could.
type sight struct {
	away    map[tasks.PeerID]*absent // nodes that have gone, or have yet to come to this home
	waiting waitFor                  // what the last audit found that waits for some of them
	// unread are the files that no node could read at the last audit, and that no absent node is waited for to read, with
	// the time when that was first found.
	unread map[int]time.Duration
}

func newSight() sight { return sight{away: map[tasks.PeerID]*absent{}} }

// Unseen is a group of files that a host cannot read for one cause: a single file, or files of one folder or server.
type Unseen struct {
	Where  string      `msgpack:"w"` // the file, folder or server
	Cover  tasks.Cover `msgpack:"c"` // the units of whole files
	Cause  string      `msgpack:"k"` // an exec.Cause
	Reason string      `msgpack:"r"` // what was said of each file; what holds for all of them if that differs
	Files  int         `msgpack:"n"` // how many files there are
}

// MaxUnseen is the largest number of groups in one report.
const MaxUnseen = 16

// maxUnseenText bounds each text of a group, in bytes.
const maxUnseenText = 512

// Cut returns u with texts of bounded length.
func (u Unseen) Cut() Unseen {
	for _, s := range []*string{&u.Where, &u.Cause, &u.Reason} {
		if len(*s) > maxUnseenText {
			*s = strings.ToValidUTF8((*s)[:maxUnseenText], "") + " [...]"
		}
	}
	return u
}

func (r Report) unseenValid(want tasks.Range) bool {
	return len(r.Unseen) <= MaxUnseen && r.Presumed.Valid(want) &&
		!slices.ContainsFunc(r.Unseen, func(u Unseen) bool { return !u.Cover.Valid(want) })
}

// sees takes from a node's report what it cannot read.
func (n *node) sees() {
	n.blind = nil
	n.report.Unseen = slices.Clone(n.report.Unseen)
	for i, u := range n.report.Unseen {
		n.report.Unseen[i] = u.Cut()
		n.blind = n.blind.Union(u.Cover)
	}
}

// loadWait is how long a connected node may take to load the code before files can be given up without it.
const loadWait = 30 * time.Second

// unreadable is the units that no node which works can read, each having tried. It is empty as long as a node may yet
// come to work. A node that says it sees what nobody else does, and does nothing about it for long, does not count.
func (h *Home) unreadable() tasks.Cover {
	if unread := h.unreadableBut(nil); !unread.Empty() {
		return unread
	}
	idle := map[tasks.PeerID]bool{}
	for _, id := range h.nodes.order {
		if h.nodes.byID[id].slots > 0 && h.idleFor(id) > max(h.cfg.Return, h.nodes.patience(id, h.record.Want.Len())) {
			idle[id] = true
		}
	}
	unread := h.unreadableBut(idle)
	for id := range idle {
		unread = unread.Minus(h.nodes.byID[id].held())
	}
	for _, o := range h.offers.all {
		if !unread.Empty() {
			unread = unread.Minus(o.Cover)
		}
	}
	return unread
}

// idleFor is how long ago a connected node last delivered units that were committed.
func (h *Home) idleFor(id tasks.PeerID) time.Duration {
	return h.now - max(h.nodes.byID[id].upAt, h.standings.of(id).lastAt)
}

// unreadableBut is unreadable without counting some nodes.
func (h *Home) unreadableBut(idle map[tasks.PeerID]bool) tasks.Cover {
	unread, tried := h.open(), false
	for _, id := range h.nodes.order {
		n := h.nodes.byID[id]
		switch {
		case n.slots == 0 || n.shunned != "":
		case n.report.Leaving: // it is waited for as one that may come back, unless it has been leaving for long
			if n.able() && !idle[id] {
				unread = unread.Intersect(n.blind)
			}
		case n.heard && n.report.Ready:
			if mutant.On(mutant.BlindWord) && !n.blind.Empty() {
				return h.open().Intersect(n.blind)
			}
			if left := unread.Intersect(n.blind.Minus(n.report.Presumed)); !idle[id] || !left.Empty() {
				unread, tried = left, true
			}
		case h.now-n.upAt < loadWait:
			return nil
		}
	}
	if !tried {
		return nil
	}
	return unread
}

// absent is a node that worked for the job and is not connected now, or has just come back and is loading the code.
type absent struct {
	since time.Duration // when it went
	able  bool          // some of the job has gone well there
	blind tasks.Cover   // what it could not read
}

// keepAbsent is for how many times Config.Return an absent node is remembered.
const keepAbsent = 10

// goes notes a node that goes and could do some of the job if it came back.
func (s *sight) goes(id tasks.PeerID, n *node, now time.Duration) {
	if n.heard && n.able() && n.slots > 0 && n.shunned == "" {
		s.away[id] = &absent{since: now, able: true, blind: n.blind}
	}
}

// expect notes a node that must be able to do some of the job, for it has planned its files or kept its ledger, and
// that is not connected to this home yet.
func (h *Home) expect(id tasks.PeerID) {
	if id != "" && id != h.cfg.Self && h.nodes.byID[id] == nil && h.sight.away[id] == nil {
		h.sight.away[id] = &absent{since: h.now, able: true}
	}
}

// awaited are the absent nodes that could read some of r and went later than after.
func (s *sight) awaited(after time.Duration, r tasks.Range) (ids []tasks.PeerID) {
	for id, a := range s.away {
		if a.since > after && !a.blind.Covers(tasks.Cover{r}) && !mutant.On(mutant.ForgetAway) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Awaited tells which files wait for nodes that have gone, since no other can read them.
type Awaited struct {
	Nodes []tasks.PeerID
	Units int64         // that wait
	Since time.Duration // how long ago the last of Nodes went
	Until time.Duration // how much longer they are waited for
}

// waitFor is what waits for absent nodes, as the last audit has found.
type waitFor struct {
	nodes []tasks.PeerID
	cover tasks.Cover   // units that they alone could read
	since time.Duration // when the last of them went
}

// Awaited tells what waits for nodes to come back; ok is false if nothing does.
func (h *Home) Awaited() (a Awaited, ok bool) {
	w := h.sight.waiting
	if w.cover.Empty() {
		return a, false
	}
	a = Awaited{
		Nodes: slices.Clone(w.nodes),
		Units: w.cover.Len(),
		Since: h.now - w.since,
		Until: w.since + h.cfg.Return - h.now,
	}
	return a, true
}

// butAwaited takes out of the units that no connected node can read those that absent nodes may, which it notes as
// waiting for them.
func (h *Home) butAwaited(unread tasks.Cover) tasks.Cover {
	h.sight.waiting = waitFor{}
	for _, id := range h.sight.awaited(h.now-h.cfg.Return, h.record.Want) {
		a := h.sight.away[id]
		if wait := unread.Minus(a.blind); !wait.Empty() {
			w := &h.sight.waiting
			w.nodes, w.cover, w.since = append(w.nodes, id), w.cover.Union(wait), max(w.since, a.since)
		}
	}
	return unread.Minus(h.sight.waiting.cover)
}

// giveUpUnread sets aside, file by file, what no node has been able to read for a while. It is called at each audit.
func (h *Home) giveUpUnread() {
	unread := map[int]time.Duration{}
	h.sight.waiting = waitFor{}
	for id, a := range h.sight.away {
		if h.now-a.since > keepAbsent*h.cfg.Return {
			delete(h.sight.away, id)
		}
	}
	if slices.ContainsFunc(h.nodes.order, func(id tasks.PeerID) bool { return !h.nodes.byID[id].blind.Empty() }) {
		for _, r := range h.butAwaited(h.unreadable()) {
			for !r.Empty() {
				file, _ := h.data.Locate(r.First)
				part := r.Intersect(h.data.Units(file))
				unread[file] = h.unreadSince(file, part)
				r.First = part.Last
			}
		}
	}
	h.sight.unread = unread
}

// unreadSince is when a file was first found to be unreadable.
func (h *Home) unreadSince(file int, part tasks.Range) time.Duration {
	since, known := h.sight.unread[file]
	switch {
	case !known:
		return h.now
	case h.now-since < h.cfg.GiveUp && !mutant.On(mutant.BlindWord):
		return since
	}
	h.proposeUnread(part)
	return h.now - h.cfg.GiveUp + h.cfg.Propose // so that it is proposed again after Config.Propose
}

// maxWords is how many nodes' own words are kept of a file that nobody can read.
const maxWords = 16

// proposeUnread proposes to set aside a file that nobody can read, with what each node said of it.
func (h *Home) proposeUnread(file tasks.Range) {
	lost := Failed{Failure: Failure{Blame: file, Kind: "open", Data: true}}
	said := map[string]bool{}
	for _, id := range h.nodes.order {
		n := h.nodes.byID[id]
		i := slices.IndexFunc(n.report.Unseen, func(u Unseen) bool { return u.Cover.Intersects(tasks.Cover{file}) })
		if n.slots == 0 || i < 0 {
			continue
		}
		u := n.report.Unseen[i]
		lost.Nodes, lost.Tries, lost.Host = append(lost.Nodes, id), lost.Tries+1, u.Cause
		said[u.Reason] = true
		if len(lost.Words) < maxWords {
			lost.Words = append(lost.Words, u.Reason)
		}
	}
	add := func(id tasks.PeerID, word string) {
		if len(lost.Words) == len(lost.Nodes) && len(lost.Words) < maxWords {
			lost.Nodes, lost.Words = append(lost.Nodes, id), append(lost.Words, word)
		}
	}
	for _, id := range h.nodes.order {
		n := h.nodes.byID[id]
		if n.slots > 0 && n.heard && n.shunned == "" && !slices.Contains(lost.Nodes, id) {
			add(id, "said that it sees it, and did nothing for "+h.idleFor(id).Round(time.Second).String())
		}
	}
	for _, id := range slices.Sorted(maps.Keys(h.sight.away)) {
		if a := h.sight.away[id]; !a.blind.Intersects(tasks.Cover{file}) {
			add(id, "did not miss it as long as it was there; away for "+(h.now-a.since).Round(time.Second).String())
		}
	}
	lost.Reason = "no node can read it: " + strings.Join(firstOf(slices.Sorted(maps.Keys(said)), maxWords), "; ")
	lost.Failure = lost.Cut()
	h.emit(Propose{Entry{Lost: &Lost{Range: file, Failed: lost}}})
}

func firstOf(s []string, n int) []string { return s[:min(n, len(s))] }

// Unseen tells what each node cannot read, the largest groups first, for display.
func (h *Home) Unseen() map[tasks.PeerID][]Unseen {
	out := map[tasks.PeerID][]Unseen{}
	for id, n := range h.nodes.byID {
		if len(n.report.Unseen) > 0 {
			all := slices.Clone(n.report.Unseen)
			slices.SortStableFunc(all, func(a, b Unseen) int { return cmp.Compare(b.Files, a.Files) })
			out[id] = all
		}
	}
	return out
}
