package ledger

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// An open job grows by appends of its submitter until it is closed. Each append is an entry of the log, and the record
// admits only the one with the next number. One that comes again, since its submitter did not hear that it is in the
// log, changes nothing, and a different one with the same number is refused. So each append counts once, whoever leads
// the job and however often it is sent, and a home that takes over finds all of them in the record.

// Growth is what an open job has grown by, in its record. Its zero value is that of a job that is not open.
//
// sums, weight and items follow from Appends: sums has one for each, the weight of all is no more than
// tasks.MaxAppended, and their blobs of items have no more than tasks.MaxAllItems bytes.
type Growth struct {
	Open    bool           // more may be appended
	Appends []tasks.Append // in the order of their numbers, from 1

	sums   []tasks.AppendSum
	weight int
	items  int64
	signed Signed // checks an append; nil to take each as it is
}

// Signed reports whether a job's submitter has signed an append. sum is the sum over it and all appends before it.
type Signed func(a *tasks.Append, sum tasks.AppendSum) bool

// NewRecord is the record of a job that begins. signed is nil if no signature has to be checked: because the job is not
// open, or because its appends were checked before.
func NewRecord(job *tasks.Job, signed Signed) *Record {
	return &Record{Want: job.Want, Growth: Growth{Open: job.Open, signed: signed}}
}

// grown reports whether the job is or was open.
func (g *Growth) grown() bool { return g.Open || len(g.Appends) > 0 }

// Count is how many appends there are.
func (g *Growth) Count() uint64 { return uint64(len(g.Appends)) }

// Sum is the sum over the first seq appends; ok is false if there are fewer.
func (g *Growth) Sum(seq uint64) (sum tasks.AppendSum, ok bool) {
	switch {
	case seq == 0:
		return sum, true
	case seq > uint64(len(g.sums)):
		return sum, false
	}
	return g.sums[seq-1], true
}

// Has reports whether there is an append with a's number, and whether it is the same one.
func (g *Growth) Has(a *tasks.Append) (there, same bool) {
	if a.Seq == 0 || a.Seq > g.Count() {
		return false, false
	}
	before, _ := g.Sum(a.Seq - 1)
	return true, a.Sum(before) == g.sums[a.Seq-1]
}

// itemsAfter is what an append adds to the bytes of all blobs of items: nothing if they are those of the one before,
// for a blob is on disk once however often it is appended.
func (g *Growth) itemsAfter(a *tasks.Append) (bytes int64) {
	if n := len(g.Appends); n > 0 && a.SameFiles(&g.Appends[n-1]) {
		return 0
	}
	for _, f := range a.Files {
		if f.Items != "" {
			bytes += f.Bytes
		}
	}
	return bytes
}

// refuses says why an append cannot be the next one, empty if it can.
func (r *Record) refuses(a *tasks.Append) string {
	g := &r.Growth
	switch {
	case r.Stop != nil:
		return "the job was stopped"
	case !g.Open:
		return "the job is closed"
	case g.Count() >= tasks.MaxAppends:
		return fmt.Sprintf("the job has %d appends, and may have no more", g.Count())
	case g.weight+a.Weight() > tasks.MaxAppended:
		return fmt.Sprintf(
			"what was appended to the job has %d bytes, and no more than %d may be",
			g.weight,
			tasks.MaxAppended,
		)
	case g.items+g.itemsAfter(a) > tasks.MaxAllItems:
		return fmt.Sprintf("the items that were appended to the job have %d bytes, and no more than %d may be", g.items,
			int64(tasks.MaxAllItems))
	case r.Want.Last > tasks.MaxUnits-a.Units():
		return fmt.Sprintf("the job would have more than %d units", int64(tasks.MaxUnits))
	}
	if err := a.Check(); err != nil {
		return err.Error()
	}
	return ""
}

// grow applies the next append, and reports whether the record admits it.
func (r *Record) grow(a tasks.Append) bool {
	g := &r.Growth
	again := mutant.On(mutant.DoubleAppend) && a.Seq <= g.Count()
	if a.Seq != g.Count()+1 && !again || r.refuses(&a) != "" {
		return false
	}
	before, _ := g.Sum(g.Count())
	sum := a.Sum(before)
	if g.signed != nil && !again && !g.signed(&a, sum) {
		return false
	}
	g.add(a, sum)
	r.Want.Last += a.Units()
	return true
}

// add puts an append that is admitted behind the others. Equal files are in the record's memory once. They weigh as
// much as others all the same, since whoever works for the job has all of its files, one after the other
// (tasks.Dataset).
func (g *Growth) add(a tasks.Append, sum tasks.AppendSum) {
	g.weight += a.Weight()
	g.items += g.itemsAfter(&a)
	if n := len(g.Appends); n > 0 && a.SameFiles(&g.Appends[n-1]) {
		a.Files = g.Appends[n-1].Files
	}
	g.Appends, g.sums = append(g.Appends, a), append(g.sums, sum)
	g.Open = g.Open && !a.Close
}

