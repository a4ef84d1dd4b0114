package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// An open job runs over more than its description says, since its user appends to it until it is closed
// (engine/grow.go). The description is signed and does not change. What users are told, and what units of packets are
// looked up in, is the description together with all appends that are known here.

// grower has open jobs grow.
type grower struct {
	*base
	*programs
	*copies
	*teller

	appending appending // who waits for an append
	attended  attended
}

// growths is what the open jobs of a daemon have grown by, as its engine has told. It has a lock of its own, which is
// taken last.
type growths struct {
	mu sync.Mutex
	of map[tasks.JobID]*growth
}

// growth is what one job has grown by. Until the description is here, appends wait in pending; from then on data has
// all units. Whole descriptions that were handed out share data's arrays, which only ever grow at their ends.
type growth struct {
	base    *tasks.Job
	pending []tasks.Append
	data    *tasks.Dataset
	appends uint64
	closed  bool
	hashes  []string // of the items of each append, as far as it has one blob of them
}

// take adds appends that the engine reports.
func (g *growths) take(e engine.Grown) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of == nil {
		g.of = map[tasks.JobID]*growth{}
	}
	of := g.of[e.ID]
	if of == nil {
		of = &growth{}
		g.of[e.ID] = of
	}
	of.pending = append(of.pending, e.Appends...)
	for _, a := range e.Appends {
		hash := ""
		if len(a.Files) == 1 {
			hash = a.Files[0].Items
		}
		of.hashes = append(of.hashes, hash)
	}
	of.settle()
}

// settle adds the pending appends to the data, if the description is here.
func (g *growth) settle() {
	for _, a := range g.pending {
		if g.base != nil && g.data.Append(a.Files) != nil {
			return // the engine has checked them
		}
		if g.base != nil || a.Close {
			g.closed = g.closed || a.Close
		}
	}
	if g.base != nil {
		g.appends += uint64(len(g.pending))
		g.pending = nil
	}
}

// whole is a job's description together with all appends that are known here.
func (g *growths) whole(id tasks.JobID, desc *tasks.Job) *tasks.Job {
	if desc == nil || !desc.Open {
		return desc
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.of[id]
	if of == nil {
		return desc
	}
	if of.base == nil {
		of.base, of.data = desc, desc.Data.Clone()
		of.settle()
	}
	out := *of.base
	out.Data = *of.data
	out.Want = out.Data.Space()
	return &out
}

// told is how many appends of a job are known here, and whether one of them has closed it.
func (g *growths) told(id tasks.JobID) (appends uint64, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.of[id]
	if of == nil {
		return 0, false
	}
	return of.appends + uint64(len(of.pending)), of.closed
}

// hashes are those of the items of each append that is known here, in order.
func (g *growths) hashes(id tasks.JobID) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if of := g.of[id]; of != nil {
		return slices.Clip(of.hashes)
	}
	return nil
}

// forget drops what is known of a job's growth, and returns its description, nil if that was not here.
func (g *growths) forget(id tasks.JobID) *tasks.Job {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.of[id]
	delete(g.of, id)
	if of == nil {
		return nil
	}
	return of.base
}

// Grown adds appends to a job, before any of their units are run. Only the engine's loop calls it.
func (r *grower) Grown(e engine.Grown) {
	r.book.growths.take(e)
	r.itemsGrown(e)
	if j := r.book.ByID(e.ID); j != nil {
		r.book.growths.grow(j)
	}
}

// Regrown forgets all appends of a job, since its ledger was recovered from a copy that lacks some of them. The engine
// reports those that the copy has again, by Grown.
func (r *grower) Regrown(e engine.Regrown) {
	base := r.book.growths.forget(e.ID)
	if j := r.book.ByID(e.ID); j != nil && base != nil {
		j.mu.Lock()
		j.describe(base)
		j.mu.Unlock()
	}
}

// describe sets a job's description, and what its users are told of its size; j.mu is held.
func (j *Job) describe(desc *tasks.Job) {
	j.s.Desc = desc
	if !j.s.Complete && desc != nil && j.s.Status.ID != "" {
		j.s.Status.Units, j.s.Status.Files = desc.Want.Len(), len(desc.Data.Files)+len(desc.Bad)
	}
}

