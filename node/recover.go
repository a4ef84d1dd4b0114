package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A job whose ledger has lost most of its copies for good is recovered in two steps. First the node that is asked finds
// out which copies the members have, refuses if these are enough for the job to go on by itself, and says what would be
// lost (planRecovery). If its user agrees it signs a recovery from the newest copy, and the node with that copy carries
// it out (recoverHere). Whether the user may recover the job is checked here; whether others believe the signature is
// decided in package engine.

// copyReport is a node's description of its copy of a job's ledger, which answers the request "copy".
type copyReport struct {
	Name      string          `json:"name"` // the job's
	ID        tasks.JobID     `json:"id"`
	Submitter tasks.PeerID    `json:"submitter"`
	Units     int64           `json:"units"` // wanted
	Leads     bool            `json:"leads"` // this node leads the job
	Copy      engine.CopyView `json:"copy"`
	Parts     int             `json:"parts"`   // partial results that it names
	Lacking   int             `json:"lacking"` // of these, whose blobs are not here
	Written   time.Time       `json:"written"` // when the log was last written
	// the recovery for which the copy was put aside; nil for one that counts
	Aside  *quorum.Link `json:"aside,omitempty"`
	on     tasks.PeerID // who told it
	proven bool         // that it is one of those that keep the ledger
}

// copyOwner finds the submitter of a job by a unique beginning of its name, which is the first line of arg. It looks
// among the jobs of whose ledgers this node has copies, and then among all jobs that it knows.
func (d *Daemon) copyOwner(arg string) (*jobs.Job, tasks.PeerID, error) {
	prefix, _, _ := strings.Cut(arg, "\n")
	c, err := d.copyBy(prefix)
	if err == nil {
		return nil, c.Job.Submitter, nil
	}
	if _, owner, unknown := d.jobs.KnownOwner(prefix); unknown == nil {
		return nil, owner, nil
	}
	return nil, "", err
}

func (d *Daemon) copyBy(prefix string) (*store.Copy, error) {
	var found []*store.Copy
	if len(prefix) >= 4 {
		found = d.ledgers.Named(prefix)
	}
	switch len(found) {
	case 0:
		return nil, jobs.NoJob(prefix)
	case 1:
		return found[0], nil
	}
	return nil, ambiguous(prefix, len(found))
}

func ambiguous(prefix string, n int) *api.Error {
	return &api.Error{
		Status:  http.StatusConflict,
		Message: fmt.Sprintf("%d jobs begin with %q", n, prefix),
		Hint:    "give more of the name",
	}
}

// reportCopy describes this node's copy of a job's ledger.
func (d *Daemon) reportCopy(prefix string) (r copyReport, err error) {
	c, err := d.copyBy(prefix)
	if err != nil {
		return r, err
	}
	ok := false
	d.loop.Ask(func(p *engine.Peer) {
		r.Copy, ok = p.Copy(c.ID)
		_, r.Leads = p.Leads(c.ID)
	})
	if !ok {
		return r, jobs.NoJob(prefix)
	}
	r.Name, r.ID, r.Submitter, r.on = c.Name(), c.ID, c.Job.Submitter, d.net.ID()
	r.Units = d.jobs.Book().Whole(c.ID, c.Job).Want.Len()
	for _, p := range r.Copy.Parts {
		if store.SizeOf(d.ledgers.KeptPath(c.ID, p)) != p.Size {
			r.Lacking++
		}
	}
	r.Written = c.LastWrite()
	r.Parts, r.Copy.Parts, r.Copy.Result = len(r.Copy.Parts), nil, nil // they may be long, and are of no use to who asks
	return r, nil
}

// copiesOf asks all members that are up for their copies of a job's ledger.
func (d *Daemon) copiesOf(ctx context.Context, name string) (out []copyReport, err error) {
	peers := d.cluster.Up()
	answers, errs := make([]copyReport, len(peers)+1), make([]error, len(peers)+1)
	var g errgroup.Group
	g.SetLimit(16)
	for i, id := range peers {
		g.Go(func() error {
			b, err := d.cluster.Ask(ctx, id, "copy", name)
			if err == nil {
				err = wire.ReadJSON(b, members.MostValues, &answers[i])
			}
			answers[i].on, errs[i] = id, err
			return nil
		})
	}
	last := len(peers)
	if answers[last], errs[last] = d.reportCopy(name); errs[last] == nil &&
		!d.cluster.May(d.net.ID(), answers[last].Submitter, members.ForRule) {
		errs[last] = d.cluster.Refusal(answers[last].Name, answers[last].Submitter, members.ForRule)
	}
	_ = g.Wait()
	var refused error
	for i, err := range errs {
		switch {
		case err == nil && d.cluster.May(d.net.ID(), answers[i].Submitter, members.ForRule) && answers[i].ID.Valid():
			out = append(out, answers[i])
		case err != nil && strings.Contains(err.Error(), "only its submitter"):
			refused = err
		}
	}
	if len(out) == 0 && refused != nil {
		return nil, &api.Error{Status: http.StatusForbidden, Message: refused.Error()}
	}
	return out, nil
}

