package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Allowance is how much longer than twice its clean time a job may take after the faults have stopped. The clean time
// is the work that was not committed then, divided by the speed of all nodes that are up, as if every slot worked on
// nothing else the whole time. The allowance is for timeouts that must pass first: a silent replica is replaced (10 s),
// a steal is taken back (10 s), units are missed by three audits of at most 3 s each, and restarted nodes load the
// code.
const Allowance = 30 * time.Second

// forgetWithin is how long after its end some node may still hold on to a job.
const forgetWithin = 40 * time.Second

// check is the state of the checks in a hostile run. Beside the result, these are:
//
//   - a commit is proposed only when a quorum of the replicas keeps its blob on disk, the result likewise;
//   - what was once committed is in the result, itself or folded, unless its blob was lost on a disk;
//   - a fold is proposed only when a quorum keeps its blob, and has what its inputs have;
//   - what the record has is not freed, and what a disk keeps of partials is bounded (bounded);
//   - nothing is struck out as unreadable that a node which works for the job sees;
//   - a node forgets only what is committed or rejected (R2);
//   - one home leads in one term, and nodes follow homes in the order of their terms;
//   - no replica gives its copy up unless its disk has failed;
//   - the log on each disk is compacted, however long the job;
//   - all replicas tell the same result;
//   - of that a liar has made up no more than it was given, and its share (falsified).
type check struct {
	founded, ended bool
	first          ledger.Result
	parts          []merge.ID     // parts of the result, as the first replica reported it
	keepers        []quorum.Voter // replicas of the ledger at that time
	truth          tasks.Cover
	commits        map[merge.ID]bool
	given          map[merge.ID]bool       // parts that were proposed to be taken out
	asked          map[merge.ID]bool       // proposed
	into           map[merge.ID][]merge.ID // folds that were proposed to replace a part
	rejected       map[merge.ID]bool
	harmed         map[merge.ID]bool // blobs that were lost on some disk
	harmedResult   bool
	excuse         map[*node]bool // nodes whose disk failed a write of the ledger
	homes          map[uint64]tasks.PeerID
	results        map[string]content
	latest         map[[2]int32]time.Duration // latest arrival between two nodes
	lastHome       tasks.PeerID
	liarLed        bool
	// the honest follower was away for so long that the leader may have given its lead up,
	longAway  bool
	stoodDown bool                    // and it has
	heavy     map[*node]time.Duration // since when a node's disk keeps too much
	voters    int                     // voters of the ledger
	lent      tasks.Cover             // units that were given to liars
	revoted   time.Duration           // since when
}

func newCheck() check {
	return check{
		commits:  map[merge.ID]bool{},
		given:    map[merge.ID]bool{},
		asked:    map[merge.ID]bool{},
		into:     map[merge.ID][]merge.ID{},
		rejected: map[merge.ID]bool{},
		harmed:   map[merge.ID]bool{},
		excuse:   map[*node]bool{},
		homes:    map[uint64]tasks.PeerID{},
		results:  map[string]content{},
		heavy:    map[*node]time.Duration{},
		latest:   map[[2]int32]time.Duration{},
	}
}

// fail ends the run, since a check has failed.
func (w *world) fail(format string, a ...any) {
	if w.res.Err == nil {
		w.res.Err = fmt.Errorf(format, a...)
		w.trace.printf(w.now, w.nodes[home], "WRONG: %v", w.res.Err)
	}
	w.over = true
}

// watch looks at the ledger's home regularly, and sets the time by which the job must end.
func (w *world) watch() {
	if n := w.leader(); n != nil {
		w.note(n)
		w.checkGrowth(n)
		w.followEnds(n)
	}
	if w.cfg.BadEnds > 0 || w.cfg.BadCode {
		w.settle(w.mended())
	}
	w.bounded()
	if w.res.Bound == 0 && w.now >= w.res.Settled && !w.ended {
		w.setBound()
	}
	if w.res.Bound > 0 && w.now > w.res.Bound && !w.ended {
		w.unfinished()
		w.over = true
	}
	if !w.ended {
		w.after(50*time.Millisecond, w.watch)
	}
}

