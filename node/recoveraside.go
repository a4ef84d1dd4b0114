package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A job can also be recovered from a copy of its ledger that was put aside, in the same way as from one that is in use
// (recover.go). The job may be going on meanwhile by the recovery for which the copy was put aside. That one is then
// given up, so the new recovery must be later than all that are known.

// asideOwner finds the submitter of a job by copies of its ledger that were put aside here.
func (d *Daemon) asideOwner(arg string) (*jobs.Job, tasks.PeerID, error) {
	prefix, _, _ := strings.Cut(arg, "\n")
	all := d.asides.List(prefix)
	if len(prefix) < 4 || len(all) == 0 {
		if _, owner, err := d.jobs.KnownOwner(prefix); err == nil {
			return nil, owner, nil
		}
		return nil, "", jobs.NoJob(prefix)
	}
	if slices.ContainsFunc(all, func(a store.Aside) bool { return a.Name != all[0].Name }) {
		return nil, "", ambiguous(prefix, 2)
	}
	return nil, all[0].Submitter, nil
}

// reportAside describes the copies of a job's ledger that were put aside here.
func (d *Daemon) reportAside(prefix string) (out []copyReport, err error) {
	if _, _, err := d.asideOwner(prefix); err != nil {
		return nil, err
	}
	for _, a := range d.asides.List(prefix) {
		from, err := restoreOf(a)
		if err != nil {
			d.log.Warn("could not read a copy of a ledger that was put aside", "job", api.Short(a.Name), "dir", a.Folder(),
				"reason", err)
			continue
		}
		r := copyReport{
			Name:      a.Name,
			ID:        a.ID,
			Submitter: from.Job.Submitter,
			Units:     from.Job.Want.Len(),
			Aside:     &a.Link,
			Written:   a.At,
			on:        d.net.ID(),
		}
		d.loop.Ask(func(p *engine.Peer) { r.Copy, err = p.AsideCopy(from) })
		if err != nil {
			d.log.Warn("could not read a copy of a ledger that was put aside", "job", api.Short(a.Name), "dir", a.Folder(),
				"reason", err)
			continue
		}
		r.Parts = len(r.Copy.Parts)
		for _, p := range r.Copy.Parts {
			if a.Lacks(p) {
				r.Lacking++
			}
		}
		r.Copy.Parts, r.Copy.Result = nil, nil
		out = append(out, r)
	}
	return out, nil
}

// maxAsides bounds the copies of one job's ledger that one member may report. Honest members keep fewer.
const maxAsides = 2 * (store.FirstAsides + 1)