// tellOpen tells how far an open job has grown, and what it waits for if all of that is done; j.mu is held.
func (r *teller) tellOpen(j *Job, st *api.JobStatus) {
	if !j.s.Desc.Open {
		return
	}
	if !j.s.Complete { // The description of a job that has just come back may be without what is known of its growth.
		st.Units = max(st.Units, r.book.growths.whole(j.s.ID, j.s.Desc).Want.Len())
	}
	appends, closed := r.book.growths.told(j.s.ID)
	st.Appends, st.Open = max(st.Appends, appends), !closed && !st.State.Halted()
	var lost int64
	for _, l := range j.s.View.Lost {
		lost += l.Range.Len()
	}
	if st.Open && st.State == api.Running && st.Done+lost >= st.Units {
		st.Phase = "waiting for more, or to be closed"
		if n := r.kept.waiting(j.Name); n > 0 {
			st.Phase = fmt.Sprintf("%d calls wait to be appended", n)
		}
		if lost > 0 {
			st.Phase = fmt.Sprintf("%d entries are given up; %s", lost, st.Phase)
		}
	}
}

// appendKey names an append that somebody waits for.
type appendKey struct {
	job tasks.JobID
	seq uint64
}

// appending is who waits for appends to be in the log. Those that wait for one number wait for one append: who gives
// another with that number is refused at once, and nobody else is told of that.
type appending struct {
	mu      sync.Mutex
	waiters map[appendKey][]chan engine.Appended
	giving  chan<- engine.Appended // who is giving the engine an append, and has no answer yet; nil for nobody
}

// give has f give the engine an append; called by the loop alone. A refusal that comes of that is for who waits on to.
func (a *appending) give(to chan<- engine.Appended, f func()) {
	a.setGiving(to)
	defer a.setGiving(nil)
	f()
}

func (a *appending) setGiving(to chan<- engine.Appended) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giving = to
}

// wait has the answers to an append come over a channel until let is called.
func (a *appending) wait(k appendKey) (answers chan engine.Appended, let func()) {
	c := make(chan engine.Appended, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiters == nil {
		a.waiters = map[appendKey][]chan engine.Appended{}
	}
	a.waiters[k] = append(a.waiters[k], c)
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		rest := a.waiters[k]
		for i, o := range rest {
			if o == c {
				rest = append(rest[:i:i], rest[i+1:]...)
				break
			}
		}
		if len(rest) == 0 {
			delete(a.waiters, k)
			return
		}
		a.waiters[k] = rest
	}
}

// answer hands the engine's answer to an append to those that wait for it.
func (a *appending) answer(e engine.Appended) {
	a.mu.Lock()
	defer a.mu.Unlock()
	waiters, giving := a.waiters[appendKey{e.ID, e.Seq}], a.giving
	if e.Reason != "" && giving != nil && slices.ContainsFunc(waiters, func(c chan engine.Appended) bool {
		return c == giving
	}) {
		giving <- e // it is empty, since nobody has answered who gives just now
		a.giving = nil
		return
	}
	for _, c := range waiters {
		select {
		case c <- e:
		default: // it has an answer that it has not read
		}
	}
}

// units are how many units a job is known to have.
func (j *Job) units() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Desc == nil {
		return 0
	}
	return j.s.Desc.Want.Len()
}

func appendFailed(status int, why string) error {
	return &api.Error{Status: status, Message: "could not append: " + why}
}

// An append that cannot be taken just now, since one before it is on its way or many are, is tried again.
const (
	appendAgain = 100 * time.Millisecond // the pause before that
	appendWait  = 20 * time.Second       // for so long
)

