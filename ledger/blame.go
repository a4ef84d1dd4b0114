package ledger

import (
	"maps"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// blame is what has failed and is being looked into. A range is a suspect until it is committed or set aside, or until
// the nodes that blame it turn out to be to blame themselves. The suspects are disjoint.
type blame struct {
	suspects []*suspect
	general  Failed                // failures that blame no unit
	strikes  map[tasks.PeerID]int  // how many of these failures each node has had
	fatal    map[tasks.PeerID]bool // nodes that say that no attempt can go well
	adding   Failed                // failures of adding results
	adds     map[tasks.PeerID]int  // how many of these each node has had

	inherited int64 // units that an earlier job has done, which say nothing of the nodes of this one
	audits    int   // how many audits there were since the job was first taken from a node
}

func newBlame() blame {
	return blame{
		strikes: map[tasks.PeerID]int{},
		fatal:   map[tasks.PeerID]bool{},
		adds:    map[tasks.PeerID]int{},
	}
}

// drop forgets suspects.
func (b *blame) drop(which func(s *suspect) bool) { b.suspects = slices.DeleteFunc(b.suspects, which) }

// leave has suspects that a node was to try, and that have some of these units, tried by other nodes.
func (b *blame) leave(id tasks.PeerID, units tasks.Cover) {
	for _, s := range b.suspects {
		if s.at == id && units.Intersects(tasks.Cover{s.Range}) {
			s.at = ""
		}
	}
}

// suspect is a range that has failed and is being tried by itself.
type suspect struct {
	tasks.Range
	Failed
	by     map[tasks.PeerID]int // how many tries have failed on each node
	vain   map[tasks.PeerID]int // how often each node was asked to try it without a result
	at     tasks.PeerID         // the node that is trying it now; empty for none
	since  time.Duration        // when it was first blamed
	waited int                  // how many audits it has waited for another node to try it
	aside  tasks.Moment         // when setting it aside was last proposed
}

// secondWait is how many audits a range that has failed often enough, but on few nodes, waits for nodes that are still
// loading the code, since it may be the few nodes that are bad.
const secondWait = 10

// failed books one failure reported by a node.
func (h *Home) failed(from tasks.PeerID, f Failure) {
	f = f.Cut()
	if f.Fatal && h.fatalFor(from) {
		h.fail(Failed{Failure: f, Nodes: []tasks.PeerID{from}, Tries: 1})
		return
	}
	if f.Adds {
		h.addingFailed(from, f)
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
		return // no honest node blames so much, and a trial of it might take as long as the job
	}
	first := tasks.CoverOf(tasks.R(f.Blame.First, f.Blame.First+1))
	if h.data != nil && h.data.Whole && h.record.lostCover().Intersects(first) {
		return // it is about what is set aside, and what is behind that in the file has not failed
	}
	// A file fails as a whole, even if an entry or a cluster of it is set aside already.
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

// provenFactor is how many times as many failures of adding results end a job in which results have been added.
const provenFactor = 10

// addingFailed books that results could not be added. That fails the job when it has happened often enough, on two
// nodes where there are two, since there is no result without it; a node on which it happens again and again gets no
// more. A crash may be a rare accident where some results were added before, and must happen more
// often; an exception is none.
func (h *Home) addingFailed(from tasks.PeerID, f Failure) {
	b := &h.blame
	b.adding.book(from, f)
	b.adds[from]++
	if h.Ended() || h.stopping.begun {
		return // the last merge will tell
	}
	enough := h.cfg.Strikes
	if f.Kind != "exception" && h.record.Done.Added() {
		enough *= provenFactor
	}
	others := h.hopes(from)
	switch n := h.nodes.byID[from]; {
	case b.adding.Tries >= enough && (len(b.adding.Nodes) >= 2 || others == 0) && h.shared(b.adding.Nodes):
		h.fail(b.adding)
	case b.adds[from] >= h.cfg.Strikes && others > 0 && n != nil && n.shunned == "":
		h.shun(from, f.Reason)
	}
}

// inOneFile reports whether units belong to one file of the job. Honest nodes blame an entry, a cluster or a file, and
// never more.
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

// secondMayCome reports whether another node may soon be ready to try s.
func (h *Home) secondMayCome(s *suspect) bool {
	return s.waited < secondWait && h.nodes.loading() && !h.stopping.begun
}

// fatalFor notes that a node says that no attempt can go well, and reports whether enough nodes say so to fail the job.
func (h *Home) fatalFor(from tasks.PeerID) bool {
	h.blame.fatal[from] = true
	return h.shared(slices.Collect(maps.Keys(h.blame.fatal))) && !(len(h.blame.fatal) < 2 && h.nodes.loading())
}

// shared reports whether nodes that say the same can be more than a few liars: this node is among them, or they are
// more than half of the nodes that work.
func (h *Home) shared(by []tasks.PeerID) bool {
	working := 0 // whatever files each of them sees, since there may be none that sees all
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

// narrow replaces a suspect by a narrower range that only one node has blamed; what others said was of the wider one.
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

// book counts one more failure. Its reason is the one that users are told from then on.
func (f *Failed) book(from tasks.PeerID, why Failure) {
	f.Failure = why
	f.Tries++
	if !slices.Contains(f.Nodes, from) {
		f.Nodes = append(f.Nodes, from)
	}
}

// suspectFor finds or makes the suspect of a failure that blames a range. If the trial of a whole file or cluster
// blames less than that, the suspect becomes the narrower range, and its other units go back to work on the node.
func (b *blame) suspectFor(from tasks.PeerID, blame tasks.Range, now time.Duration) *suspect {
	for _, s := range b.suspects {
		if s.Intersect(blame) == blame && (s.Range == blame || s.at == from || s.by[from] > 0) {
			s.narrow(blame, from)
			return s
		}
	}
	s := &suspect{Range: blame, since: now}
	for _, o := range b.suspects { // one that lies within the range is widened to it
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

// loading reports whether there are nodes that may yet come to work for the job.
func (ns *nodes) loading() bool {
	for _, o := range ns.byID {
		if o.slots > 0 && o.shunned == "" && !(o.heard && o.report.Ready) {
			return true
		}
	}
	return false
}

// try has s run on the node that has tried it least, and among these on an able one first. A file that could not be
// opened is tried on the home before the others, for the home has opened it to plan the job.
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

// setAside proposes that s is left out of the result. Until that is in the log, it is called again by the audits.
func (h *Home) setAside(s *suspect) {
	if s.aside.Within(h.cfg.Propose, h.now) {
		return
	}
	s.aside = tasks.At(h.now)
	h.emit(Propose{Entry{Lost: &Lost{Range: h.about(s), Failed: s.Failed}}})
}

// about is what has failed of a suspect. Where files are not divided a suspect goes on to the end of its file, but for
// one that is a file as a whole: what is behind the failure is tried with it, as it may be skipped, and is run when the
// failure is set aside.
func (h *Home) about(s *suspect) tasks.Range {
	if h.data == nil || !h.data.Whole || s.Kind == "open" || s.Kind == "schema" {
		return s.Range
	}
	last := s.First + 1
	if s.Data {
		last = h.data.Cluster(s.First).Last
	}
	return tasks.R(s.First, min(last, s.Last))
}

// asideNow follows the log, by which l is set aside now.
func (h *Home) asideNow(l Lost) {
	h.blame.drop(func(s *suspect) bool {
		about := h.about(s)
		return about.Intersect(l.Range) == about
	})
	h.rest.stale = true
	h.doomBy(&l)
	if h.record.lostToCode() >= h.cfg.MaxLost {
		h.stop("given up: too many ranges failed, the last " + l.Range.String() + ": " + l.Reason)
	}
}

// lostToCode counts the ranges that were set aside for what the code did in them. Ranges whose data could not be read
// do not count, for there can be no more of them than the files have, and the rest of the files is still wanted.
func (r *Record) lostToCode() (n int) {
	for _, l := range r.Lost {
		if !l.Data {
			n++
		}
	}
	return n
}

// failedAtAll books a failure that blames no unit, and so the code or the node. The job is taken from a node on which
// all fails; it fails itself when that is so on all nodes.
func (h *Home) failedAtAll(from tasks.PeerID, f Failure) {
	h.blame.general.book(from, f)
	h.blame.strikes[from]++
	if h.blame.strikes[from] >= h.cfg.Strikes || h.blame.general.Tries >= 2*h.cfg.Strikes {
		h.judgeNode(from)
	}
}

// abortedOn books that user code gave the job up on a node before any entry, as in SlaveBegin. What the code opens
// there may be missing on that host alone, so the job is taken from the node with what the code said: at once, or, if
// the node is able, as after any other failure. The job fails when this happens on every node that may work.
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

// judgeNode decides whether the node or the code is to blame for failures that blame no unit.
func (h *Home) judgeNode(from tasks.PeerID) {
	others := h.hopes(from)
	byFew := len(h.blame.general.Nodes) < 2 || !h.shared(h.blame.general.Nodes)
	if h.blame.general.Tries == 0 { // all failures so far have blamed entries
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

// hopes counts the other nodes that work for the job or may soon do so. One that takes too long to load the code does
// not count.
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

// hopeless fails the job if it was taken from all nodes that have its code. It is called at each audit.
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

// GiveUp stops the home's work for good; Finished ends the job then.
func (h *Home) GiveUp() { h.ending.givenUp = true }

// Failing lists ranges that have failed and are being tried again.
func (h *Home) Failing() []Lost {
	var out []Lost
	for _, s := range h.blame.suspects {
		out = append(out, Lost{Range: h.about(s), Failed: s.Failed})
	}
	return out
}

// Shunned names the nodes from which the job was taken, since all of it failed there, and how it failed.
func (h *Home) Shunned() map[tasks.PeerID]string { return h.nodes.shunned() }

// retry decides anew on suspects that no node is trying. It is called at each audit.
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