// asidesOf asks all members that are up for copies of a job's ledger that they have put aside.
func (d *Daemon) asidesOf(ctx context.Context, name string) (out []copyReport, err error) {
	peers := d.cluster.Up()
	answers, errs := make([][]copyReport, len(peers)+1), make([]error, len(peers))
	var g errgroup.Group
	g.SetLimit(16)
	for i, id := range peers {
		g.Go(func() error {
			b, err := d.cluster.Ask(ctx, id, "superseded", name)
			if err == nil {
				answers[i], _ = wire.ReadJSONList[copyReport](b, maxAsides, members.MostValues)
			}
			errs[i] = err
			for k := range answers[i] {
				answers[i][k].on = id
			}
			return nil
		})
	}
	answers[len(peers)], _ = d.reportAside(name)
	_ = g.Wait()
	for _, r := range slices.Concat(answers...) {
		switch {
		case r.Aside == nil || r.Aside.RecoveryConf() != nil || !r.ID.Valid():
		case d.cluster.May(d.net.ID(), r.Submitter, members.ForRule):
			out = append(out, r)
		default:
			err = d.cluster.Refusal(r.Name, r.Submitter, members.ForRule)
		}
	}
	for _, e := range errs {
		if e != nil && strings.Contains(e.Error(), "only its submitter") {
			err = &api.Error{Status: http.StatusForbidden, Message: e.Error()}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, err
}

// maxLater bounds the number of recoveries of a job that is believed on the word of members. A new recovery must have a
// higher number than all before it, so a false report of the highest possible number must not be believed.
const maxLater = 64

// laterTerms are the terms of the recoveries for which copies were put aside, as far as they are believed.
func laterTerms(copies []copyReport) (terms []uint64) {
	for _, c := range copies {
		if t := c.Aside.Conf.Term; quorum.Recoveries(t) <= maxLater {
			terms = append(terms, t)
		}
	}
	return terms
}

// planSuperseded finds out which copies of a job's ledger were put aside, and plans a recovery from one of them.
func (d *Daemon) planSuperseded(ctx context.Context, name, from string) (p recoveryPlan, err error) {
	copies, err := d.asidesOf(ctx, name)
	if err != nil {
		return p, err
	}
	if len(copies) == 0 {
		return p, &api.Error{
			Status:  http.StatusNotFound,
			Message: fmt.Sprintf("no member that can be reached has put a copy of the ledger of a job %q aside", name),
			Hint: "they are kept for " + d.cfg.KeepFor.String() +
				" on nodes that gave their copies up for a recovery; start dtpnode up there",
		}
	}
	if copies, err = d.ofOneJob(name, copies); err != nil {
		return p, err
	}
	s := surveyed(d.checkerOf(copies[0].ID, copies[0].Submitter), copies, func(copyReport, string) {})
	names := d.cluster.Names()
	called := func(id tasks.PeerID) string { return cmp.Or(names[id].Name, d.cluster.NameOf(id), id) }
	if err := s.choose(from, called); err != nil {
		return p, err
	}
	if !s.copies[0].proven && !s.chosen {
		return p, &api.Error{
			Status: http.StatusConflict,
			Message: fmt.Sprintf("could not recover job %s: of the members that have put a copy of its ledger aside none "+
				"proves that it was one of those that keep it: %s",
				name, strings.Join(d.cluster.Called(tellers(s.copies)), ", ")),
			Hint: "dtpnode recover JOB --superseded --from MEMBER believes one of them",
		}
	}
	n := s.copies[0]
	p.newest, p.id, p.terms = n, n.ID, append(s.terms(), laterTerms(s.copies)...)
	if now, err := d.copiesOf(ctx, n.Name); err == nil { // as the job goes on now
		today := surveyed(d.checkerOf(n.ID, n.Submitter), now, func(copyReport, string) {})
		p.terms = append(p.terms, today.terms()...)
	}
	p.Recovery = api.Recovery{
		ID:         n.Name,
		Units:      n.Units,
		Committed:  n.Copy.Committed,
		Open:       n.Copy.Open,
		Recovered:  true,
		Superseded: true,
		Lost:       []api.LostCopy{},
	}
	for _, c := range s.copies {
		p.Copies = append(p.Copies, api.LedgerCopy{Node: c.on, Name: called(c.on), Index: c.Copy.Index, Term: c.Copy.Term,
			Committed: c.Copy.Committed, Parts: c.Parts, Lacking: c.Lacking, Written: c.Written, Unproven: !c.proven,
			SupersededBy: called(c.Aside.Sigs[0].By), SupersededFor: called(c.Aside.Conf.Voters[0].Peer)})
	}
	return p, nil
}

// asideOrder is the order to a member to recover a job from a copy that it has put aside.
type asideOrder struct {
	Link  quorum.Link `json:"link"`
	Index uint64      `json:"index"` // of the copy's last entry,
	Term  uint64      `json:"term"`  // and that one's
}

// supersededOrdered carries out a recovery for another member. The argument is the job's name and, on a line of its
// own, an asideOrder as JSON.
func (d *Daemon) supersededOrdered(arg string) error {
	name, text, _ := strings.Cut(arg, "\n")
	var o asideOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("could not read from which copy to go on: %w", err)
	}
	return d.goOnFromAside(d.ctx, name, o)
}

// goOnFromAside carries out a recovery from a copy of a job's ledger that this node has put aside.
func (d *Daemon) goOnFromAside(ctx context.Context, name string, o asideOrder) error {
	if err := o.Link.RecoveryConf(); err != nil {
		return fmt.Errorf("could not recover: %w", err)
	}
	for _, a := range d.asides.List(name) {
		from, err := restoreOf(a)
		if err != nil {
			continue
		}
		var v engine.CopyView
		d.loop.Ask(func(p *engine.Peer) { v, err = p.AsideCopy(from) })
		if err == nil && v.Index == o.Index && v.Term == o.Term {
			return d.recoverAs(ctx, &recovering{id: a.ID, name: a.Name, aside: &a}, engine.Recover{
				ID:    a.ID,
				Link:  o.Link,
				Aside: &from,
			})
		}
	}
	return &api.Error{
		Status:  http.StatusNotFound,
		Message: fmt.Sprintf("the copy of the ledger of job %s is here no more that was put aside", name),
		Hint:    "ask again: dtpnode recover JOB --superseded",
	}
}

// restoreOf is what the engine needs of a copy that was put aside.
func restoreOf(a store.Aside) (engine.Restore, error) {
	_, desc, log, err := a.Read()
	return engine.Restore{ID: a.ID, Job: desc, Log: log}, err
}

// recoverAside makes a new copy of a ledger from one that was put aside, with the log of the recovery that this node is
// carrying out.
func (d *Daemon) recoverAside(e engine.FoundLedger) (*store.Copy, error) {
	r := d.recoveries.under(e.ID)
	if r == nil || r.aside == nil {
		return nil, errors.New("nobody waits for this recovery any more")
	}
	return d.ledgers.RecoverAside(*r.aside, e.Log)
}
