package ledger

import (
	"maps"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// blame is what has failed and is being looked into. A range is a suspect until it is committed or set aside, or its
// nodes turn out to be to blame.
type blame struct {
	suspects []*suspect            // disjoint
	general  Failed                // failures that blame no unit
	strikes  map[tasks.PeerID]int  // of these, by node
	fatal    map[tasks.PeerID]bool // nodes that say that no attempt can go well

	inherited int64 // units that an earlier job has done, which say nothing of the nodes of this one
	audits    int   // since the first node was shunned
}

func newBlame() blame {
	return blame{
		strikes: map[tasks.PeerID]int{},
		fatal:   map[tasks.PeerID]bool{},
	}
}

// drop forgets suspects.
func (b *blame) drop(which func(s *suspect) bool) { b.suspects = slices.DeleteFunc(b.suspects, which) }

// leave has suspects among some units, which a node was to try, go to others.
func (b *blame) leave(id tasks.PeerID, units tasks.Cover) {
	for _, s := range b.suspects {
		if s.at == id && units.Intersects(tasks.Cover{s.Range}) {
			s.at = ""
		}
	}
}

// suspect is a range that failed and is being tried by itself.
type suspect struct {
	tasks.Range
	Failed
	by     map[tasks.PeerID]int // tries that failed, by node
	vain   map[tasks.PeerID]int // how often each was asked to try it, and nothing came of it
	at     tasks.PeerID         // where it is being tried now, empty if nowhere
	since  time.Duration        // when it was first blamed
	waited int                  // audits, for a second node to try it on
	aside  tasks.Moment         // when setting it aside was last proposed
}

// secondWait is how many audits a range that has failed often enough, on fewer nodes than strikes, waits for nodes that
// are still loading the code: it may be the nodes that are bad.
const secondWait = 10

// failed books one failure reported by a node.
func (h *Home) failed(from tasks.PeerID, f Failure) {
	f = f.Cut()
	if f.Fatal && h.fatalFor(from) {
		h.fail(Failed{Failure: f, Nodes: []tasks.PeerID{from}, Tries: 1})
		return
	}
	if f.Blame.Empty() && f.Kind == "abort" {
		h.abortedOn(from, f)
		return
	}
	if f.Blame.Empty() {
		h.failedAtAll(from, f)
		return
	}
	if !inOneFile(h.data, f.Blame) {
		return // no honest node says so, and a trial of all of it would take as long as the job
	}
	// A file fails as a whole, though some entry or cluster of it may be set aside already.
	h.nodes.countFailure(from, f)
	for _, blame := range tasks.CoverOf(f.Blame.Intersect(h.record.Want)).Minus(h.record.lostCover()) {
		if h.record.Done.Cover().Covers(tasks.CoverOf(blame)) {
			continue
		}
		if !h.credible(from, blame) || h.hostsFailure(from, blame) {
			continue
		}
		s := h.blame.suspectFor(from, blame, h.now)
		s.book(from, f)
		s.at = ""
		h.decide(s)
	}
}

// inOneFile reports whether units belong to one file of the job: an entry, a cluster or a file is to blame, not more.
func inOneFile(d *tasks.Dataset, r tasks.Range) bool {
	if d == nil {
		return true
	}
	r = r.Intersect(d.Space())
	if r.Empty() {
		return true
	}
	i, _ := d.Locate(r.First)
	return r.Last <= d.Units(i).Last
}

// decide sets s aside if it has failed often enough, or has it tried once more.
func (h *Home) decide(s *suspect) {
	enough := h.witnessed(s) || mutant.On(mutant.OneNodesWord)
	switch struck := s.Tries >= h.cfg.Strikes && enough; {
	case struck && (len(s.Nodes) < h.cfg.Strikes || !h.ableSaid(s)) && h.secondMayCome(s):
		// It waits until the next audit.
	case struck:
		h.setAside(s)
	default:
		h.try(s)
	}
}

// secondMayCome reports whether another node may soon be there to try s.
func (h *Home) secondMayCome(s *suspect) bool {
	return s.waited < secondWait && h.nodes.loading() && !h.stopping.begun
}

// fatalFor reports whether the job fails since a node says that no attempt can go well: see shared.
func (h *Home) fatalFor(from tasks.PeerID) bool {
	h.blame.fatal[from] = true
	return h.shared(slices.Collect(maps.Keys(h.blame.fatal))) && !(len(h.blame.fatal) < 2 && h.nodes.loading())
}

// shared reports whether so many nodes say the same that it is not for a few liars to say: this one is among them, or
// they are most of those that work.
func (h *Home) shared(by []tasks.PeerID) bool {
	working := 0 // whatever each of them sees: there may be none that sees all
	for id := range h.nodes.byID {
		working += btoi(h.nodes.atWork(id))
	}
	return slices.Contains(by, h.cfg.Self) || 2*len(by) > working
}

// book counts a failure of s on a node.
func (s *suspect) book(from tasks.PeerID, why Failure) {
	if s.by == nil {
		s.by = map[tasks.PeerID]int{}
	}
	s.by[from]++
	s.Failed.book(from, why)
}

// narrow makes a suspect of a range that only one node has blamed: what others say was of another range.
func (s *suspect) narrow(r tasks.Range, from tasks.PeerID) {
	if s.Range == r {
		return
	}
	s.Range = r
	for id := range s.by {
		if id != from {
			s.Tries -= s.by[id]
			delete(s.by, id)
		}
	}
	s.Nodes = slices.DeleteFunc(s.Nodes, func(id tasks.PeerID) bool { return id != from })
}

// book counts one more failure, whose words are told from then on.
func (f *Failed) book(from tasks.PeerID, why Failure) {
	f.Failure = why
	f.Tries++
	if !slices.Contains(f.Nodes, from) {
		f.Nodes = append(f.Nodes, from)
	}
}

// suspectFor finds the suspect that blame is of. A trial of a whole file or cluster that narrows the
// blame down goes on with the narrower range, and its other units go back to work on the node.
func (b *blame) suspectFor(from tasks.PeerID, blame tasks.Range, now time.Duration) *suspect {
	for _, s := range b.suspects {
		if s.Intersect(blame) == blame && (s.Range == blame || s.at == from || s.by[from] > 0) {
			s.narrow(blame, from)
			return s
		}
	}
	s := &suspect{Range: blame, since: now}
	for _, o := range b.suspects { // wider than one that is known: take that one over
		if o.Intersect(blame) == o.Range && o.by[from] == o.Tries {
			s.Failed, s.by, s.since = o.Failed, o.by, o.since
		}
	}
	b.drop(func(o *suspect) bool { return o.Intersect(blame) == o.Range })
	b.suspects = append(b.suspects, s)
	return s
}

// workers counts the nodes that can run packets of r now.
func (h *Home) workers(r tasks.Range) (n int) {
	for id := range h.nodes.byID {
		n += btoi(h.works(id, r))
	}
	return n
}

// loading reports whether nodes may yet become workers.
func (ns *nodes) loading() bool {
	for _, o := range ns.byID {
		if o.slots > 0 && o.shunned == "" && !(o.heard && o.report.Ready) {
			return true
		}
	}
	return false
}

// try runs s on the node that has tried it least, first on those on which something has gone well: the home itself
// before others where a file could not be opened, for the home has opened it to plan the job.
func (h *Home) try(s *suspect) {
	if h.stopping.begun {
		return
	}
	var best tasks.PeerID
	score := 0
	for _, id := range h.nodes.order {
		if !h.works(id, s.Range) {
			continue
		}
		v := 1
		if !slices.Contains(s.Nodes, id) && s.vain[id] < asksInVain {
			v += 8
		}
		if h.nodes.byID[id].able() {
			v += 4
		}
		if s.Here && id == h.cfg.Self {
			v += 2
		}
		if v > score {
			best, score = id, v
		}
	}
	if best != "" {
		s.at = best
		h.Granted(tasks.CoverOf(s.Range))
		if h.traced() {
			h.custody.gave(best, tasks.CoverOf(s.Range))
		}
		h.emit(Try{To: best, Range: s.Range})
	}
}

// setAside has it written that s is not in the result; until it is, the audits come by here again.
func (h *Home) setAside(s *suspect) {
	if s.aside.Within(h.cfg.Propose, h.now) {
		return
	}
	s.aside = tasks.At(h.now)
	h.emit(Propose{Entry{Lost: &Lost{Range: s.Range, Failed: s.Failed}}})
}

// asideNow follows the log: l is set aside.
func (h *Home) asideNow(l Lost) {
	h.blame.drop(func(s *suspect) bool { return s.Intersect(l.Range) == s.Range })
	h.rest.stale = true
	if h.record.lostToCode() >= h.cfg.MaxLost {
		h.stop("given up: too many ranges failed, the last " + l.Range.String() + ": " + l.Reason)
	}
}

// lostToCode counts the ranges set aside for what the code did in them; unreadable data are bounded by
// the files, and the rest of the files is still wanted.
func (r *Record) lostToCode() (n int) {
	for _, l := range r.Lost {
		if !l.Data {
			n++
		}
	}
	return n
}

// failedAtAll books a failure that blames no unit: the code, or the node. A node that only fails is set aside; the
// job fails when it is the same everywhere.
func (h *Home) failedAtAll(from tasks.PeerID, f Failure) {
	h.blame.general.book(from, f)
	h.blame.strikes[from]++
	if h.blame.strikes[from] >= h.cfg.Strikes || h.blame.general.Tries >= 2*h.cfg.Strikes {
		h.judgeNode(from)
	}
}

// abortedOn books that the selector gave the job up on a node before any entry, in SlaveBegin: what it opens there
// may be missing on that host alone. The node is set aside with what the selector said, at once or, if something has
// gone well there, as after any other failure; the job fails when it is so on every node that may work.
func (h *Home) abortedOn(from tasks.PeerID, f Failure) {
	h.blame.general.book(from, f)
	h.blame.strikes[from]++
	n := h.nodes.byID[from]
	if n == nil || h.Ended() || h.stopping.begun || n.able() && h.blame.strikes[from] < h.cfg.Strikes {
		return
	}
	switch {
	case h.hopes(from) > 0:
		if n.shunned == "" {
			h.shun(from, f.Reason)
		}
	case h.record.Done.Cover().Empty():
		h.fail(h.blame.general)
	default:
		h.stop("given up: " + f.Reason)
	}
}

// judgeNode decides what is wrong, the node or the code.
func (h *Home) judgeNode(from tasks.PeerID) {
	others := h.hopes(from)
	byFew := len(h.blame.general.Nodes) < 2 || !h.shared(h.blame.general.Nodes)
	if h.blame.general.Tries == 0 { // what failed there blamed entries
		h.blame.general.Reason = h.nodes.whyShunned()
	}
	switch {
	case h.Ended() || h.stopping.begun:
	case others > 0 && (byFew || h.nodes.ranBeside(h.blame.general.Nodes) || !h.record.Done.Cover().Empty()):
		if n := h.nodes.byID[from]; n != nil && h.blame.strikes[from] >= h.cfg.Strikes && n.shunned == "" {
			h.shun(from, h.blame.general.Reason)
		}
	case h.record.Done.Cover().Empty():
		h.fail(h.blame.general)
	default:
		h.stop("given up: " + h.blame.general.Reason)
	}
}

// hopes counts the nodes beside one that are not set aside and work, or may soon: one that never gets the code
// loaded is not waited for.
func (h *Home) hopes(beside tasks.PeerID) (n int) {
	for _, id := range h.sight.awaited(h.now-h.cfg.Return, h.record.Want) {
		n += btoi(h.nodes.byID[id] == nil && h.sight.away[id].able)
	}
	for id, o := range h.nodes.byID {
		ready := o.heard && o.report.Ready
		if id != beside && o.slots > 0 && o.shunned == "" && (ready || h.blame.audits < secondWait) {
			n++
		}
	}
	return n
}

// ranBeside reports whether the code has worked on a node beside those on which it has failed.
func (ns *nodes) ranBeside(failed []tasks.PeerID) bool {
	for id, o := range ns.byID {
		if o.report.Stats.Units > 0 && !slices.Contains(failed, id) {
			return true
		}
	}
	return false
}

// hopeless looks at each audit whether all nodes that have the code are set aside.
func (h *Home) hopeless() {
	if h.nodes.whyShunned() == "" {
		return
	}
	h.blame.audits++
	if h.hopes("") == 0 {
		h.judgeNode("")
	}
}

// fail ends the job without a result.
func (h *Home) fail(f Failed) {
	if h.Ended() {
		return
	}
	h.ending.givenUp = true
	h.emit(Fail{Failure: f})
}

// GiveUp stops the home's work; Finished ends the job.
func (h *Home) GiveUp() { h.ending.givenUp = true }

// Failing lists what has failed and is being tried again.
func (h *Home) Failing() []Lost {
	var out []Lost
	for _, s := range h.blame.suspects {
		out = append(out, Lost{Range: s.Range, Failed: s.Failed})
	}
	return out
}

// Shunned names the nodes on which everything failed, and how.
func (h *Home) Shunned() map[tasks.PeerID]string { return h.nodes.shunned() }

// retry gives suspects without a node another try; called at each audit.
func (h *Home) retry() {
	h.acquit()
	h.hopeless()
	for _, s := range slices.Clone(h.blame.suspects) {
		if s.at == "" {
			s.waited++
			h.decide(s)
		}
	}
}