// recoveryPlan is what would be done to recover a job.
type recoveryPlan struct {
	api.Recovery
	id     tasks.JobID
	newest copyReport
	terms  []uint64 // of all copies
}

// planRecovery finds out which copies of a job's ledger are left, and returns an error if no recovery is needed. from
// is the name of the member from whose copy to go on, or empty for the newest copy that is proven.
func (d *Daemon) planRecovery(ctx context.Context, name, from string) (p recoveryPlan, err error) {
	copies, err := d.copiesOf(ctx, name)
	if err != nil {
		return p, err
	}
	if len(copies) == 0 {
		if _, _, st, err := d.jobs.Lookup(ctx, name); err == nil && st.State.Final() {
			return p, jobs.EndedAlready(st)
		}
		return p, &api.Error{
			Status:  http.StatusNotFound,
			Message: fmt.Sprintf("no member that can be reached has a copy of the ledger of a job %q", name),
			Hint:    "start dtpnode up on the nodes that kept it",
		}
	}
	if copies, err = d.ofOneJob(name, copies); err != nil {
		return p, err
	}
	s := surveyed(d.checkerOf(copies[0].ID, copies[0].Submitter), copies, func(c copyReport, why string) {
		if c.on != d.net.ID() {
			d.cluster.Violated(c.on, c.ID, engine.Unproven, why)
		}
	})
	if err := s.choose(from, func(id tasks.PeerID) string {
		return cmp.Or(d.cluster.Names()[id].Name, d.cluster.NameOf(id))
	}); err != nil {
		return p, err
	}
	if !s.copies[0].proven && !s.chosen {
		return p, &api.Error{
			Status: http.StatusConflict,
			Message: fmt.Sprintf("could not recover job %s: of the members that say that they have a copy of its ledger none "+
				"proves that it is one of those that keep it: %s",
				name, strings.Join(d.cluster.Called(tellers(s.copies)), ", ")),
			Hint: "dtpnode recover JOB --from MEMBER believes one of them",
		}
	}
	copies = s.copies
	p.newest, p.id, p.terms = copies[0], copies[0].ID, s.terms()
	if err := d.needless(s); err != nil {
		return p, err
	}
	d.tellRecovery(&p, copies)
	return p, nil
}

// tellRecovery describes a planned recovery to the user: which copies there are, first the one to go on from, and which
// are lost.
func (d *Daemon) tellRecovery(p *recoveryPlan, copies []copyReport) {
	names := d.cluster.Names()
	called := func(id tasks.PeerID) string { return cmp.Or(names[id].Name, d.cluster.NameOf(id), id) }
	n := p.newest
	p.Recovery = api.Recovery{
		ID:        n.Name,
		Units:     n.Units,
		Committed: n.Copy.Committed,
		Open:      n.Copy.Open,
		Recovered: n.Copy.Recovery != nil,
	}
	for _, c := range copies {
		p.Copies = append(p.Copies, api.LedgerCopy{Node: c.on, Name: called(c.on), Index: c.Copy.Index, Term: c.Copy.Term,
			Committed: c.Copy.Committed, Parts: c.Parts, Lacking: c.Lacking, Written: c.Written, Unproven: !c.proven})
	}
	for _, m := range slices.Concat(n.Copy.Seats...) {
		has := slices.ContainsFunc(copies, func(c copyReport) bool { return c.Copy.Voter == m })
		if !has && !slices.ContainsFunc(p.Lost, func(l api.LostCopy) bool { return l.Node == m.Peer }) {
			p.Lost = append(p.Lost, api.LostCopy{Node: m.Peer, Name: called(m.Peer), Up: names[m.Peer].Up})
		}
	}
}

func tellers(copies []copyReport) (ids []tasks.PeerID) {
	for _, c := range copies {
		ids = append(ids, c.on)
	}
	return ids
}

