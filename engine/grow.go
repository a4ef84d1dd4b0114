package engine

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// An open job grows by appends (package tasks), which its submitter makes until it closes the job. They come to the
// job's log through whoever leads it (ledger/grow.go), and from there to all nodes: to those that have a copy of the
// ledger with the log, and to all by the home's word, which the submitter's signature proves. A node runs only units
// that it knows: it says so when it asks for work, and reports how far it has come, so that it is told what follows.

// growth is what this peer knows of how an open job has grown.
//
// data and sums follow from the description and the appends that are known here. All these appends are in the record of
// the job's home, unless the ledger was recovered from a copy that lacked some of them; then all that is here of the
// job's units is given up (regrow). The numbers of the appends in outbox follow those of the known ones without a gap.
type growth struct {
	data   *tasks.Dataset    // the whole dataset; nil until it is first asked for
	sums   []tasks.AppendSum // of each known append, with all before it
	closed bool              // a known append has closed the job
	weight int64             // of the files of all known appends, as part of the job's prep.weighed
	outbox []tasks.Append    // at the submitter: its appends that are not known to be in the log
	sent   tasks.Moment      // when outbox was last sent
	// near is, at the submitter, what nodes are near the units of its appends that are not known to be in the log.
	near map[uint64][]steal.Near
}

const (
	sendAppends = time.Second           // how often outbox is sent
	sendAtOnce  = 64                    // appends of it that are sent at a time
	maxOutbox   = ledger.MaxGrowing / 2 // appends in it
	maxGrow     = 256 << 10             // bytes of appends in one message, unless it is a single append
)

// known is how many appends of the job are known here.
func (g *growth) known() uint64 { return uint64(len(g.sums)) }

// sum is the sum over all known appends, zero if there are none.
func (g *growth) sum() (last tasks.AppendSum) {
	if n := len(g.sums); n > 0 {
		last = g.sums[n-1]
	}
	return last
}

// data is all that the job is known to run over. The description must be here.
func (j *jobState) data() *tasks.Dataset {
	switch {
	case !j.desc.Open:
		return &j.desc.Data
	case j.growth.data == nil:
		j.growth.data = j.desc.Data.Clone()
	}
	return j.growth.data
}

// want is the range of wanted units, as far as they are known here. The description must be here.
func (j *jobState) want() tasks.Range {
	if j.desc.Open {
		return j.data().Space()
	}
	return j.desc.Want
}

// signedAppends checks appends of a job for its submitter's signature.
func (p *Peer) signedAppends(id tasks.JobID, submitter tasks.PeerID) ledger.Signed {
	return func(a *tasks.Append, sum tasks.AppendSum) bool {
		return mutant.On(mutant.UnsignedAppend) ||
			p.cfg.Keys.Verify(submitter, tasks.AppendText(id, a.Seq, sum), a.Sig)
	}
}

// newRecord is the record with which a job begins.
func (p *Peer) newRecord(id tasks.JobID, desc *tasks.Job) *ledger.Record {
	return ledger.NewRecord(desc, p.signedAppends(id, desc.Submitter))
}

// append takes an append of this node's user to its job. The append is signed here, and sent to whoever leads the job
// until it is known to be in the log. An append that was taken before is not made a second time.
func (p *Peer) append(ev Append) {
	j := p.job(ev.ID)
	no := func(again bool, why string) { p.emit(Appended{ID: ev.ID, Seq: ev.Seq, Again: again, Reason: why}) }
	switch {
	case p.ends.of[ev.ID] != nil:
		no(false, "the job is over")
		return
	case j == nil || j.desc == nil:
		no(true, "the job is not known here")
		return
	case j.desc.Submitter != p.self:
		no(false, "the job is another node's")
		return
	case !j.desc.Open:
		no(false, "the job is none that grows")
		return
	}
	g, a := &j.growth, tasks.Append{Seq: ev.Seq, Files: ev.Files, Close: ev.Close}
	next := g.known() + uint64(len(g.outbox)) + 1
	if a.Seq < next && mutant.On(mutant.DoubleAppend) {
		a.Seq = next
	}
	switch err := a.Check(); {
	case err != nil:
		no(false, err.Error())
	case a.Seq < next:
		p.appendedAgain(j, &a)
	case a.Seq > next:
		no(true, "the one before it is not known here")
	case g.closed || len(g.outbox) > 0 && g.outbox[len(g.outbox)-1].Close:
		no(false, "the job is closed")
	case len(g.outbox) >= maxOutbox:
		no(true, "too many are on their way")
	default:
		a.Sig = p.cfg.Keys.Sign(tasks.AppendText(j.id, a.Seq, a.Sum(j.sumBefore(a.Seq))))
		g.outbox = append(g.outbox, a)
		g.hint(a.Seq, ev.Near)
		p.tellHome(j, Message{Append: &a})
		if mutant.On(mutant.LostAppend) {
			p.emit(Appended{ID: j.id, Seq: a.Seq})
		}
		if g.sent.Never() {
			g.sent = tasks.At(p.now)
		}
	}
}