func (w *world) setBound() {
	var done tasks.Cover
	var speed float64
	for _, n := range w.nodes {
		if !n.up || !n.honest {
			continue
		}
		if !w.everBlind(n) {
			speed += n.speed
		}
		if v, ok := n.peer.Ledger(w.id); ok && w.counts(v) && v.Committed.Len() > done.Len() {
			done = v.Committed
		}
	}
	open := w.job.Want.Len() - done.Len()
	if w.cfg.Kinds { // any of the nodes that can run a job may do those of the others first
		open += int64(len(w.sides)) * w.job.Want.Len()
		speed = w.ableSpeed()
	}
	clean := time.Duration(float64(open) * float64(w.cfg.UnitTime) / (speed * float64(w.cfg.Slots)))
	w.res.Bound = w.now + 2*clean + w.allowance()
	if w.cfg.Flat > w.cfg.Folding.FoldFloor { // commits are made one by one, with a fold after each
		w.res.Bound += Allowance
	}
	if w.cfg.Keep > 0 { // what the node above has no room to merge goes home after passAfter
		w.res.Bound += 45 * time.Second
	}
	if w.cfg.Hidden > 0 { // an absent node may see it when it returns
		w.res.Bound += w.cfg.returnWait()
		if w.cfg.Appends > 0 && w.cfg.Leaves > 0 { // it was appended late, and who is leaving takes as long as with Keep
			w.res.Bound += 45 * time.Second
		}
	}
	w.trace.printf(w.now, w.nodes[home], "CALM: %d units are open, clean time %v", open, clean)
}

func (w *world) allowance() time.Duration {
	if w.cfg.Liars > 0 {
		return LiarAllowance
	}
	if w.cfg.Linked {
		return levels * Allowance
	}
	return Allowance
}

// jobOver checks, when a node's part in a job ends, that the job itself has ended.
func (w *world) jobOver(n *node, e engine.JobOver) {
	if e.ID != w.id {
		return
	}
	maps.DeleteFunc(n.blobs, func(_ merge.ID, b blob) bool { return w.side(b.job) == nil })
	if n.honest && w.hostile() && w.honestHome() && !w.ended && !e.Lost {
		if !n.fooled && !w.mayBelieve(n) {
			w.fail("%s takes the job for over, which it is not", n.id)
		}
	}
}

// honestHome reports whether no liar has led the job; otherwise anything may become of it.
func (w *world) honestHome() bool { return w.cfg.Liar != LyingHome && !w.liarLed }

// unfinished fails because the job has not ended in time, or is not forgotten.
func (w *world) unfinished() {
	switch {
	case w.res.Err != nil || !w.honestHome(): // a lying home can prevent the end of its own job
	case w.ended:
		w.res.Err = fmt.Errorf("the job ended at %v, and is not forgotten at %v by %s", w.res.Makespan, w.now, w.holding())
	default:
		w.res.Err = fmt.Errorf("the job has not ended at %v: %d of %d units are committed", w.now, w.truth.Len(),
			w.job.Want.Len())
		w.trace.printf(w.now, w.nodes[home], "OPEN: %v", tasks.CoverOf(w.job.Want).Minus(w.truth))
	}
	w.trace.printf(w.now, w.nodes[home], "WRONG: %v", w.res.Err)
}

// note notes what a ledger has committed.
func (w *world) note(n *node) {
	v, ok := n.peer.Ledger(w.id)
	if ok && !w.counts(v) {
		return
	}
	if !ok {
		if done, leads := n.peer.Leads(w.id); leads {
			w.truth = w.truth.Union(done)
		}
		return
	}
	for _, p := range v.Parts {
		if !w.commits[p.ID] {
			w.commits[p.ID] = true
			w.truth = w.truth.Union(p.Cover)
		}
	}
}

// sent checks a message that a node sends.
func (w *world) sent(from *node, m engine.Message) {
	if m.Kept != nil && m.Kept.OK && m.Kept.ID != (merge.ID{}) {
		from.disk.promise(m.Kept.ID, m.Kept.Term)
	}
	switch {
	case m.Answer == nil || !from.honest:
	case m.Answer.Accept:
		w.note(from)
	case !m.Answer.Note:
		w.rejected[m.Answer.ID] = true
	}
}

// leased counts units that run although they are committed.
func (w *world) leased(r tasks.Range) {
	w.res.Redone += w.before.Intersect(tasks.Cover{r}).Len()
	if w.hostile() {
		w.res.Again += w.truth.Intersect(tasks.Cover{r}).Len()
	}
}

