package liar

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// blame reports failures of all units, or of some.
func blame(l *Liar) (engine.Message, bool) {
	r := &ledger.Report{Ready: true}
	for range 1 + l.rng.IntN(20) {
		f := ledger.Failure{Seq: l.Next(), Kind: "signal", Reason: "slander", Fatal: l.one(8), Here: l.one(2), Data: l.one(2)}
		if !l.one(5) {
			f.Blame = l.Units()[0]
		}
		r.Failures = append(r.Failures, f)
	}
	r.Seq = l.Next()
	return engine.Message{Report: r}, true
}

// offer offers a partial whose blob is not there, or is one of its own that holds other units.
func offer(l *Liar) (engine.Message, bool) {
	c := l.Units()
	p := merge.Partial{
		ID:     merge.ID{Node: l.self, Seq: l.Next()},
		Job:    l.at.Job,
		Cover:  c,
		Units:  c.Len(),
		Canary: l.rng.Uint64(),
		SHA256: "none",
		Holder: l.self,
	}
	if l.one(2) {
		for _, h := range l.heard {
			if h.Offer != nil && h.Offer.Holder == l.self && (p.SHA256 == "none" || l.one(3)) {
				p.SHA256, p.Size, p.Canary = h.Offer.SHA256, h.Offer.Size, h.Offer.Canary
			}
		}
	}
	m := engine.Message{Offer: &p}
	if l.one(3) {
		m.Offer, m.Gather = nil, &p
	}
	return m, true
}

// steals sends what schedulers send each other.
func steals(l *Liar) (engine.Message, bool) {
	id := l.Next()
	s := &steal.Message{}
	switch l.rng.IntN(5) {
	case 0, 1:
		s.Request = &steal.Request{
			ID:    id,
			Slots: 1 << 10,
			Jobs:  []tasks.JobID{l.at.Job},
			Rates: []float64{1e11},
			Wait:  l.one(2),
		}
	case 2:
		s.Grant = &steal.Grant{ID: id, Job: l.at.Job, Ranges: l.Units(), Left: time.Hour, Dealt: l.one(2), Above: l.anybody()}
		for range l.rng.IntN(20) {
			s.Grant.Others = append(s.Grant.Others, steal.Share{ID: l.anybody(), Slots: int(l.number())})
		}
	case 3:
		s.Ack = &steal.Ack{ID: uint64(l.number()), Job: l.at.Job, OK: true}
	default:
		s.Refuse = &steal.Refuse{Request: uint64(l.number())}
	}
	return engine.Message{Steal: s}, true
}

// answers gives answers that nobody waits for, about partials that others have named.
func answers(l *Liar) (engine.Message, bool) {
	id, sha := merge.ID{Node: l.anybody(), Seq: uint64(l.rng.IntN(100))}, ""
	for _, h := range l.heard {
		if h.Offer != nil && l.one(3) {
			id, sha = h.Offer.ID, h.Offer.SHA256
		}
		if h.Keep != nil && h.Keep.Partial != nil && l.one(3) {
			id, sha = h.Keep.Partial.ID, h.Keep.Partial.SHA256
		}
	}
	m := engine.Message{}
	kinds := 4
	if l.usurps {
		kinds, m.Term = 5, l.term()
	}
	switch l.rng.IntN(kinds) {
	case 0:
		m.Kept = &engine.Kept{ID: id, SHA256: sha, OK: l.one(2), Full: l.one(2)}
	case 1:
		m.Gathered = &engine.Gathered{ID: id, Word: merge.Accepted}
	case 2:
		m.Refuse = []merge.ID{id}
	case 4:
		m.Answer = &engine.Answer{ID: id, Accept: l.one(2)}
	default:
		m.Gathered = &engine.Gathered{ID: id, Word: merge.Word(l.rng.IntN(3))}
	}
	return m, true
}