// hint keeps what was said of the units of an append until they are put to work.
func (g *growth) hint(seq uint64, near []steal.Near) {
	if len(near) == 0 {
		return
	}
	if g.near == nil {
		g.near = map[uint64][]steal.Near{}
	}
	known := g.known()
	maps.DeleteFunc(g.near, func(old uint64, _ []steal.Near) bool { return old <= known }) // of appends that others led
	g.near[seq] = near
}

// nearOf is what was said of the units of an append, as they are numbered in the job.
func (g *growth) nearOf(seq uint64, units tasks.Range) (out []steal.Near) {
	for _, n := range g.near[seq] {
		moved := make([]tasks.Range, 0, len(n.Ranges))
		for _, r := range n.Ranges {
			moved = append(moved, tasks.R(r.First+units.First, r.Last+units.First))
		}
		n.Ranges = tasks.CoverOf(moved...)
		out = append(out, n)
	}
	delete(g.near, seq)
	return out
}

// NextAppend is the number of the next append of this peer's own to a job.
func (p *Peer) NextAppend(id tasks.JobID) uint64 {
	if j := p.job(id); j != nil {
		return j.growth.known() + uint64(len(j.growth.outbox)) + 1
	}
	return 1
}

// sumBefore is the sum over all appends before the one with number seq, which is known, in outbox, or the next.
func (j *jobState) sumBefore(seq uint64) (sum tasks.AppendSum) {
	g := &j.growth
	if n := g.known(); seq <= n {
		if seq > 1 {
			sum = g.sums[seq-2]
		}
		return sum
	}
	sum = g.sum()
	for i := range g.outbox {
		if g.outbox[i].Seq == seq {
			break
		}
		sum = g.outbox[i].Sum(sum)
	}
	return sum
}

// appendedAgain answers an append of the user whose number is taken: well if it is the same append, and is in the log.
func (p *Peer) appendedAgain(j *jobState, a *tasks.Append) {
	g, sum := &j.growth, a.Sum(j.sumBefore(a.Seq))
	at := int(a.Seq) - int(g.known()) - 1
	same := at >= 0 && g.outbox[at].Sum(j.sumBefore(a.Seq)) == sum || at < 0 && g.sums[a.Seq-1] == sum
	switch {
	case !same:
		p.emit(Appended{ID: j.id, Seq: a.Seq, Reason: "another append has its number"})
	case at < 0:
		p.emit(Appended{ID: j.id, Seq: a.Seq})
	}
}

// appendAgain sends again the appends that are not known to be in the log.
func (p *Peer) appendAgain(j *jobState) {
	g := &j.growth
	if len(g.outbox) == 0 || !g.sent.Past(sendAppends, p.now) {
		return
	}
	g.sent = tasks.At(p.now)
	for _, a := range g.outbox[:min(len(g.outbox), sendAtOnce)] {
		p.tellHome(j, Message{Append: &a})
	}
}

// appendHere takes an append at the home.
func (p *Peer) appendHere(from tasks.PeerID, j *jobState, a tasks.Append) {
	if from != j.desc.Submitter && !mutant.On(mutant.UnsignedAppend) {
		return
	}
	p.stepHome(j, ledger.Append{Append: a})
}

// notAppended takes the home's word that an append can never be in the log; nor can those that follow it.
func (p *Peer) notAppended(j *jobState, n NotAppended) {
	g := &j.growth
	at := slices.IndexFunc(g.outbox, func(a tasks.Append) bool { return a.Seq == n.Seq && bytes.Equal(a.Sig, n.Sig) })
	if at < 0 {
		return
	}
	for _, a := range g.outbox[at:] {
		delete(g.near, a.Seq)
		p.emit(Appended{ID: j.id, Seq: a.Seq, Reason: n.Reason})
	}
	g.outbox = g.outbox[:at]
}

// followRecord learns the appends in the record of this peer's copy of the ledger. If they are not those that are known
// here, from the word of a home, all that is here of the job's units is given up.
func (p *Peer) followRecord(j *jobState) {
	if j.desc == nil || !j.desc.Open {
		return
	}
	in := &j.copy.record.Growth
	if n := min(j.growth.known(), in.Count()); n > 0 {
		if sum, _ := in.Sum(n); sum != j.growth.sums[n-1] {
			p.regrow(j)
		}
	}
	if j.growth.known() < in.Count() {
		p.learn(j, in.Appends[j.growth.known():])
	}
}

