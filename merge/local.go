package merge

import (
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// An offer is repeated when it was not answered, and rarely when it was noted, since who noted it may have
// forgotten it by an accident.
const (
	reofferAfter = time.Second
	renoteAfter  = 10 * time.Second
	doubtAfter   = 20 * time.Second // that units are committed, as the node above says
	// maxClimb is how far partials go up the tree, whatever it looks like: nodes that know it from different times
	// could send them round in a ring.
	maxClimb   = 8
	aboveTries = 3 // offers to the node above that it does not answer; then the home gets the next
	// passAfter is how long the node above may say that it has noted a partial that is not committed. Then the home gets
	// it, before it takes the partial's holder for one that does nothing (60 s), and that node is passed by for a while:
	// it is slow, or does not do what it says.
	passAfter = 40 * time.Second
	passFor   = 2 * time.Minute
)

// Partials of several nodes are merged when FanIn of them are here, or after a while: a short one if this node
// has no work, for then the job may be near its end.
const (
	gatherIdle = 10 * time.Millisecond
	gatherBusy = time.Second
)

// maxGathered bounds the partials of others that wait or are merged here.
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
	// Merge the inputs' blobs into one, fetching those that other nodes hold; answer with Merged or
	// MergeFailed.
	Merge struct {
		Job    tasks.JobID
		ID     ID
		Inputs []Partial
	}
	// Refuse an order to reduce: its inputs go on being offered one by one.
	Refuse struct {
		Job    tasks.JobID
		Inputs []ID
	}
	// Forget a blob.
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
	Noted    Word = iota // it is merged and offered on; keep it until there is another word
	Accepted             // its units are committed
	Released             // offer it to the home
)

type state int

const (
	waiting state = iota // sealed, not offered yet
	merging              // input of a merge that runs here
	offered
	hidden // merged into an offered partial; kept until that is committed
)

type part struct {
	Partial
	state   state
	offered time.Duration // when last
	since   time.Duration // here
	toSince time.Duration // to whom it is offered now
	copy    bool          // of another node, for a merge
	ordered bool          // the home has ordered that merge
	into    ID            // the merge it is or was an input of

	gathered      bool         // a copy that its holder offered, and that is answered from here
	direct        bool         // goes to the home, past the node above
	to            tasks.PeerID // offered to; empty for the home
	noted         bool         // and there it is known
	tries         int          // offers not answered
	acceptedAbove bool         // the node above says that its units are committed
}

// Local keeps one node's partials of one job until the home has committed them.
type Local struct {
	job    tasks.JobID
	self   tasks.PeerID
	atHome bool         // the home is this node: offering costs nothing, so nothing is merged before
	above  tasks.PeerID // merges what comes from here before it goes to the home; empty for none
	inner  bool         // others have this node above them
	parts  []*part
	out    []Effect
	merges int64
	every  time.Duration                  // between reports to the home
	passed map[tasks.PeerID]time.Duration // until when a node gets nothing to merge
	late   map[tasks.PeerID]time.Duration // until when nothing of a node's is merged here
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

// SetHome tells that another node leads the job now: it is offered all that waits for an answer.
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

// Add takes a partial sealed by a generation here.
func (l *Local) Add(now time.Duration, p Partial) {
	if l.find(p.ID) == nil {
		l.parts = append(l.parts, &part{Partial: p, since: now})
	}
}

// Flush offers the waiting partials, merged here first if there are several. next names the merge.
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
	for _, p := range ready { // what overlaps is for the home to judge
		p.direct = len(ready) > 1
		l.pass(now, p)
	}
	return l.take()
}

// pass has a partial offered as it is: by its holder, if that is another node.
func (l *Local) pass(now time.Duration, p *part) {
	if p.copy {
		l.returnToHolder(p)
	} else {
		l.offer(now, p)
	}
}

func fitting(ps []*part) int {
	in := make([]Partial, min(len(ps), FanIn))
	for i := range in {
		in[i] = ps[i].Partial
	}
	return Fitting(in)
}

// Due is when partials here had best be flushed, or -1 if there are none. An idle node has no work.
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

// Reduce merges partials on the home's order; some lie with other nodes. The home repeats the order
// until it sees the outcome, so an order under way is passed over, one carried out is answered by its
// result, and one that cannot be carried out is refused.
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