// proposed checks entries of the log when they are first written.
func (w *world) proposed(n *node, e engine.WriteLedger) {
	if _, leads := n.peer.Leads(w.id); !leads || w.ended || !n.honest || n != w.leader() {
		if n.honest && w.honestHome() {
			w.noteFolds(e) // a former home that is elected again has what it writes now in its log
		}
		return
	}
	v, _ := n.peer.Ledger(w.id)
	if len(v.Voters) != w.voters {
		w.voters, w.revoted = len(v.Voters), w.now
	}
	quorum := len(v.Voters)/2 + 1
	for _, m := range v.Voters {
		if !w.nodes[w.index[m.Peer]].honest { // what a liar claims to keep cannot be checked
			quorum--
		}
	}
	if w.outdated(v) {
		w.noteFolds(e) // it may be elected again, with these entries in its log
		return
	}
	if w.now-w.revoted < time.Second { // what is written now was proposed by the old voters' rule
		quorum = 1
	}
	for _, raw := range e.Entries {
		var entry ledger.Entry
		if len(raw.Data) == 0 || raw.Kind != 0 || wire.Unmarshal(raw.Data, &entry) != nil {
			continue
		}
		switch {
		case entry.Commit != nil && !w.asked[entry.Commit.ID]:
			p := *entry.Commit
			w.asked[p.ID] = true
			w.res.Commits++
			have := w.count(func(d *disk) bool { return d.kept[p.ID].sha == p.SHA256 })
			if have < quorum && !w.harmed[p.ID] {
				w.fail("%s proposes to commit %v, which %d of %d replicas keep", n.id, p.ID, have, len(v.Voters))
			}
		case entry.Fold != nil:
			w.foldProposed(n, *entry.Fold, quorum)
		case entry.Uncommit != nil:
			id := *entry.Uncommit
			w.given[id] = true
			for _, m := range v.Voters {
				o := w.nodes[w.index[m.Peer]]
				if _, has := o.disk.kept[id]; has && o.honest && o.up && w.linked(n, o) && !w.harmed[id] {
					w.fail("%s gives up %v, which %s keeps", n.id, id, o.id)
				}
			}
		case entry.Lost != nil:
			w.struckOut(n, *entry.Lost)
		case entry.Result != nil:
			sha := entry.Result.SHA256
			have := w.count(func(d *disk) bool { return slices.Contains(d.results, sha) })
			if have < quorum && !w.harmedResult {
				w.fail("%s proposes a result that %d of %d replicas keep", n.id, have, len(v.Voters))
			}
		}
	}
}

// outdated reports whether most of v's voters have promised to follow a later home than v's, or are not up any more:
// what that home proposes is never committed.
func (w *world) outdated(v engine.LedgerView) bool {
	later := 0
	for _, m := range v.Voters {
		if d := w.nodes[w.index[m.Peer]].disk; d.log == nil || d.log.Self.ID != m.ID || d.log.Hard.Term > v.Term {
			later++
		}
	}
	return later > len(v.Voters)/2
}

// compacted counts snapshots as they reach a disk, and checks that they keep the log short: it may have what was
// written since the last snapshot was asked for, what a member that is being sent one may need, and entries that are
// not committed.
func (w *world) compacted(n *node, log *quorum.Log, e quorum.Write) {
	switch {
	case e.Reset:
		w.res.Faults.Shipped++
	case e.Snapshot != nil:
		w.res.Faults.Compacted++
	}
	s := log.Snapshot
	if w.cfg.Snapshot == 0 || s == nil {
		return
	}
	w.res.Longest = max(w.res.Longest, len(log.Entries))
	if committed := int(log.Hard.Commit - min(s.Base, log.Hard.Commit)); committed > maxLog*w.cfg.Snapshot && !w.ended {
		w.fail("%s has %d committed entries in its log, and compacts it after %d", n.id, committed, w.cfg.Snapshot)
	}
}

// maxLog is the greatest length of a log, in units of the entries between two snapshots: eight while a voter catches
// up, those of the next two snapshots, and those during a change of the voters.
const maxLog = 13

// count counts the disks for which has is true.
func (w *world) count(has func(*disk) bool) (count int) {
	for _, n := range w.nodes {
		if has(n.disk) {
			count++
		}
		if n.twin != nil && has(n.twin.disk) {
			count++
		}
	}
	return count
}

// excused notes that a node may give up its copy of the ledger, and what it keeps for it.
func (w *world) excused(n *node) {
	w.excuse[n] = true
	n.disk.refused = true
	for id := range n.disk.kept {
		w.harmed[id] = true
	}
}

