package merge

import (
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

const (
	reofferAfter = time.Second      // when an offer that was not answered is repeated
	renoteAfter  = 10 * time.Second // when an offer that was noted is repeated, since its receiver may have forgotten it
	// doubtAfter is how long the home's word that units are committed is waited for after the node above has said so.
	doubtAfter = 20 * time.Second
	// maxClimb is how many times a partial may be merged on its way up the tree. Nodes that know the tree from different
	// times could send partials round in a ring.
	maxClimb   = 8
	aboveTries = 3 // how many offers the node above may leave unanswered before the home gets the next one
	// passAfter is how long the node above may say that it has noted a partial which is not committed. After that the
	// home gets the partial, before it takes the holder for a node that does nothing (60 s). The node above is slow, or
	// does not do what it says, and so gets nothing for passFor.
	passAfter = 40 * time.Second
	passFor   = 2 * time.Minute
)

// Partials of several nodes are merged when there are FanIn of them, or after one of these times. Where this node has
// no work the job may be near its end, so the wait is short.
const (
	gatherIdle = 10 * time.Millisecond // if this node has no work
	gatherBusy = time.Second           // if it has
)

// maxGathered bounds the partials of other nodes that wait here, or are being merged.
const maxGathered = 1024

// Effect is what the owner of a Local must do; the types below.
type Effect interface{ isMergeEffect() }

// Effects of a Local.
type (
	// Offer p to the job's home, or to a node that merges it with others; repeated until answered.
	Offer struct {
		Partial Partial
		To      tasks.PeerID // empty for the home
	}
	// Tell the holder of a gathered partial what became of it.
	Tell struct {
		Job  tasks.JobID
		To   tasks.PeerID
		ID   ID
		Word Word
	}
	// Merge the inputs' blobs into one under ID, and fetch those that other nodes hold. Answer with Merged or MergeFailed.
	Merge struct {
		Job    tasks.JobID
		ID     ID
		Inputs []Partial
	}
	// Refuse an order to reduce. Its inputs go on being offered one by one.
	Refuse struct {
		Job    tasks.JobID
		Inputs []ID
	}
	// Forget deletes a blob.
	Forget struct {
		Job tasks.JobID
		ID  ID
	}
)

func (Offer) isMergeEffect()  {}
func (Tell) isMergeEffect()   {}
func (Merge) isMergeEffect()  {}
func (Refuse) isMergeEffect() {}
func (Forget) isMergeEffect() {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Merge) IsEffect() {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Forget) IsEffect() {}

// Word is what the node above says of a partial.
type Word int

// Words.
const (
	Noted    Word = iota // the partial is merged and offered on; its holder keeps it until there is another word
	Accepted             // its units are committed
	Released             // its holder is to offer it to the home
)

type state int

const (
	waiting state = iota // sealed, not offered yet
	merging              // input of a merge that runs here
	offered
	hidden // merged into an offered partial; kept until that is committed
)

// part is a partial that is kept here, or that another node holds and that is merged here.
type part struct {
	Partial
	state   state
	since   time.Duration // when it came here
	copy    bool          // another node holds it; it is here to be merged
	ordered bool          // the home has ordered the merge that it is an input of
	into    ID            // the merge that it is or was an input of

	gathered      bool          // a copy whose holder has offered it to this node, and is answered by it
	direct        bool          // it is offered to the home, and not to the node above
	to            tasks.PeerID  // to whom it is offered; empty for the home
	toSince       time.Duration // since when it is offered to that one
	offered       time.Duration // when it was last offered
	noted         bool          // whoever it is offered to has said that it knows the offer
	tries         int           // how many offers in a row were not answered
	acceptedAbove bool          // the node above has said that its units are committed
}

// Local keeps one node's partials of one job until the home has committed them.
type Local struct {
	job    tasks.JobID
	self   tasks.PeerID
	atHome bool         // this node is the home: offers cost nothing, so nothing is merged before
	above  tasks.PeerID // the node that merges this one's partials with others'; empty for none
	inner  bool         // other nodes have this one above them
	parts  []*part
	out    []Effect                       // of the call that runs, so far
	merges int64                          // how many merges were made here
	every  time.Duration                  // the time between reports to the home
	passed map[tasks.PeerID]time.Duration // nodes that get nothing to merge, and until when
	late   map[tasks.PeerID]time.Duration // nodes whose partials are not merged here, and until when
	room   int64                          // bytes that merges may add to what is kept here
}

// NewLocal returns an empty Local.
func NewLocal(job tasks.JobID, self, home tasks.PeerID) *Local {
	return &Local{
		job:    job,
		self:   self,
		atHome: self == home,
		passed: map[tasks.PeerID]time.Duration{},
		late:   map[tasks.PeerID]time.Duration{},
		room:   math.MaxInt64,
	}
}

// SetHome tells that another node leads the job now. All that waits for the home's answer is offered to that node.
func (l *Local) SetHome(now time.Duration, home tasks.PeerID) []Effect {
	l.atHome = home == l.self
	if l.above == home {
		l.above = ""
	}
	for _, p := range l.parts {
		if p.state == offered && p.to == "" {
			l.offer(now, p)
		}
	}
	return l.take()
}

func (l *Local) take() []Effect {
	out := l.out
	l.out = nil
	return out
}

func (l *Local) find(id ID) *part {
	for _, p := range l.parts {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Add takes a partial that a generation has sealed here.
func (l *Local) Add(now time.Duration, p Partial) {
	if l.find(p.ID) == nil {
		l.parts = append(l.parts, &part{Partial: p, since: now})
	}
}

// Flush offers the waiting partials, which are merged here first if there are several. next gives merges their names.
func (l *Local) Flush(now time.Duration, next func() ID) []Effect {
	var ready []*part
	for _, p := range l.parts {
		if p.state == waiting {
			ready = append(ready, p)
		}
	}
	ready = slices.DeleteFunc(ready, func(p *part) bool {
		if p.Large() {
			l.pass(now, p)
		}
		return p.Large()
	})
	for len(ready) > 0 && !l.atHome && (len(ready) > 1 || ready[0].copy) {
		n := fitting(ready)
		if !l.merge(next(), ready[:n]) {
			break
		}
		ready = ready[n:]
	}
	for _, p := range ready { // those that overlap, or for which there is no room, are left to the home
		p.direct = len(ready) > 1
		l.pass(now, p)
	}
	return l.take()
}

// pass offers a partial as it is or, if another node holds it, has that node offer it.
func (l *Local) pass(now time.Duration, p *part) {
	if p.copy {
		l.returnToHolder(p)
	} else {
		l.offer(now, p)
	}
}

// fitting is how many of ps, from the first on, can be merged into one.
func fitting(ps []*part) int {
	in := make([]Partial, min(len(ps), FanIn))
	for i := range in {
		in[i] = ps[i].Partial
	}
	return Fitting(in)
}

// Due is when the partials here are best flushed; -1 if none waits. idle says that this node has no work.
func (l *Local) Due(now time.Duration, idle bool) time.Duration {
	n, due := 0, time.Duration(-1)
	for _, p := range l.parts {
		if p.state == waiting {
			if n++; due < 0 || p.since < due {
				due = p.since
			}
		}
	}
	switch {
	case n == 0 || n >= FanIn || l.atHome || !l.inner:
		return due
	case idle:
		return due + gatherIdle
	}
	return due + gatherBusy
}

// merge begins a merge of partials that wait here, if they are disjoint and there is room for it.
func (l *Local) merge(id ID, ps []*part) bool {
	in := make([]Partial, len(ps))
	for i, p := range ps {
		in[i] = p.Partial
	}
	need := sizeOf(in)
	for _, p := range ps {
		if p.away() {
			need += p.Size
		}
	}
	if Disjoint(in) != nil || need > l.room {
		return false
	}
	l.room -= need
	for _, p := range ps {
		p.state, p.into, p.ordered = merging, id, false
	}
	l.out = append(l.out, Merge{Job: l.job, ID: id, Inputs: in})
	return true
}

// offer offers a partial to the node above or, where that will not do, to the home.
func (l *Local) offer(now time.Duration, p *part) {
	to := l.above
	if p.direct || l.atHome || p.Climb >= maxClimb || p.Large() || now < l.passed[to] {
		to = ""
	}
	if p.state != offered || p.to != to {
		p.toSince = now
	}
	p.state, p.offered, p.noted, p.to = offered, now, false, to
	l.out = append(l.out, Offer{Partial: p.Partial, To: p.to})
}

// Reduce merges partials by the home's order, of which some lie with other nodes. The home repeats the order until it
// sees the outcome. So an order that is under way is passed over, one that was carried out is answered by offering its
// result again, and one that cannot be carried out is refused.
func (l *Local) Reduce(now time.Duration, id ID, inputs []Partial) []Effect {
	if len(inputs) == 0 || len(inputs) > FanIn {
		return nil
	}
	switch known := l.known(inputs); {
	case known == nil && l.reducible(inputs):
		l.begin(id, inputs)
	case known == nil:
		l.refuse(inputs)
	case known.state == merging:
	default:
		if m := l.find(known.into); m != nil && m.state == offered {
			l.offer(now, m)
		}
	}
	return l.take()
}

// known is the first of the inputs if all of them are in one merge already, and nil otherwise.
func (l *Local) known(inputs []Partial) *part {
	first := l.find(inputs[0].ID)
	for _, p := range inputs {
		have := l.find(p.ID)
		if have == nil || have.into != first.into || (have.state != merging && have.state != hidden) {
			return nil
		}
	}
	return first
}

// reducible reports whether inputs may be merged here now.
func (l *Local) reducible(inputs []Partial) bool {
	if len(inputs) < 2 || Disjoint(inputs) != nil {
		return false
	}
	ids := map[ID]bool{}
	need := sizeOf(inputs)
	for _, p := range inputs {
		have := l.find(p.ID)
		if have == nil { // it has to be fetched
			need += p.Size
		}
		if p.Job != l.job || ids[p.ID] || (p.Holder == l.self) != (have != nil) || (have != nil && !have.same(p)) {
			return false
		}
		ids[p.ID] = true
	}
	return need <= l.room
}

// sizeOf is the size of partials together. A merge of them is no larger.
func sizeOf(ps []Partial) (n int64) {
	for _, p := range ps {
		n += p.Size
	}
	return n
}

// same reports whether p, as the home names it, is the partial that is offered here.
func (h *part) same(p Partial) bool {
	return h.state == offered && h.Cover.Equal(p.Cover) && h.Units == p.Units && h.Canary == p.Canary
}

func (l *Local) begin(id ID, inputs []Partial) {
	for _, p := range inputs {
		if have := l.find(p.ID); have != nil {
			have.state, have.into, have.ordered = merging, id, true
		} else {
			l.parts = append(l.parts, &part{Partial: p, state: merging, copy: true, into: id, ordered: true})
		}
	}
	l.out = append(l.out, Merge{Job: l.job, ID: id, Inputs: inputs})
}

func (l *Local) refuse(inputs []Partial) {
	r := Refuse{Job: l.job}
	for _, p := range inputs {
		r.Inputs = append(r.Inputs, p.ID)
	}
	l.out = append(l.out, r)
}

// Merged takes the outcome of a Merge. Units and canary of m are those that were counted in its blob; its cover is that
// of its inputs. The error says why it cannot be what they make, in which case they are offered apart.
func (l *Local) Merged(now time.Duration, m Partial) ([]Effect, error) {
	var in []*part
	var ps []Partial
	for _, k := range m.Kids {
		if p := l.find(k); p != nil && p.state == merging {
			in, ps = append(in, p), append(ps, p.Partial)
		}
	}
	if err := Check(m, ps); err != nil {
		l.out = append(l.out, Forget{l.job, m.ID})
		l.refuseOrder(m.Kids)
		l.release(now, m.Kids)
		return l.take(), err
	}
	l.merges++
	m.Cover = Sum(m.ID, ps).Cover
	for _, p := range in {
		p.state = hidden
		if p.gathered {
			m.Climb = max(m.Climb, p.Climb+1)
		}
	}
	p := &part{Partial: m, since: now, direct: in[0].ordered}
	l.parts = append(l.parts, p)
	l.offer(now, p)
	if mutant.On(mutant.DropInputs) {
		for _, kid := range in {
			l.drop(kid)
		}
	}
	return l.take(), nil
}

// MergeFailed gives a merge up, and its inputs are offered apart. holder is the node whose blob could not be had, if
// that was the reason. Nothing of that node is gathered here for a while, since its next partial would hold up others
// again.
func (l *Local) MergeFailed(now time.Duration, inputs []ID, holder tasks.PeerID) []Effect {
	l.refuseOrder(inputs)
	l.release(now, inputs)
	if holder != "" && holder != l.self {
		l.late[holder] = now + passFor
		for _, p := range slices.Clone(l.parts) {
			if p.gathered && p.state == waiting && p.Holder == holder {
				l.returnToHolder(p)
			}
		}
	}
	return l.take()
}

// refuseOrder tells the home that a merge will not be made, unless it was of gathered partials and not ordered by the
// home.
func (l *Local) refuseOrder(inputs []ID) {
	for _, id := range inputs {
		if p := l.find(id); p != nil && p.gathered {
			return
		}
	}
	l.out = append(l.out, Refuse{l.job, inputs})
}

// release has the inputs of a merge that came to nothing offered by their holders.
func (l *Local) release(now time.Duration, ids []ID) {
	for _, id := range ids {
		p := l.find(id)
		switch {
		case p == nil || (p.state != merging && p.state != hidden):
		case p.gathered:
			l.returnToHolder(p)
		case p.copy:
			l.drop(p)
		default:
			p.direct = true
			l.offer(now, p)
		}
	}
}

// Accepted tells that the home has committed the units of a partial, by this one or by another.
func (l *Local) Accepted(id ID) []Effect {
	if p := l.find(id); p != nil && p.state != merging {
		l.dropTree(p)
	}
	return l.take()
}

// Committed tells which of the units that are held here are committed, as the home says. Partials are forgotten of
// which the node above has said so before. That node's word alone does not count: a partial that it never offered on
// would be lost.
func (l *Local) Committed(c tasks.Cover) []Effect {
	for _, p := range slices.Clone(l.parts) {
		if p.acceptedAbove && p.state == offered && c.Covers(p.Cover) {
			l.dropTree(p)
		}
	}
	return l.take()
}

// SetPace sets the time between this node's reports to the home.
func (l *Local) SetPace(every time.Duration) { l.every = every }

// Rejected tells that the home cannot commit a partial. The inputs of a merge, which are kept, are offered one by one.
// A partial without inputs is dropped, and the home has its units run again as far as they are not committed.
func (l *Local) Rejected(now time.Duration, id ID) []Effect {
	p := l.find(id)
	if p == nil || p.state != offered {
		return nil
	}
	l.drop(p)
	l.release(now, p.Kids)
	return l.take()
}

// dropTree drops a partial and what it was merged from, and tells the holders of gathered ones that it is committed.
func (l *Local) dropTree(p *part) {
	l.drop(p)
	for _, k := range p.Kids {
		if kid := l.find(k); kid != nil && kid.state == hidden {
			if kid.gathered {
				l.tell(kid, Accepted)
			}
			l.dropTree(kid)
		}
	}
}

// drop forgets a partial with its blob.
func (l *Local) drop(p *part) {
	l.parts = slices.DeleteFunc(l.parts, func(o *part) bool { return o == p })
	l.out = append(l.out, Forget{l.job, p.ID})
}

// Tick repeats offers that were not answered.
func (l *Local) Tick(now time.Duration) []Effect {
	for _, p := range l.parts {
		switch since := now - p.offered; {
		case p.state == offered && p.acceptedAbove && since < max(doubtAfter, 3*l.every):
		case p.state == offered && p.acceptedAbove: // it is not committed, or the home's word was lost
			p.acceptedAbove, p.direct = false, true
			l.offer(now, p)
		case p.state == offered && p.to != "" && now-p.toSince >= passAfter+4*l.every:
			l.passed[p.to], p.direct = now+passFor, true
			l.offer(now, p)
		case p.state != offered || since < reofferAfter || (p.noted && since < renoteAfter):
		case p.noted || p.to == "":
			p.tries = 0
			l.offer(now, p)
		default:
			p.tries++
			p.direct = p.direct || p.tries >= aboveTries
			l.offer(now, p)
		}
	}
	return l.take()
}

// Clear forgets everything.
func (l *Local) Clear() []Effect {
	for len(l.parts) > 0 {
		l.drop(l.parts[0])
	}
	return l.take()
}

// SetRoom bounds the bytes that merges may add to what is kept here from now on. What does not fit is offered as it is.
func (l *Local) SetRoom(n int64) { l.room = n }

// Bytes is the size of all blobs that are kept here, and of the merges under way at their largest. Partials of other
// nodes count only when they are merged, since they are fetched then.
func (l *Local) Bytes() (n int64) {
	for _, p := range l.parts {
		if !p.away() {
			n += p.Size
		}
		if p.state == merging {
			n += p.Size
		}
	}
	return n
}

// away reports whether a partial's blob has yet to be fetched.
func (p *part) away() bool { return p.copy && p.state == waiting }

// Own is the units in outputs of this node's generations that are kept here.
func (l *Local) Own() tasks.Cover {
	var rs []tasks.Range
	for _, p := range l.parts {
		if !p.copy && len(p.Kids) == 0 {
			rs = append(rs, p.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

// InMerges is the units in merges that are kept here.
func (l *Local) InMerges() tasks.Cover {
	var rs []tasks.Range
	for _, p := range l.parts {
		if p.state != hidden && len(p.Kids) > 0 && !p.copy {
			rs = append(rs, p.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

// Passed are the offers of partials that other nodes are to merge.
func (l *Local) Passed() (out []Offer) {
	for _, p := range l.parts {
		if p.state == offered && p.to != "" {
			out = append(out, Offer{Partial: p.Partial, To: p.to})
		}
	}
	return out
}

// Held is the units in partials that are kept here.
func (l *Local) Held() tasks.Cover {
	var rs []tasks.Range
	for _, p := range l.parts {
		if p.state != hidden && !p.copy {
			rs = append(rs, p.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

// Waiting reports whether some partial waits for Flush.
func (l *Local) Waiting() bool {
	return slices.ContainsFunc(l.parts, func(p *part) bool { return p.state == waiting })
}

// Empty reports whether nothing is kept here.
func (l *Local) Empty() bool { return len(l.parts) == 0 }

// Merges counts the merges done here.
func (l *Local) Merges() int64 { return l.merges }

// Visible are the partials of this node that are not known to be committed, each unit once: what was merged is in the
// merge alone.
func (l *Local) Visible() (out []Partial) {
	for _, p := range l.parts {
		if p.state != hidden && !p.copy {
			out = append(out, p.Partial)
		}
	}
	return out
}