// needless says why a job needs no recovery, and is empty if it needs one. One member's word that it leads the job, or
// has just heard a majority, counts against a recovery. If the user has chosen a copy that word does not count, and
// only what the others answer themselves does.
func (d *Daemon) needless(s survey) error {
	short := api.Short(s.copies[0].Name)
	for _, c := range s.copies {
		if c.Leads && !s.chosen {
			return &api.Error{
				Status: http.StatusConflict,
				Message: fmt.Sprintf("could not recover job %s: %s leads it, so it goes on by itself", short,
					d.cluster.NameOf(c.on)),
				Hint: "dtpnode status " + short,
			}
		}
	}
	alive, majority := s.alive()
	for _, c := range s.copies { // replicas that were heard a moment ago may be back at once
		if c.Copy.Majority && !majority && !s.chosen {
			majority, alive = true, c.Copy.Alive
		}
	}
	if !majority {
		return nil
	}
	slices.Sort(alive)
	return &api.Error{Status: http.StatusConflict,
		Message: fmt.Sprintf("could not recover job %s: most of the nodes that keep its ledger are alive, or were seconds "+
			"ago: %s", short, strings.Join(d.cluster.Called(slices.Compact(alive)), ", ")),
		Hint: "it goes on by itself within seconds, or try again then"}
}

// recoverJob signs and carries out the recovery of a job from the copy that the user has agreed to.
func (d *Daemon) recoverJob(ctx context.Context, name string, agreed api.RecoverRequest) (api.Recovery, error) {
	from, plan := "", d.planRecovery
	if agreed.Chosen {
		from = agreed.Node
	}
	if agreed.Superseded {
		plan = d.planSuperseded
	}
	p, err := plan(ctx, name, from)
	if err != nil {
		return p.Recovery, err
	}
	n := p.newest
	if best := p.Copies[0]; best.Node != agreed.Node || best.Index != agreed.Index || best.Term != agreed.Term {
		return p.Recovery, &api.Error{
			Status:  http.StatusConflict,
			Message: "could not recover the job: another copy than before is the newest now, that of " + best.Name,
			Hint:    "ask again",
		}
	}
	conf, err := quorum.NextRecovery(quorum.NewVoter(n.on, uint64(time.Now().UnixNano())), p.terms...)
	if err != nil {
		return p.Recovery, err
	}
	link := quorum.Link{
		Conf: conf,
		Sigs: []quorum.Signature{{By: d.net.ID(), Sig: d.net.Sign(engine.RecoveryText(p.id, conf))}},
	}
	return p.Recovery, d.haveRecovered(ctx, n, link)
}

// haveRecovered has the node that has the copy carry out the recovery, which may be this one.
func (d *Daemon) haveRecovered(ctx context.Context, n copyReport, link quorum.Link) error {
	d.log.Warn("has a job recovered from one copy of its ledger", "job", api.Short(n.Name), "node", n.on,
		"entry", n.Copy.Index, "term", n.Copy.Term, "superseded", n.Aside != nil)
	kind, order := "recover", any(link)
	aside := asideOrder{Link: link, Index: n.Copy.Index, Term: n.Copy.Term}
	if n.Aside != nil {
		kind, order = "recover-superseded", aside
	}
	switch {
	case n.on == d.net.ID() && n.Aside != nil:
		return d.goOnFromAside(ctx, n.Name, aside)
	case n.on == d.net.ID():
		return d.recoverHere(ctx, n.Name, link)
	}
	b, err := json.Marshal(order)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recoverWait+members.AskWait)
	defer cancel()
	_, err = d.net.Request(ctx, n.on, kind, append([]byte(n.Name+"\n"), b...))
	return err
}

// recoverWait is how long it may take until the node with the copy leads the job.
const recoverWait = 10 * time.Second

// recoverOrdered carries out a recovery for another member. The argument is the job's name and, on a line of its own,
// the signed link as JSON.
func (d *Daemon) recoverOrdered(arg string) error {
	name, text, _ := strings.Cut(arg, "\n")
	var l quorum.Link
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return fmt.Errorf("could not read who has signed the recovery: %w", err)
	}
	return d.recoverHere(d.ctx, name, l)
}