// growing is the appends of an open job that are on their way to the record. The numbers of the proposed ones follow
// the last append of the record without a gap.
type growing struct {
	proposed []tasks.Append
	at       tasks.Moment            // when they were last proposed
	early    map[uint64]tasks.Append // appends, by number, that came before an append which precedes them
}

// MaxGrowing is how many appends may be on their way to the log at once. A submitter sends no more before it hears that
// the first of them is in the log.
const MaxGrowing = 256

// Append is an append that the job's submitter wants in the log, with its signature. Appended answers it if it is in
// the log already, and Refused if it can never be. Otherwise Grown follows when it is.
type Append struct{ tasks.Append }

// Effects of appends.
type (
	// Grown tells that an append is in the record. Its units are put to work on this node, from where others steal them,
	// but for those that depend on others: there are none in Units then.
	Grown struct {
		Append tasks.Append
		Units  tasks.Range
		Tell   []tasks.PeerID // nodes that know all appends before it, and are to be told of it at once
	}
	// Appended tells the submitter that an append which it has repeated is in the log.
	Appended struct{ Seq uint64 }
	// Refused tells that an append can never be in the log.
	Refused struct {
		Append tasks.Append
		Reason string
	}
)

func (Append) isLedgerEvent()    {}
func (Grown) isLedgerEffect()    {}
func (Appended) isLedgerEffect() {}
func (Refused) isLedgerEffect()  {}

// appendNext takes an append. The caller has made sure that it comes from the job's submitter.
func (h *Home) appendNext(a tasks.Append) {
	g := &h.record.Growth
	if there, same := g.Has(&a); there {
		switch {
		case mutant.On(mutant.DoubleAppend):
			h.emit(Propose{Entry{Append: &a}})
		case same:
			h.emit(Appended{Seq: a.Seq})
		default:
			h.emit(Refused{Append: a, Reason: "another append has its number"})
		}
		return
	}
	if why := h.record.refuses(&a); why != "" {
		h.emit(Refused{Append: a, Reason: why})
		return
	}
	gr := &h.growing
	switch next := g.Count() + uint64(len(gr.proposed)) + 1; {
	case a.Seq < next, a.Seq > g.Count()+MaxGrowing: // it is on its way already, or comes far too early
	case a.Seq > next:
		if gr.early == nil {
			gr.early = map[uint64]tasks.Append{}
		}
		gr.early[a.Seq] = a
	default:
		h.proposeAppend(a)
	}
}

// proposeAppend proposes the next append, and those that follow it and have come early.
func (h *Home) proposeAppend(a tasks.Append) {
	gr := &h.growing
	for ok := true; ok; a, ok = gr.early[a.Seq+1] {
		next := a
		delete(gr.early, next.Seq)
		gr.proposed, gr.at = append(gr.proposed, next), tasks.At(h.now)
		h.emit(Propose{Entry{Append: &next}})
	}
}

// growSteps proposes appends again that the log may have lost.
func (h *Home) growSteps() {
	gr := &h.growing
	if len(gr.proposed) == 0 || !gr.at.Past(h.cfg.Propose, h.now) {
		return
	}
	gr.at = tasks.At(h.now)
	for _, a := range gr.proposed {
		h.emit(Propose{Entry{Append: &a}})
	}
}

// grown follows the log: the job has grown by an append, or the record did not admit it. An append that came too early,
// because the log has lost one before it, is not refused: the record may admit it when both are proposed again, and
// whoever was told that it never will might have its files counted twice.
func (h *Home) grown(a tasks.Append, changed bool) {
	gr, count := &h.growing, h.record.Growth.Count()
	own := slices.ContainsFunc(gr.proposed, func(o tasks.Append) bool {
		return o.Seq == a.Seq && bytes.Equal(o.Sig, a.Sig)
	})
	gr.proposed = slices.DeleteFunc(gr.proposed, func(o tasks.Append) bool { return o.Seq <= count })
	if !changed {
		if own && a.Seq == count+1 { // those after it cannot be admitted either; one beyond it is proposed again
			gr.proposed, gr.early = nil, nil
			why := cmp.Or(h.record.refuses(&a), "it is not what the job's submitter has signed")
			h.emit(Refused{Append: a, Reason: why})
		}
		return
	}
	units := tasks.R(h.record.Want.Last-a.Units(), h.record.Want.Last)
	h.rest.stale = true
	var tell []tasks.PeerID
	for _, id := range h.nodes.order {
		if n := h.nodes.byID[id]; len(h.nodes.order) <= fewNodes && n.heard && n.knows == count-1 && id != h.cfg.Self {
			n.knows = count
			tell = append(tell, id)
		}
	}
	if a.Depends() {
		h.dependent.follow(&a, units, nil)
		h.emit(ReadLinks{a})
		units.Last = units.First
	}
	h.emit(Grown{Append: a, Units: units, Tell: tell})
}

// unknown are the units that a node with so many appends cannot run yet, for it has yet to hear of theirs.
func (r *Record) unknown(appends uint64) tasks.Cover {
	if appends >= r.Growth.Count() {
		return nil
	}
	last := r.Want.Last
	for _, a := range r.Growth.Appends[appends:] {
		last -= a.Units()
	}
	return tasks.CoverOf(tasks.R(last, r.Want.Last))
}