// onGrow takes what the home tells of appends. It does so on a replica, too: its copy may be behind, or may have lost
// its seat.
func (p *Peer) onGrow(from tasks.PeerID, j *jobState, m *Grow) {
	if j.desc == nil || !j.desc.Open || j.shut || j.leads() {
		return
	}
	if m.Restart {
		p.regrow(j)
		return
	}
	g := &j.growth
	sum, news := g.sum(), []tasks.Append(nil)
	for _, a := range m.Appends {
		if a.Seq == g.known()+uint64(len(news))+1 {
			sum, news = a.Sum(sum), append(news, a)
		}
	}
	if len(news) == 0 {
		return
	}
	if last := news[len(news)-1]; !p.signedAppends(j.id, j.desc.Submitter)(&last, sum) {
		p.violated(from, j.id, FalseProof)
		return
	}
	if p.mayGrow(j, news) {
		p.learn(j, news)
	}
}

// learn has the job grow here by the appends that follow those that are known.
func (p *Peer) learn(j *jobState, news []tasks.Append) {
	g, first, files := &j.growth, j.want().Last, len(j.data().Files)
	for i := range news {
		a := &news[i]
		if j.data().Append(a.Files) != nil {
			return // no record admits such an append
		}
		g.sums = append(g.sums, a.Sum(g.sum()))
		g.closed = g.closed || a.Close
		n := weightOf(a.Files)
		g.weight, j.prep.weighed.bytes = g.weight+n, j.prep.weighed.bytes+n
	}
	p.emit(Grown{ID: j.id, Appends: news, Units: tasks.R(first, j.want().Last)})
	p.schedule(steal.Grow{Job: j.id, Want: j.want(), Open: !g.closed})
	j.reports.urgent = true
	p.grew(j, files)
	p.clearOutbox(j)
}

// clearOutbox takes the appends out of outbox that are known to be in the log, and tells their user. If the log has
// another append in the place of one of them, neither that one nor those after it can ever be in the log.
func (p *Peer) clearOutbox(j *jobState) {
	g := &j.growth
	for len(g.outbox) > 0 && g.outbox[0].Seq <= g.known() {
		a := g.outbox[0]
		if a.Sum(j.sumBefore(a.Seq)) != g.sums[a.Seq-1] {
			p.notAppended(j, NotAppended{Seq: a.Seq, Sig: a.Sig, Reason: "another append has its number"})
			return
		}
		g.outbox = g.outbox[1:]
		p.emit(Appended{ID: j.id, Seq: a.Seq})
	}
}

// dropOutbox gives up the appends that are not known to be in the log, and tells their user why. They were sent to a
// home, and so may be in the log, or come there.
func (p *Peer) dropOutbox(j *jobState, why string) {
	for _, a := range j.growth.outbox {
		p.emit(Appended{ID: j.id, Seq: a.Seq, Reason: why, Unsure: true})
	}
	j.growth.outbox, j.growth.near = nil, nil
}

// regrow gives up all that is here of an open job's units: its ledger was recovered from a copy that does not have all
// appends by which it has grown here, and others may come to have their numbers. The work begins anew from the
// description. Outputs that were made here are deleted, and the appended files give their room back, for a home may lie
// and have this happen again and again.
func (p *Peer) regrow(j *jobState) {
	p.schedule(steal.Close{Job: j.id})
	p.carryOutMerge(j.work.parts.Clear())
	j.prep.weighed.bytes -= j.growth.weight
	p.dropOutbox(j, "the job began anew from a ledger that lacks some of its appends")
	for id, g := range p.gens {
		if g.job == j {
			p.dropGen(id)
		}
	}
	j.growth, j.sight = growth{}, sight{}
	j.work = work{
		parts:   merge.NewLocal(j.id, p.self, j.home),
		stats:   j.work.stats,
		failSeq: j.work.failSeq,
		slots:   j.work.slots,
	}
	j.loaded, j.prep.failed, j.prep.tried = false, true, p.now
	p.emit(Regrown{ID: j.id})
}