func (w *world) dropped(n *node, e engine.DropLedger) {
	if e.Reason != "" && !w.excuse[n] && n.honest && w.honestHome() && !w.mayGiveUp(n) && !n.fooled {
		w.fail("%s gives up its copy of the ledger: %s", n.id, e.Reason)
	}
	delete(w.excuse, n)
}

// homeIs checks the order of the homes that a node follows.
func (w *world) homeIs(n *node, e engine.HomeIs) {
	if e.ID == w.id && e.Home == "" && n.honest && n.id == w.lastHome && w.longAway {
		w.stoodDown = true // nobody answered it for long: who is elected next may be the liar
	}
	if e.ID == w.id && e.Home == n.id && !n.honest {
		w.liarLed = true // a lying follower that was elected after the home died
		if w.cfg.Restarts > 0 && w.calmNet() {
			w.fail("%s, which lies, leads the job though its home lives", n.id)
		}
	}
	if e.ID != w.id || !n.honest || !w.honestHome() {
		return
	}
	if i, ok := w.index[e.Home]; n.fooled || ok && !w.nodes[i].honest && w.mayBelieve(n) {
		return
	}
	if i, ok := w.index[e.Home]; e.Home != "" && (!ok || !w.nodes[i].honest) && w.cfg.Liar == LyingWorker {
		w.fail("%s takes %q for the job's home, which nobody has elected", n.id, e.Home)
	}
	if e.Term < n.term {
		w.fail("%s follows %q in term %d after one of term %d", n.id, e.Home, e.Term, n.term)
	}
	n.term = e.Term
	if e.Home != n.id {
		return
	}
	if w.lastHome != n.id {
		w.res.Homes++
		w.lastHome = n.id
	}
	if was, ok := w.homes[e.Term]; ok && was != n.id {
		w.fail("%s and %s lead in term %d", was, n.id, e.Term)
	}
	w.homes[e.Term] = n.id
}

// forget frees a blob, and checks that it is not the only copy of something needed.
func (w *world) forget(n *node, e engine.ForgetBlob) {
	b, had := n.blobs[e.ID]
	delete(n.blobs, e.ID)
	if !had || b.lie || !w.hostile() || w.ended || !n.honest || !w.honestHome() || e.ID.Node != n.id || w.rejected[e.ID] {
		return
	}
	cover := tasks.CoverOf(b.packets...)
	if cover.Intersects(w.truth) || w.recovered && w.cfg.Return > 1 { // replicas that came back may have led for a moment
		return
	}
	for _, o := range w.nodes {
		for _, p := range []*node{o, o.twin} {
			if p != nil && p.up {
				w.note(p)
			}
		}
	}
	if !cover.Intersects(w.truth) && !n.disk.refused { // else the copy is lost that could show it
		w.fail("%s forgets %v, which is not committed", n.id, e.ID)
	}
}

// result is the ledger's description of a content.
func (c content) result() ledger.Result {
	h := fnv.New64a()
	for _, p := range c.packets {
		fmt.Fprint(h, p)
	}
	status := ""
	for _, l := range c.lost {
		status += fmt.Sprintf("%v %s;", l.Range, l.Kind)
	}
	fmt.Fprint(h, status)
	return ledger.Result{SHA256: fmt.Sprintf("%x", h.Sum64()), Size: int64(len(c.packets)), Status: []byte(status)}
}

// jobEnded checks a replica's report that the result is in the ledger.
func (w *world) jobEnded(n *node, e engine.JobEnded) {
	if !n.honest || !w.honestHome() {
		return
	}
	var parts []merge.ID
	v, replica := n.peer.Ledger(w.id)
	for _, p := range v.Parts {
		parts = append(parts, p.ID)
	}
	if !w.ended && !(e.Result.SHA256 == forgedEnd && w.mayBelieve(n)) {
		w.firstEnd(n, e.Result, parts, replica)
		return
	}
	if e.Result.SHA256 == forgedEnd && w.mayBelieve(n) {
		return
	}
	if e.Result.SHA256 != w.first.SHA256 || string(e.Result.Status) != string(w.first.Status) {
		w.fail("%s tells another result: %v, not %v", n.id, e.Result, w.first)
	}
	if v.Ended && !slices.Equal(parts, w.parts) {
		w.fail("the record of %s differs: %v, not %v", n.id, parts, w.parts)
	}
}