// recoverHere carries out a recovery from this node's copy of a job's ledger.
func (d *Daemon) recoverHere(ctx context.Context, name string, l quorum.Link) error {
	if err := l.RecoveryConf(); err != nil {
		return fmt.Errorf("could not recover: %w", err)
	}
	c, err := d.copyBy(name)
	if err != nil {
		return err
	}
	return d.recoverAs(ctx, &recovering{id: c.ID, name: c.Name()}, engine.Recover{
		ID:     c.ID,
		Link:   l,
		Result: d.keepsResult(c),
	})
}

// recovering is a recovery that this node is carrying out.
type recovering struct {
	id    tasks.JobID
	name  string
	aside *store.Aside // the copy that was put aside from which it goes on; nil for the one that counts
	no    chan string  // told why nothing came of it
}

// recoveries are the recoveries that this node is carrying out, at most one of each job.
type recoveries struct {
	mu sync.Mutex
	of map[tasks.JobID]*recovering
}

// begin notes that a recovery begins. It returns false if another one of the same job is under way.
func (a *recoveries) begin(r *recovering) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of[r.id] != nil {
		return false
	}
	a.of[r.id] = r
	return true
}

// end notes that a recovery that had begun is over.
func (a *recoveries) end(r *recovering) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, r.id)
}

// under is the recovery of a job that is under way, nil if there is none.
func (a *recoveries) under(id tasks.JobID) *recovering {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of[id]
}

// recoverAs carries a recovery out and waits for what comes of it.
func (d *Daemon) recoverAs(ctx context.Context, r *recovering, ev engine.Recover) error {
	r.no = make(chan string, 1)
	busy := !d.recoveries.begin(r)
	hint := "dtpnode status " + api.Short(r.name)
	if busy {
		return &api.Error{Status: http.StatusConflict, Message: "the job is being recovered just now", Hint: hint}
	}
	defer d.recoveries.end(r)
	d.log.Warn("goes on with a job from this node's copy of its ledger alone", "job", api.Short(r.name),
		"signed by", ev.Link.Sigs[0].By, "superseded", r.aside != nil)
	d.loop.Post(ev)
	ctx, cancel := context.WithTimeout(ctx, recoverWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case why := <-r.no:
			return &api.Error{Status: http.StatusConflict, Message: "could not recover the job: " + why, Hint: hint}
		case <-ctx.Done():
			return &api.Error{
				Status:  http.StatusServiceUnavailable,
				Message: "the job is recovered, and nobody leads it yet",
				Hint:    hint,
			}
		case <-tick.C:
			if d.leadsAs(r.id, ev.Link) {
				return nil
			}
		}
	}
}

// leadsAs reports whether this node leads a job by a recovery, or the job has ended by it.
func (d *Daemon) leadsAs(id tasks.JobID, l quorum.Link) (yes bool) {
	var v engine.LedgerView
	d.loop.Ask(func(p *engine.Peer) {
		v, _ = p.Ledger(id)
		_, yes = p.Leads(id)
	})
	j := d.jobs.Book().ByID(id)
	return v.Self == l.Conf.Voters[0] && (yes || v.Ended) || j != nil && j.Final()
}

// keepsResult reports whether the result that a copy's record names is here.
func (d *Daemon) keepsResult(c *store.Copy) bool {
	var v engine.CopyView
	d.loop.Ask(func(p *engine.Peer) { v, _ = p.Copy(c.ID) })
	return v.Result != nil && store.Verify(d.results.Path(c.Name()), v.Result.SHA256) == nil
}

// recoveryRefused logs that an admin has signed a recovery that the job does not need. Only the engine's loop calls it.
func (d *Daemon) recoveryRefused(e engine.RecoveryRefused) {
	d.log.Warn("refused to give a job up for another copy of its ledger: most of the nodes that keep it are there, and "+
		"only its submitter may have that displaced",
		"job", e.ID.Short(), "signed by", e.By, "copy of", e.On)
}

// notRecovered tells whoever waits for a recovery that it has failed. Only the engine's loop calls it.
func (d *Daemon) notRecovered(e engine.NotRecovered) {
	d.log.Warn("could not recover a job", "job", e.ID.Short(), "reason", e.Reason)
	if r := d.recoveries.under(e.ID); r != nil {
		select {
		case r.no <- e.Reason:
		default:
		}
	}
}

// tellAdmins tells the engine whose signatures count for the jobs of all.
func (d *Daemon) tellAdmins(tell func(engine.Event)) {
	var ids []tasks.PeerID
	for _, m := range d.net.Members() {
		if d.net.HasRight(m.ID, p2p.Admin) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	tell(engine.Admins{IDs: ids})
}