// tellGrowth sends a node the appends that it does not know, as its report says, or has it begin anew if it knows
// others than this home.
func (p *Peer) tellGrowth(j *jobState, to tasks.PeerID, r *ledger.Report) {
	g := &j.copy.record.Growth
	if !j.desc.Open || to == p.self {
		return
	}
	switch sum, ok := g.Sum(r.Appends); {
	case !ok || r.Appends > 0 && !bytes.Equal(sum[:], r.Sum):
		p.sendAsHome(j, to, Message{Grow: &Grow{Restart: true}})
	case r.Appends < g.Count():
		p.sendGrowth(j, to, r.Appends)
	}
}

// sendGrowth sends a node that knows the first appends, has of them, as many of the next ones as a message holds.
func (p *Peer) sendGrowth(j *jobState, to tasks.PeerID, has uint64) {
	rest := j.copy.record.Growth.Appends[has:]
	n, weight := 0, 0
	for n < len(rest) {
		if weight += rest[n].Weight(); n > 0 && weight > maxGrow {
			break
		}
		n++
	}
	p.sendAsHome(j, to, Message{Grow: &Grow{Appends: slices.Clone(rest[:n])}})
}

// inputCost is how much longer a unit is taken to run where what it takes was not made: what that is, only the program
// knows. It is the time in which some MB go from one host to another.
const inputCost = 50 * time.Millisecond

// carryOutGrowth carries out what a led job's ledger wants of its growth.
func (p *Peer) carryOutGrowth(j *jobState, e ledger.Effect) {
	switch e := e.(type) {
	case ledger.Grown:
		if !e.Units.Empty() {
			p.schedule(steal.Work{Job: j.id, Ranges: tasks.CoverOf(e.Units), Near: j.growth.nearOf(e.Append.Seq, e.Units)})
		}
		j.reports.urgent = true
		for _, id := range e.Tell {
			p.sendAsHome(j, id, Message{Grow: &Grow{Appends: []tasks.Append{e.Append}}})
		}
	case ledger.ReadLinks:
		p.emit(ReadLinks{ID: j.id, Append: e.Append})
	case ledger.Ready:
		work := steal.Work{Job: j.id, Ranges: e.Ranges}
		for _, n := range e.Near {
			work.Near = append(work.Near, steal.Near{To: n.Node, Ranges: n.Units, Cost: inputCost})
		}
		p.schedule(work)
		j.reports.urgent = true
	case ledger.Appended:
		p.sendGrowth(j, j.desc.Submitter, e.Seq-1)
	case ledger.Refused:
		no := &NotAppended{Seq: e.Append.Seq, Sig: e.Append.Sig, Reason: e.Reason}
		p.sendAsHome(j, j.desc.Submitter, Message{NotAppended: no})
	}
}

func checkAppend(_ *Peer, j *jobState, from tasks.PeerID, m *Message) Wrong {
	switch {
	case m.Append.Check() != nil:
		return Malformed
	case j != nil && j.desc != nil && j.desc.Submitter != from && !mutant.On(mutant.UnsignedAppend):
		return NotItsOwn
	}
	return ""
}

func checkGrow(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	weight := 0
	for i := range m.Grow.Appends {
		a := &m.Grow.Appends[i]
		if weight += a.Weight(); a.Check() != nil || weight > maxGrow+tasks.MaxAppend {
			return Malformed
		}
	}
	return ""
}

func checkNotAppended(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	n := m.NotAppended
	if n.Seq == 0 || len(n.Sig) > tasks.MaxAppendSig || len(n.Reason) > maxReason {
		return Malformed
	}
	return ""
}

// maxReason bounds a text for the user in a message, in bytes.
const maxReason = 8 << 10

// GrowthView is how an open job has grown, as this peer's copy of its ledger says, or the ledger that it leads.
type GrowthView struct {
	Units     tasks.Range     // all units so far
	Appends   uint64          // how many appends the job has grown by
	Grown     []tasks.Append  // these appends, which must not be changed
	Open      bool            // whether it may grow further
	Committed tasks.Cover     // units
	Parts     []merge.Partial // the committed partials, in which the results of these units are
	Lost      []ledger.Lost   // units that are set aside
}

// Growth describes how a job has grown; ok is false where there is neither a copy of its ledger nor its lead.
func (p *Peer) Growth(id tasks.JobID) (v GrowthView, ok bool) {
	j := p.job(id)
	if j == nil || j.copy.log == nil && !j.leads() {
		return v, false
	}
	r := j.copy.record
	return GrowthView{
		Units:     r.Want,
		Appends:   r.Growth.Count(),
		Grown:     slices.Clip(r.Growth.Appends),
		Open:      r.Growth.Open && r.Stop == nil,
		Committed: r.Done.Cover(),
		Parts:     slices.Clone(r.Done.Parts()),
		Lost:      slices.Clone(r.Lost),
	}, true
}