// AppendTo has an open job of this node grow, and returns when a majority of the replicas has that on disk. Whoever did
// not hear the answer asks again with the same number: the append counts once.
func (r *grower) AppendTo(ctx context.Context, name string, req api.AppendRequest) (out api.Appended, err error) {
	closes := req.Close && len(req.Files) == 0 && req.Items == 0 && len(req.Data) == 0
	if found := r.book.Find(name); closes && len(found) == 1 && found[0].isOwn() {
		st := r.StatusOf(found[0])
		if st.State == api.Done && st.Appends == 0 { // what closes a job that grows is an append
			return out, growsNot(found[0].Name, "close")
		}
		if st.State == api.Done { // as its user wants it
			return api.Appended{Seq: st.Appends, Appends: st.Appends, Units: st.Units, Closed: true}, nil
		}
	}
	j, id, err := r.openJob(ctx, name)
	if err != nil {
		return out, err
	}
	if req.Seq > tasks.MaxAppends {
		return out, appendFailed(http.StatusBadRequest,
			fmt.Sprintf("its number is %d, want 1 to %d", req.Seq, tasks.MaxAppends))
	}
	if closes && req.Seq == 0 {
		if appends, closed := r.book.growths.told(id); closed { // as its user wants it
			return api.Appended{Seq: appends, Appends: appends, Units: j.units(), Closed: true}, nil
		}
	}
	if closes && req.Seq == 0 {
		if err := r.drainFirst(ctx, j); err != nil {
			return out, err
		}
	}
	files, err := r.planAppend(ctx, j, req)
	if err != nil {
		return out, err
	}
	near, err := nearOf(req, files)
	if err != nil {
		return out, err
	}
	if err := r.spreadItems(ctx, j, id, files); err != nil {
		return out, err
	}
	if err := r.sends(j, req, files); err != nil {
		return out, err
	}
	out, err = r.appendParts(ctx, j, engine.Append{ID: id, Seq: req.Seq, Files: files, Close: req.Close, Near: near})
	if err == nil {
		r.sent(j, req, files)
	}
	return out, err
}

// nearOf is what an append says of nodes that are near its items, in the words of the cores.
func nearOf(req api.AppendRequest, files []tasks.File) (out []steal.Near, err error) {
	if len(req.Near) > api.MaxNearItems {
		return nil, appendFailed(http.StatusBadRequest,
			fmt.Sprintf("it names nodes near items %d times, and may do so %d times", len(req.Near), api.MaxNearItems))
	}
	var units int64
	for i := range files {
		units += files[i].Entries
	}
	for _, n := range req.Near {
		if n.First < 0 || n.Last <= n.First || n.Last > units || !(n.Cost >= 0) {
			return nil, appendFailed(http.StatusBadRequest,
				fmt.Sprintf("the items %d to %d, of %d, are near a node by %g s", n.First, n.Last, units, n.Cost))
		}
		cost := time.Duration(min(n.Cost, steal.MaxNear.Seconds()) * float64(time.Second))
		out = append(out, steal.Near{To: n.Node, Ranges: tasks.CoverOf(tasks.R(n.First, n.Last)), Cost: cost})
	}
	return out, nil
}

// appendParts appends files, in several appends if they are too many for one. The same files make the same appends, so
// that those that are there already count once when all are repeated with their first number.
func (r *grower) appendParts(ctx context.Context, j *Job, all engine.Append) (out api.Appended, err error) {
	parts := tasks.AppendParts(all.Files)
	for i, files := range parts {
		a := engine.Append{ID: all.ID, Files: files, Close: all.Close && i == len(parts)-1}
		if len(parts) == 1 {
			a.Near = all.Near // items are one file, and never parts
		}
		if all.Seq > 0 {
			a.Seq = all.Seq + uint64(i)
		}
		made, err := r.appendFiles(ctx, j, a)
		if err != nil && i > 0 {
			return out, partlyAppended(err, i, len(parts), out.Seq, all.Seq)
		}
		if err != nil {
			return out, err
		}
		out = made
	}
	return out, nil
}

// partlyAppended is the error of an append of which the first parts are in the ledger, up to the number last.
func partlyAppended(err error, made, parts int, last, first uint64) error {
	out := &api.Error{
		Status: http.StatusServiceUnavailable,
		Message: fmt.Sprintf("%v; of the %d appends that the files make, the first %d were made, up to number %d", err, parts,
			made, last),
		Hint: "`dtpnode status` tells what the job has; the same command would append the first files once more",
		Err:  err,
	}
	if first > 0 {
		out.Hint = fmt.Sprintf("append the same files again with --seq %d: what is there counts once", first)
	}
	return out
}