// endSealed puts the proof of the end on a disk, and checks that it is of the right end.
func (w *world) endSealed(n *node, e engine.EndSealed) {
	n.disk.end = &e
	if !n.honest || !w.honestHome() {
		return
	}
	if e.Ended.Result != nil && e.Ended.Result.SHA256 == forgedEnd && w.mayBelieve(n) {
		return
	}
	if err := engine.CheckEnd(engine.TrustOf(modelkeys.Keys(n.id), w.id, func(tasks.PeerID) bool {
		return true
	}, w.job.Submitter), &e.Ended); err != nil || !w.ended || e.Ended.Sum != w.first.Sum() {
		w.fail("%s shows an end that is none: %v, %v", n.id, e.Ended, err)
	}
}

func (w *world) firstEnd(n *node, r ledger.Result, parts []merge.ID, replica bool) {
	w.ended, w.first, w.parts, w.res.Makespan = true, r, parts, w.now
	if v, ok := n.peer.Ledger(w.id); ok {
		w.keepers = v.Voters
	}
	w.trace.printf(w.now, n, "END: %v", r)
	c, ok := w.results[r.SHA256]
	if !ok {
		w.fail("%s ends the job with an unknown result", n.id)
		return
	}
	w.res.Lost = c.lost
	if err := w.exactlyOnce(c); err != nil {
		w.fail("%w", err)
	}
	if err := w.falsified(c); err != nil {
		w.fail("%w", err)
	}
	for id := range w.commits {
		if replica && !w.inResult(id, parts) {
			w.fail("%v was committed, and is not in the result", id)
		}
	}
	if !w.hostile() {
		w.over = w.sidesEnded()
		return
	}
	w.endIfForgotten()
}

// exactlyOnce checks that a result has every unit exactly once.
func (w *world) exactlyOnce(c content) error {
	all := slices.Clone(c.packets)
	bad := w.mustBeLost()
	for _, l := range c.lost {
		all = append(all, l.Range)
		for u := l.Range.First; u < l.Range.Last; u++ {
			if !w.poison[u] && !w.hidden(u) {
				return fmt.Errorf("units %v are told as lost: %s", l.Range, l.Reason)
			}
			bad = slices.DeleteFunc(bad, func(b int64) bool { return b == u })
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("units %v are not told as lost", bad)
	}
	slices.SortFunc(all, func(a, b tasks.Range) int { return int(min(max(a.First-b.First, -1), 1)) })
	next := w.job.Want.First
	for _, r := range all {
		if r.First > next {
			return fmt.Errorf("units %v are missing", tasks.R(next, r.First))
		}
		if r.First < next {
			return fmt.Errorf("units %v are counted twice", tasks.R(r.First, min(next, r.Last)))
		}
		next = r.Last
	}
	if next != w.job.Want.Last {
		return fmt.Errorf("the result ends at unit %d of %d", next, w.job.Want.Last)
	}
	return nil
}

// endIfForgotten ends the run when all nodes have forgotten the job.
func (w *world) endIfForgotten() {
	switch who := w.holding(); {
	case w.now < w.res.Settled || !w.sidesEnded():
	case who == "":
		if have := w.count(func(d *disk) bool { return slices.Contains(d.results, w.first.SHA256) }); have == 0 {
			w.fail("nobody has the result any more")
		}
		w.checkEndsBelieved()
		w.over = true
		return
	case w.now > max(w.res.Makespan, w.res.Settled)+forgetWithin:
		if !w.lostReplicas() {
			w.unfinished()
		}
		w.over = true
		return
	}
	w.after(500*time.Millisecond, w.endIfForgotten)
}

// lostReplicas reports whether a majority of the replicas left for good or lost their disks after the job had ended.
// The rest of its ledger cannot know that, waits for them, and may be recovered; so there is no time limit.
func (w *world) lostReplicas() bool {
	lost := 0
	for _, m := range w.keepers {
		if o := w.nodes[w.index[m.Peer]]; o.gone || o.emptied {
			lost++
		}
	}
	return len(w.keepers) > 1 && 2*lost > len(w.keepers)
}

// holding returns a node that has not forgotten the job.
func (w *world) holding() tasks.PeerID {
	for _, n := range w.nodes {
		if !n.up || !n.honest {
			continue
		}
		if _, has := n.peer.Jobs()[w.id]; has {
			return n.id
		}
	}
	return ""
}