// known finds the first input if all of them are in one merge already.
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
		if have == nil { // it is fetched
			need += p.Size
		}
		if p.Job != l.job || ids[p.ID] || (p.Holder == l.self) != (have != nil) || (have != nil && !have.same(p)) {
			return false
		}
		ids[p.ID] = true
	}
	return need <= l.room
}

// sizeOf is the size of partials, and at most that of a merge of them.
func sizeOf(ps []Partial) (n int64) {
	for _, p := range ps {
		n += p.Size
	}
	return n
}

// same reports whether p, as another node names it, is what is kept here.
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

// Merged takes the outcome of a Merge; m.Units and m.Canary are as counted in its blob, and the cover
// follows from the inputs.
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

// MergeFailed gives up a merge: its inputs are offered apart. Where the blob of one that another node holds could not
// be had, nothing of that node's is gathered here for a while: its next one would hold the others up again.
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

// refuseOrder tells the home that its order was not carried out, if it was one.
func (l *Local) refuseOrder(inputs []ID) {
	for _, id := range inputs {
		if p := l.find(id); p != nil && p.gathered {
			return
		}
	}
	l.out = append(l.out, Refuse{l.job, inputs})
}

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

// Accepted tells that the home has committed a partial, or its units by another.
func (l *Local) Accepted(id ID) []Effect {
	if p := l.find(id); p != nil && p.state != merging {
		l.dropTree(p)
	}
	return l.take()
}

// Committed tells that the home says which units that are held here are committed: partials of which the node above
// said so are forgotten. That node's word alone is not enough, for it would lose what it never offered on.
func (l *Local) Committed(c tasks.Cover) []Effect {
	for _, p := range slices.Clone(l.parts) {
		if p.acceptedAbove && p.state == offered && c.Covers(p.Cover) {
			l.dropTree(p)
		}
	}
	return l.take()
}

// SetPace tells the time between this node's reports to the home.
func (l *Local) SetPace(every time.Duration) { l.every = every }

// Rejected tells that the home cannot commit a partial: its kept inputs are offered one by one. One
// without inputs is dropped, and the home has what it lacks of it run again.
func (l *Local) Rejected(now time.Duration, id ID) []Effect {
	p := l.find(id)
	if p == nil || p.state != offered {
		return nil
	}
	l.drop(p)
	l.release(now, p.Kids)
	return l.take()
}

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

func (l *Local) drop(p *part) {
	l.parts = slices.DeleteFunc(l.parts, func(o *part) bool { return o == p })
	l.out = append(l.out, Forget{l.job, p.ID})
}

// Tick repeats offers that were not answered.
func (l *Local) Tick(now time.Duration) []Effect {
	for _, p := range l.parts {
		switch since := now - p.offered; {
		case p.state == offered && p.acceptedAbove && since < max(doubtAfter, 3*l.every):
		case p.state == offered && p.acceptedAbove: // not so, or the home's word was lost
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

// SetRoom bounds the bytes that merges may add to what is kept here, from now on: what does not fit is offered as it
// is.
func (l *Local) SetRoom(n int64) { l.room = n }

// Bytes is the size of all that is kept here, with what the merges under way may come to. Partials of others are
// fetched when they are merged.
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

// Own is every unit in an output of this node's generations that is kept here.
func (l *Local) Own() tasks.Cover {
	var rs []tasks.Range
	for _, p := range l.parts {
		if !p.copy && len(p.Kids) == 0 {
			rs = append(rs, p.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

// InMerges is every unit in a merge kept here.
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

// Held is every unit in a partial kept here.
func (l *Local) Held() tasks.Cover {
	var rs []tasks.Range
	for _, p := range l.parts {
		if p.state != hidden && !p.copy {
			rs = append(rs, p.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

// Waiting reports whether a partial waits for Flush.
func (l *Local) Waiting() bool {
	return slices.ContainsFunc(l.parts, func(p *part) bool { return p.state == waiting })
}

// Empty reports whether nothing is kept here.
func (l *Local) Empty() bool { return len(l.parts) == 0 }

// Merges counts the merges done here.
func (l *Local) Merges() int64 { return l.merges }