// openJob finds an open job that was submitted on this node, wherever it is led now. A node that has just been started
// may have to hear of its job first: that is waited for.
func (r *grower) openJob(ctx context.Context, name string) (*Job, tasks.JobID, error) {
	ctx, cancel := context.WithTimeout(ctx, appendWait)
	defer cancel()
	tick := time.NewTicker(appendAgain)
	defer tick.Stop()
	for {
		j, id, err := r.submittedJob(ctx, name)
		if err != nil || id != "" {
			return j, id, err
		}
		select {
		case <-ctx.Done():
			return nil, "", &api.Error{
				Status:  http.StatusServiceUnavailable,
				Message: "could not append: no node that leads job " + name + " was heard of in time",
				Hint:    "nothing was appended; try again, and see `dtpnode status " + name + "`",
			}
		case <-tick.C:
		}
	}
}

// submittedJob finds an open job that was submitted on this node. The id is empty while this node has yet to hear of a
// job of its own from those that lead it.
func (r *grower) submittedJob(ctx context.Context, name string) (*Job, tasks.JobID, error) {
	if found := r.book.Find(name); len(found) == 1 && found[0].isOwn() {
		j := found[0]
		j.mu.Lock()
		id, desc, st := j.s.ID, j.s.Desc, j.s.Status
		j.mu.Unlock()
		switch {
		case desc != nil && !desc.Open:
			return nil, "", growsNot(j.Name, "append")
		case st.State.Final():
			return nil, "", overFor(st)
		case desc == nil:
			return j, "", nil
		}
		return j, id, nil
	}
	_, _, st, err := r.granted(ctx, name, members.ForLook)
	var e *api.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusServiceUnavailable, err == nil && st.Submitter == r.net.ID():
		return nil, "", nil
	case err != nil:
		return nil, "", err
	}
	return nil, "", &api.Error{
		Status:  http.StatusConflict,
		Message: "could not append: job " + api.Short(st.ID) + " was not submitted by this node",
		Hint: "append on the host that submitted it, " + cmp.Or(st.SubmitterName, st.Submitter) +
			": it signs what it appends",
	}
}

// growsNot is the error for a job that was not submitted open: what is what was to be done with it.
func growsNot(name, what string) error {
	return &api.Error{
		Status:  http.StatusConflict,
		Message: "could not " + what + ": job " + api.Short(name) + " was not submitted as one that grows",
		Hint:    "it ends by itself; one that is to grow is submitted with --open",
	}
}

// overFor says why nothing can be appended to a job that is over, nor can it be closed.
func overFor(st api.JobStatus) error {
	e := &api.Error{
		Status:  http.StatusConflict,
		Message: fmt.Sprintf("could not append: job %s is over: it %s", api.Short(st.ID), st.State.Stands()),
	}
	if st.Error != "" {
		e.Message += ": " + st.Error
	}
	if st.Appends > 0 {
		e.Hint = fmt.Sprintf("it has counted %d appends; `dtpnode status %s` shows its files", st.Appends, api.Short(st.ID))
	}
	return e
}

