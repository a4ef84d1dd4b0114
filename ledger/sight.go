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

// That a host cannot read a file is no failure of the file: nodes report what they cannot read (Report.Unseen),
// it strikes nothing out, and is run by others. Only what every node that works has tried in vain is given up.

// sight is who is away that could read what is open, and what nobody can read: unread has the files that no node could
// read at the last audit, none of which a node is waited for that may come back.
type sight struct {
	away    map[tasks.PeerID]*absent
	waiting waitFor
	unread  map[int]time.Duration // by file, since when
}

func newSight() sight { return sight{away: map[tasks.PeerID]*absent{}} }

// Unseen is what a host cannot read of a job, for one reason: a file, or files of a folder or of a server.
type Unseen struct {
	Where  string      `msgpack:"w"` // the file, folder or server
	Cover  tasks.Cover `msgpack:"c"` // whole files
	Cause  string      `msgpack:"k"` // see exec.Cause
	Reason string      `msgpack:"r"` // as ROOT or the system said it of each of them, else what is so of all
	Files  int         `msgpack:"n"`
}

// MaxUnseen bounds the groups in one report, and maxUnseenText each text of one, in bytes.
const (
	MaxUnseen     = 16
	maxUnseenText = 512
)

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

// sees takes what a node reports that it cannot read.
func (n *node) sees() {
	n.blind = nil
	n.report.Unseen = slices.Clone(n.report.Unseen)
	for i, u := range n.report.Unseen {
		n.report.Unseen[i] = u.Cut()
		n.blind = n.blind.Union(u.Cover)
	}
}

// loadWait is how long a node that is there has for loading the code before others decide without it what nobody
// can read.
const loadWait = 30 * time.Second

// unreadable is what no node that works can read, each having tried; nothing while one may yet come to work. A node
// that does nothing, for long, about what it alone says that it sees is not counted.
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

// idleFor is how long nothing of a node that is there has been committed.
func (h *Home) idleFor(id tasks.PeerID) time.Duration {
	return h.now - max(h.nodes.byID[id].upAt, h.standings.of(id).lastAt)
}

// unreadableBut is unreadable but for some nodes' word.
func (h *Home) unreadableBut(idle map[tasks.PeerID]bool) tasks.Cover {
	unread, tried := h.open(), false
	for _, id := range h.nodes.order {
		n := h.nodes.byID[id]
		switch {
		case n.slots == 0 || n.shunned != "":
		case n.report.Leaving: // it may come back, but for one that says so for long
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

// absent is a node that worked for the job and cannot be reached now.
type absent struct {
	since time.Duration
	able  bool        // something of the job has gone well there
	blind tasks.Cover // what it could not read
}

// keepAbsent is how many times Config.Return what a node was able to do is remembered after it went.
const keepAbsent = 10

// goes notes that a node goes which may come back.
func (s *sight) goes(id tasks.PeerID, n *node, now time.Duration) {
	if n.heard && n.able() && n.slots > 0 && n.shunned == "" {
		s.away[id] = &absent{since: now, able: true, blind: n.blind}
	}
}

// expect notes that a node which has planned the job's files, or kept its ledger, has not come to this home yet.
func (h *Home) expect(id tasks.PeerID) {
	if id != "" && id != h.cfg.Self && h.nodes.byID[id] == nil && h.sight.away[id] == nil {
		h.sight.away[id] = &absent{since: h.now, able: true}
	}
}

// awaited are the nodes that could read some of r and have gone a short while ago, or have just come back and are still
// loading the code.
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
	Units int64
	Since time.Duration // they are away for so long, the last of them
	Until time.Duration // and are waited for so long yet
}

// waitFor is Awaited as of the last audit, in the home's time.
type waitFor struct {
	nodes []tasks.PeerID
	cover tasks.Cover
	since time.Duration
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

// butAwaited takes out of what no node that is here can read what those may that are waited for, and notes it.
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

// giveUpUnread sets aside, file by file, what no node has been able to read for a while; called at each audit.
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

// unreadSince is when a file was first found to be unreadable; part of it is set aside if that is long ago.
func (h *Home) unreadSince(file int, part tasks.Range) time.Duration {
	since, known := h.sight.unread[file]
	switch {
	case !known:
		return h.now
	case h.now-since < h.cfg.GiveUp && !mutant.On(mutant.BlindWord):
		return since
	}
	h.proposeUnread(part)
	return h.now - h.cfg.GiveUp + h.cfg.Propose // it is proposed again then
}

// maxWords bounds the nodes whose own words are told of a file that nobody can read.
const maxWords = 16

// proposeUnread has it written that nobody can read a file, with what the nodes said, host by host.
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

// Unseen tells what each node cannot read, for display; the most first.
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
