package engine

import (
	"reflect"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestEachFieldHasARule sees to it that no field of a message goes unchecked.
func TestEachFieldHasARule(t *testing.T) {
	typ := reflect.TypeFor[Message]()
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		if name == "Job" || name == "Term" {
			continue
		}
		if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Field == name && r.Sender != "" && r.Checks != "" }) {
			t.Errorf("no rule says who may send %s", name)
		}
	}
}

// TestWrongMessagesAreTold sends a member and a home what no honest node sends: each is told as a violation of its
// sender, and changes nothing.
func TestWrongMessagesAreTold(t *testing.T) {
	out := tasks.R(units, units+5)
	part := func(change func(*merge.Partial)) *merge.Partial {
		p := merge.Partial{
			ID:     merge.ID{Node: "x", Seq: 1},
			Job:    jobID,
			Cover:  tasks.CoverOf(tasks.R(10, 20)),
			Units:  10,
			Holder: "x",
		}
		change(&p)
		return &p
	}
	for name, m := range map[string]Message{
		"nothing":             {},
		"two things":          {Order: OrderStop, Moved: &Moved{}},
		"a term beyond any":   {Term: 1 << 63, Order: OrderStop},
		"another's home":      {Open: &Open{Home: "h"}},
		"another's partial":   {Offer: part(func(p *merge.Partial) { p.ID.Node = "m" })},
		"a false holder":      {Gather: part(func(p *merge.Partial) { p.Holder = "m" })},
		"a partial elsewhere": {Offer: part(func(p *merge.Partial) { p.Cover, p.Units = tasks.Cover{out}, 5 })},
		"a false count":       {Offer: part(func(p *merge.Partial) { p.Units = 3 })},
		"a negative size":     {Gather: part(func(p *merge.Partial) { p.Size = -1 << 62 })},
		"held elsewhere":      {Report: &ledger.Report{Seq: 1, Held: tasks.Cover{out}}},
		"given elsewhere":     {Report: &ledger.Report{Seq: 1, Gave: []ledger.Gift{{To: "m", Ranges: tasks.Cover{out}}}}},
		"blamed elsewhere":    {Report: &ledger.Report{Seq: 1, Failures: []ledger.Failure{{Blame: out}}}},
		"dropped elsewhere":   {Drop: tasks.Cover{out}},
		"tried elsewhere":     {Try: &out},
		"an unknown order":    {Order: 99},
		"an unknown word":     {Gathered: &Gathered{Word: 9}},
		"no founders":         {Enlist: &Enlist{Nonce: 1}},
		"another's seat":      {Enlisted: &Enlisted{Voter: quorum.Voter{ID: 1, Peer: "m"}}},
		"granted elsewhere":   {Steal: &steal.Message{Grant: &steal.Grant{ID: 1, Job: jobID, Ranges: tasks.Cover{out}}}},
		"half a steal":        {Steal: &steal.Message{}},
		"nothing to keep":     {Keep: &Keep{}},
	} {
		if m.Steal == nil {
			m.Job = jobID
		}
		r := member(t)
		r.step(Tick{}) // what is due without it
		before, held := r.state(), r.peer.held(r.peer.jobs[0])
		var told []Wrong
		for _, e := range r.step(Recv{From: "x", Msg: m}) {
			if v, ok := e.(Violation); ok && v.From == "x" {
				told = append(told, v.What)
			}
		}
		if len(told) != 1 {
			t.Errorf("%s is told as %q", name, told)
		}
		if r.state() != before || !r.peer.held(r.peer.jobs[0]).Equal(held) {
			t.Errorf("%s has changed something", name)
		}
	}
}