// planAppend reads the files that are to be appended. Where one of them cannot be read nothing is appended: whoever
// appends can leave it out, or try again.
func (r *grower) planAppend(ctx context.Context, j *Job, req api.AppendRequest) (files []tasks.File, err error) {
	if req.Items < 0 || req.Items > tasks.MaxUnits {
		return nil, appendFailed(http.StatusBadRequest,
			fmt.Sprintf("%d items, want 0 to %d", req.Items, int64(tasks.MaxUnits)))
	}
	_, desc := j.Prepared()
	if req.Items > 0 || len(req.Data) > 0 {
		if err := r.runtimes.checkItems(desc.Work.Kind); err != nil {
			return nil, err
		}
	}
	if req.Items > 0 {
		files = append(files, tasks.File{Entries: req.Items})
	}
	if len(req.Data) > 0 {
		f, err := r.packItems(j, req.Data, req.Depends)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if len(req.Files) == 0 {
		return files, nil
	}
	rt, err := r.runtimes.Ready(ctx, desc.Work.Kind, desc.Work.Needs)
	if err != nil {
		return nil, err
	}
	ask := api.JobRequest{
		Part: cmp.Or(req.Part, desc.Ask.Part), Files: req.Files, AllowCopies: req.AllowCopies, Duplicates: req.Duplicates,
		Open: req.Open,
	}
	read, err := r.planner.Files(ctx, rt, ask, r.openLimit(ask), func(string) {})
	if err != nil {
		return nil, err
	}
	if len(read.Bad) > 0 {
		return nil, &api.Error{
			Status: http.StatusUnprocessableEntity,
			Message: fmt.Sprintf("could not append: %d of %d files cannot be read; the first: %s: %s",
				len(read.Bad), len(req.Files), read.Bad[0].File, read.Bad[0].Reason),
			Hint: "nothing was appended: leave them out, or append again when they are there",
		}
	}
	for _, f := range read.Files {
		if f.Entries > 0 { // an empty one adds no units
			files = append(files, f)
		}
	}
	if len(files) == 0 && !req.Close {
		return nil, appendFailed(http.StatusUnprocessableEntity, "the files have no entries")
	}
	return files, nil
}

// appendFiles gives an append to the engine, again and again while it says that this may help.
func (r *grower) appendFiles(ctx context.Context, j *Job, a engine.Append) (out api.Appended, err error) {
	own, began := a.Seq == 0, time.Now()
	for {
		e, err := r.appendOnce(ctx, j, &a)
		switch {
		case err != nil:
			return out, err
		case e.Reason == "":
			appends, closed := r.book.growths.told(a.ID)
			return api.Appended{Seq: a.Seq, Appends: appends, Units: j.units(), Closed: closed}, nil
		case e.Unsure:
			return out, &api.Error{
				Status:  http.StatusServiceUnavailable,
				Message: fmt.Sprintf("could not tell whether append %d is in the job: %s", a.Seq, e.Reason),
				Hint: fmt.Sprintf("append again with the number %d, which counts once, or see `dtpnode status %s`", a.Seq,
					api.Short(j.Name)),
			}
		case !e.Again:
			return out, r.notTaken(a, http.StatusConflict, e.Reason)
		case time.Since(began) > appendWait:
			return out, r.notTaken(a, http.StatusServiceUnavailable, e.Reason)
		}
		if own {
			a.Seq = 0 // the number may have been taken meanwhile
		}
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("could not append in time (%s): %w", e.Reason, ctx.Err())
		case <-time.After(appendAgain):
		}
	}
}

// notTaken is the error of an append that is not in the log, and never comes there by itself.
func (r *grower) notTaken(a engine.Append, status int, why string) error {
	next := uint64(0)
	r.loop.Ask(func(p *engine.Peer) { next = p.NextAppend(a.ID) })
	return &api.Error{
		Status:  status,
		Message: fmt.Sprintf("could not append: number %d: %s", a.Seq, why),
		Hint:    fmt.Sprintf("nothing was appended; the next number is %d", next),
	}
}

// appendOnce gives an append to the engine and waits for its word. One without a number takes the next.
func (r *grower) appendOnce(ctx context.Context, j *Job, a *engine.Append) (e engine.Appended, err error) {
	var answers chan engine.Appended
	let := func() {}
	r.loop.Ask(func(p *engine.Peer) {
		if a.Seq == 0 {
			a.Seq = p.NextAppend(a.ID)
		}
		answers, let = r.appending.wait(appendKey{a.ID, a.Seq})
		r.appending.give(answers, func() { r.loop.Step(*a) })
	})
	defer func() { let() }()
	if answers == nil {
		return e, ErrOver // of this daemon
	}
	select {
	case e = <-answers:
		return e, nil
	case <-j.Done:
		return e, overFor(r.StatusOf(j))
	case <-ctx.Done():
		return e, ctx.Err()
	case <-r.ctx.Done():
		return e, errors.New("could not append: the daemon is shut down; append again with the same number when it is back")
	}
}

// grow has a job's description be that of all that it has grown by.
func (g *growths) grow(j *Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Desc != nil {
		j.describe(g.whole(j.s.ID, j.s.Desc))
	}
}

// Appended tells who waits for an append what came of it.
func (r *grower) Appended(e engine.Appended) { r.appending.answer(e) }
