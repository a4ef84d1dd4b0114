package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// fetchPartial makes a partial's blob present here, as it was sealed, and returns its path: units and canary do not
// show a bit that has flipped in a histogram, and what is merged from it gets a hash of its own.
func (d *Daemon) fetchPartial(ctx context.Context, p merge.Partial) (string, error) {
	path := d.blobs.Partial(p.Job, p.ID)
	err := store.Verify(path, p.SHA256)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, store.ErrDamaged):
		d.log.Error("a partial is damaged; it is fetched once more, or its range runs again", "job", p.Job.Short(), "reason", err)
		d.blobs.Forget(p.SHA256, path)
		_ = os.Remove(path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("could not read partial %v: %w", p.ID, err)
	}
	if p.Holder == d.net.ID() {
		return "", fmt.Errorf("partial %v is not here any more: %w", p.ID, err)
	}
	err = durable.Place(path, func(f *os.File) error {
		_, err := d.net.Fetch(ctx, p.Holder, p.SHA256, min(p.Size, merge.MaxSize), f)
		return err
	})
	if store.DiskError(err) != nil {
		return "", fmt.Errorf("could not write partial %v: %w", p.ID, err)
	}
	if err != nil {
		return "", &unfetched{from: p.Holder, err: fmt.Errorf("could not fetch partial %v from %s: %w", p.ID, p.Holder, err)}
	}
	d.blobs.Add(p.SHA256, path)
	return path, nil
}

// unfetched is the error of a fetch that failed for who was to send the blob.
type unfetched struct {
	from tasks.PeerID
	err  error
}

func (e *unfetched) Error() string { return e.err.Error() }
func (e *unfetched) Unwrap() error { return e.err }

// Merging before the home does is help and no need: the input of a merge that comes more slowly than mergePace, in
// bytes a second, holds the others up for no longer than this.
const (
	mergeWait = 5 * time.Second
	mergePace = 256 << 10
)

// fetchInput is fetchPartial for a merge on this node.
func (d *Daemon) fetchInput(p merge.Partial) (string, error) {
	ctx, cancel := context.WithTimeout(d.ctx, mergeWait+time.Duration(float64(max(p.Size, 0))/mergePace*float64(time.Second)))
	defer cancel()
	return d.fetchPartial(ctx, p)
}

// fetchBlob brings a partial to its job's home, durably, and counts what is in it.
func (d *Daemon) fetchBlob(e engine.FetchBlob) {
	p := e.Partial
	path, err := d.ledgers.Keep(p, e.Sources)
	if err == nil {
		var units int64
		var canary uint64
		if units, canary, err = d.counted(p.Job, path); err == nil {
			d.post(engine.Stored{Partial: p, Units: units, Canary: canary, Seq: e.Seq})
			return
		}
	}
	d.log.Warn("could not store a partial", "job", p.Job.Short(), "reason", err)
	out := engine.NotStored{Partial: p, Slow: errors.Is(err, p2p.ErrSlow), Seq: e.Seq}
	if here := store.DiskError(err); here != nil {
		out.Here = here.Error()
	}
	d.post(out)
}

// mergeBlobs merges partials on this node.
func (d *Daemon) mergeBlobs(e engine.MergeBlobs) {
	failpoint.Hit(failpoint.MergeBefore)
	s, err := d.tryMerge(e)
	if err != nil {
		d.log.Warn("could not merge partials", "job", e.Job.Short(), "inputs", len(e.Inputs), "reason", err)
		out := engine.NotMerged{Job: e.Job, Kids: merge.IDs(e.Inputs)}
		var late *unfetched
		if errors.As(err, &late) {
			out.Holder = late.from
		}
		d.post(out)
		return
	}
	m := worker.Partial(e.Job, e.ID, e.Inputs, s)
	d.blobs.Add(m.SHA256, s.Path)
	failpoint.Hit(failpoint.MergeAfter)
	d.post(engine.Merged{Partial: m})
}

func (d *Daemon) tryMerge(e engine.MergeBlobs) (exec.Partial, error) {
	j := d.book.ByID(e.Job)
	if j == nil {
		return exec.Partial{}, errors.New("the job is over")
	}
	var err error
	paths := make([]string, len(e.Inputs))
	for i, p := range e.Inputs {
		if paths[i], err = d.fetchInput(p); err != nil {
			return exec.Partial{}, err
		}
	}
	var s exec.Partial
	err = d.use(d.ctx, j, func(p exec.Program, _ *tasks.Job) (err error) {
		s, err = p.Merge(d.ctx, paths, d.blobs.Partial(e.Job, e.ID))
		return err
	})
	if err == nil {
		j.addApart(s.Apart)
	}
	return s, err
}

// counted reads the units and the canary of a partial of a job that this node has a part in.
func (d *Daemon) counted(id tasks.JobID, path string) (units int64, canary uint64, err error) {
	var desc *tasks.Job
	if c := d.ledgers.Of(id); c != nil {
		desc = c.Job
	} else if j := d.book.ByID(id); j != nil {
		_, desc = j.prepared()
	}
	if desc == nil {
		return 0, 0, errOver
	}
	return d.runtimes.Counted(desc.Work.Kind, path)
}

// finish makes a led job's result and ends the job.
func (d *Daemon) finish(e engine.FinishJob) {
	j := d.book.ByID(e.ID)
	if j == nil {
		return
	}
	failpoint.Hit(failpoint.EndBefore)
	if bad := d.damaged(e); len(bad) > 0 {
		for _, id := range bad {
			d.post(engine.BlobDamaged{Job: e.ID, ID: id})
		}
		return // the engine asks again when they have been replaced
	}
	j.mu.Lock()
	j.lost, j.working, j.madeOf = e.Lost, time.Since(j.running), store.MadeOf{Job: e.ID, Parts: e.Parts}.Sum()
	desc := j.desc
	j.mu.Unlock()
	valued := d.hasValues(desc.Work.Kind, e.ID, e.Parts)
	j.mu.Lock()
	j.valued = valued
	j.mu.Unlock()
	d.snapshot(j)
	d.remember(j)
	if err := d.nothingDone(e, desc); err != nil {
		d.failLed(j, err)
		return
	}
	j.phase(api.Merging, "merging and running Terminate")
	err := d.writeResult(j, e)
	failpoint.Hit(failpoint.ResultBefore)
	switch {
	case d.ctx.Err() != nil: // the next life, or another home, tries
	case err != nil && j.ctx.Err() != nil:
		d.failLed(j, err)
	case err != nil:
		d.cannotFinish(j, err)
	case len(e.Lost) > 0 || len(desc.Bad) > 0:
		d.conclude(j, api.Partial, "", "")
	default:
		d.conclude(j, api.Done, "", "")
	}
}

// damaged are the committed partials that are not here as they were committed.
func (d *Daemon) damaged(e engine.FinishJob) (ids []merge.ID) {
	for _, p := range e.Parts {
		if _, err := d.ledgers.CheckKept(e.ID, p); err != nil {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// nothingDone is the error of a job that was given up before a single entry was done: histograms that are
// empty for that reason are no result.
func (d *Daemon) nothingDone(e engine.FinishJob, desc *tasks.Job) error {
	if e.Units > 0 {
		return nil
	}
	for _, l := range e.Lost {
		if l.Tries == 0 { // it was stopped before
			continue
		}
		i, entry := desc.Data.Locate(l.Range.First)
		what := fmt.Sprintf("given up, since no entry could be processed: %s entry %d: %s", desc.Data.Files[i].URL, entry, l.Reason)
		return d.failure(what, l.Failed)
	}
	return nil
}

// writeResult runs the last merge and Terminate, keeps the output and copies it to where the user
// wants it.
func (d *Daemon) writeResult(j *job, e engine.FinishJob) error {
	paths := make([]string, 0, len(e.Parts))
	for _, p := range e.Parts {
		paths = append(paths, d.ledgers.KeptPath(e.ID, p))
	}
	if len(paths) == 0 { // no entry at all: still the program's empty histograms
		path, err := d.emptyPartial(j)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if err := d.keepsForJob(j); err != nil {
		return err
	}
	result := d.results.Path(j.name)
	if err := os.MkdirAll(filepath.Dir(result), 0o700); err != nil {
		return fmt.Errorf("could not make folder for the result: %w", err)
	}
	fin, err := d.terminate(j, paths, result)
	if err != nil {
		return err
	}
	if fin.Units != e.Units || fin.Canary != e.Canary {
		_ = os.Remove(result)
		return fmt.Errorf("the merged output counts %d entries (canary %x), the ledger %d (%x): nothing was written, since something was lost or counted twice; please report this",
			fin.Units, fin.Canary, e.Units, e.Canary)
	}
	j.addApart(fin.Apart)
	j.mu.Lock()
	j.skipped, j.endedIn = fin, d.leftIn(j)
	if len(paths) > 1 {
		j.merges++
	}
	j.mu.Unlock()
	if err := errors.Join(durable.Sync(result), durable.Sync(filepath.Dir(result))); err != nil {
		return fmt.Errorf("could not keep the result %q: %w", result, err)
	}
	if err := d.deliver(j, func() (*os.File, error) { return os.Open(result) }); err != nil {
		d.undelivered(j, err) // the result is kept, and it is tried again
	}
	return nil
}

// terminate runs the last merge and Terminate in the process that ran Begin. Where that one was killed
// from outside another takes its place, once, and runs Begin again.
func (d *Daemon) terminate(j *job, paths []string, result string) (exec.Finished, error) {
	for again := false; ; {
		j.mu.Lock()
		session := j.session
		j.mu.Unlock()
		if session == nil { // Begin has run on another node, or in another life of this one
			if _, err := d.startSession(j); err != nil {
				return exec.Finished{}, fmt.Errorf("could not start the process that runs Terminate: %w", err)
			}
			continue
		}
		fin, err := session.Finish(d.ctx, paths, result)
		var f *exec.Failure
		if again || !errors.As(err, &f) || f.Kind != exec.KindKilled {
			return fin, err
		}
		again = true
		d.log.Warn("the process that ran Begin was killed; starting another", "job", api.Short(j.name))
		if _, err := d.startSession(j); err != nil {
			return fin, err
		}
	}
}

// elsewhere is the folder for Begin and Terminate of a job of another node, beside its result, so that what Terminate
// writes is kept as long; empty if that cannot be made, or for a job of this node.
func (d *Daemon) elsewhere(j *job) string {
	j.mu.Lock()
	own := j.own()
	j.mu.Unlock()
	dir := d.results.AwayFolder(j.name)
	if own || os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// maxLeft bounds the files that are named of those that Terminate has left.
const maxLeft = 20

// leftIn tells where Terminate ran, and what it has left there, if the job was submitted on another node; j.mu is held.
func (d *Daemon) leftIn(j *job) *api.Elsewhere {
	dir := d.results.AwayFolder(j.name)
	if j.own() || store.SizeOf(dir) < 0 {
		return nil
	}
	e := &api.Elsewhere{Node: d.net.Name(), Folder: dir}
	files, _ := os.ReadDir(dir)
	for _, f := range files[:min(len(files), maxLeft)] {
		e.Files = append(e.Files, f.Name())
	}
	return e
}

// emptyPartial runs a generation without any packet.
func (d *Daemon) emptyPartial(j *job) (string, error) {
	dir := d.blobs.JobDir(j.id)
	work := filepath.Join(dir, "gen-empty")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return "", fmt.Errorf("could not finish: %w", err)
	}
	var g exec.Generation
	err := d.use(d.ctx, j, func(p exec.Program, desc *tasks.Job) (err error) {
		g, err = p.Start(d.ctx, d.workers.Limits.Spec(desc, j.id.Seed(), work), emptySink{j})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("could not finish: %w", err)
	}
	s, err := g.Seal(d.ctx, filepath.Join(dir, "empty"))
	return s.Path, err
}

type emptySink struct{ j *job }

func (emptySink) PacketDone(exec.Done) {}
func (emptySink) Failed(*exec.Failure) {}
func (s emptySink) Output(line string) { s.j.printed(line) }

// remember keeps the rate of a job's code for the next job with it.
func (d *Daemon) remember(j *job) {
	j.mu.Lock()
	rate := j.view.Nodes[d.net.ID()].Stats.Rate / float64(max(d.cfg.Slots, 1))
	j.mu.Unlock()
	if rate > 0 {
		d.book.SetRate(j.codeKey, rate)
	}
}

// failJob ends a led job that cannot have a result.
func (d *Daemon) failJob(e engine.FailJob) {
	j := d.book.ByID(e.ID)
	if j == nil {
		return
	}
	d.spawn(func() {
		d.snapshot(j)
		d.failLed(j, d.failure(e.Failure.Reason, e.Failure))
	})
}

// failure is what the user is told of a job that has no result for the reason f.
func (d *Daemon) failure(what string, f ledger.Failed) *api.Error {
	msg := strings.TrimSpace(what)
	for _, more := range []string{f.Stack, f.Tail} {
		if more = strings.TrimSpace(more); more != "" {
			msg += "\n" + more
		}
	}
	times := "once"
	if f.Tries > 1 {
		times = fmt.Sprintf("%d times", f.Tries)
	}
	return &api.Error{Message: msg, Hint: fmt.Sprintf("failed %s (%s) on %s", times, f.Kind, strings.Join(d.cluster.Called(f.Nodes), ", "))}
}

// failLed ends a led job with an error.
func (d *Daemon) failLed(j *job, err error) {
	state, msg, hint := d.explain(j, err)
	d.conclude(j, state, msg, hint)
}

// failPreparing ends a job that has no ledger yet with an error.
func (d *Daemon) failPreparing(j *job, err error) {
	state, msg, hint := d.explain(j, err)
	d.endLed(j, state, msg, hint)
}

func (d *Daemon) explain(j *job, err error) (state api.JobState, msg, hint string) {
	state = api.Failed
	if j.ctx.Err() != nil && d.ctx.Err() == nil {
		state = api.Cancelled
	}
	msg = err.Error()
	if state == api.Cancelled {
		j.mu.Lock()
		early := j.early
		j.mu.Unlock()
		return state, "cancelled", early
	}
	var e *api.Error
	var f *exec.Failure
	if errors.As(err, &e) {
		hint = e.Hint
	}
	if errors.As(err, &f) {
		j.crashed(d.net.Name(), f)
		for _, more := range []string{f.Stack, f.Tail} {
			if more = strings.TrimSpace(more); more != "" {
				msg += "\n" + more
			}
		}
	}
	return state, msg, hint
}

// conclude hands a job's end to its ledger; jobEnded follows when a quorum has it.
func (d *Daemon) conclude(j *job, state api.JobState, msg, hint string) {
	j.mu.Lock()
	again := j.concluding
	j.concluding = true
	if j.ended.IsZero() {
		j.ended = time.Now()
	}
	j.mu.Unlock()
	if again {
		return
	}
	st := d.finalStatus(j, state, msg, hint)
	var r ledger.Result
	path := d.results.Path(j.name)
	if (state == api.Done || state == api.Partial) && store.SizeOf(path) >= 0 {
		sum, err := store.HashFile(path)
		if err != nil {
			d.log.Error("could not read a job's result", "job", api.Short(j.name), "reason", err)
		} else {
			r.SHA256, r.Size, st.SHA256 = sum, store.SizeOf(path), sum
			d.blobs.Add(sum, path)
		}
	}
	r.Status = packStatus(st)
	end := engine.Finished{ID: j.known(), Result: r}
	j.mu.Lock()
	j.end = &end
	j.mu.Unlock()
	d.post(end)
}

// finalStatus is what users are told of a job that ends so.
func (d *Daemon) finalStatus(j *job, state api.JobState, msg, hint string) api.JobStatus {
	f := &job{name: j.name}
	j.mu.Lock()
	f.id, f.desc, f.status, f.ended, f.running, f.working = j.id, j.desc, j.status, j.ended, j.running, j.working
	f.merges, f.lost, f.view, f.apart, f.lines, f.home = j.merges, j.lost, j.view, j.apart, j.lines, j.home
	f.outDone, f.skipped, f.endedIn = j.outDone, j.skipped, j.endedIn
	if state == api.Partial || state == api.Done && j.valued {
		f.status.PartsSHA256 = j.madeOf
	}
	j.mu.Unlock()
	f.finalise(state, msg, hint)
	return d.statusOf(f)
}

// packStatus encodes a status for the ledger, cut to what has room there.
func packStatus(st api.JobStatus) []byte {
	for _, cut := range []func(){func() {}, func() { st.Stdout = tailOf(st.Stdout, ledger.MaxStatus/4) }, func() {
		for i := range st.Missing {
			st.Missing[i].Stack, st.Missing[i].Tail = "", ""
		}
	}, func() { st.Missing, st.Skipped = st.Missing[:min(len(st.Missing), 200)], nil }, func() { st.Stdout, st.Nodes = "", nil }} {
		cut()
		if b, err := json.Marshal(st); err == nil && len(b) <= ledger.MaxStatus {
			return b
		}
	}
	b, _ := json.Marshal(api.JobStatus{ID: st.ID, State: st.State, SHA256: st.SHA256, PartsSHA256: st.PartsSHA256, Appends: st.Appends, Error: tailOf(st.Error, 1<<10), Submitted: st.Submitted, Units: st.Units, Done: st.Done, Unknown: st.Unknown})
	return b
}

// tailOf is the end of a text that is too long.
func tailOf(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "(cut)\n" + s[len(s)-n:]
}

// jobEnded makes a job final here, as its ledger says; called by the loop alone. The ledger's copy does not go
// before the end is on disk.
func (d *Daemon) jobEnded(e engine.JobEnded) {
	failpoint.Hit(failpoint.EndAfter)
	j, c := d.book.ByID(e.ID), d.ledgers.Of(e.ID)
	if c != nil {
		if j == nil {
			j = d.book.OfCopy(c)
		}
		j.mu.Lock()
		j.describedBy(c, d.book.growths.whole(c.ID, c.Job))
		j.mu.Unlock()
	}
	var st api.JobStatus
	if j == nil || json.Unmarshal(e.Result.Status, &st) != nil {
		return
	}
	if err := d.keepsForJob(j); err != nil {
		d.log.Error("keeps nothing of how a job ended", "reason", err)
		d.spawn(j.release)
		return
	}
	st.ID, st.SHA256 = j.name, e.Result.SHA256
	j.mu.Lock()
	own := j.own()
	j.mu.Unlock()
	first := j.adopt(st, own) // else another node has told of the end before
	if e.Result.SHA256 != "" {
		d.blobs.Add(e.Result.SHA256, d.results.Path(j.name))
	}
	var kept store.MadeOf
	release := func() {}
	if c != nil {
		release = c.Hold()
		if v, ok := d.peer.Ledger(e.ID); ok && st.PartsSHA256 != "" {
			kept.Parts = v.Parts
			if g, ok := d.peer.Growth(e.ID); ok {
				kept.Grown = g.Grown
			}
		}
	}
	d.spawn(func() {
		if len(kept.Parts) > 0 {
			d.keepParts(j.name, c, kept)
		}
		d.results.SaveEnd(j.name, engine.Remember{ID: e.ID, Term: e.Term, Ended: engine.Ended{Result: &e.Result}, Submitter: j.submitter(), Recovery: e.Recovery})
		if first {
			d.saveStatus(j)
		}
		release()
		if first {
			d.afterEnd(j)
		}
		j.release()
	})
}

// afterEnd does what is left to do for a job that has just become final, and is so on disk.
func (d *Daemon) afterEnd(j *job) {
	j.mu.Lock()
	st := j.status
	j.mu.Unlock()
	d.log.Info("job ended", "job", api.Short(j.name), "state", st.State, "reason", st.Error)
	close(j.done)
	if st.Output != "" && d.results.Has(j.name) {
		d.results.NoteFetched(j.name) // its user has it
	}
	d.deliverLate(j)
	d.sweep()
}

// endLed ends a job that has no ledger.
func (d *Daemon) endLed(j *job, state api.JobState, msg, hint string) {
	if !j.finalise(state, msg, hint) {
		return
	}
	d.saveStatus(j)
	d.afterEnd(j)
	j.release()
}

// setAside says that a job is taken from a node.
func (d *Daemon) setAside(e engine.SetAside) {
	if e.Node == d.net.ID() && e.Reason == "" {
		d.log.Error("a job is taken from this node, since all of it fails here: see the failures above, and dtpnode doctor", "job", e.ID.Short())
		return
	}
	d.log.Warn("set a node aside for a job: all of it fails there", "job", e.ID.Short(), "node", d.cluster.Called([]tasks.PeerID{e.Node})[0], "reason", e.Reason)
}

// jobOver frees what a job held here, as the engine has ended it.
func (d *Daemon) jobOver(e engine.JobOver) {
	j := d.book.Over(e.ID)
	if d.ledgers.Of(e.ID) == nil {
		d.book.growths.forget(e.ID)
	}
	if j == nil {
		return
	}
	if e.Lost {
		d.log.Warn("gave a job up: no node has led it for too long", "job", api.Short(j.name), "last led by", j.homeNow())
	}
	if !j.leads() {
		d.book.Past(j.name)
		if j.submittedHere { // its user is told of its end, and may be owed the output
			d.spawn(func() { d.awaitEnds([]*awaited{{job: j, restored: true}}) })
		}
	}
	// Out of the way at once, since the job may be prepared anew; removed when its children have gone.
	dir := d.blobs.JobDir(e.ID)
	d.blobs.ForgetFolder(dir)
	trash, err := os.MkdirTemp(d.cfg.ScratchDir, ".old-*")
	if err == nil {
		err = os.Rename(dir, filepath.Join(trash, "job"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a replica that took no part has none
		d.log.Warn("could not put a job's folder away", "dir", dir, "reason", err)
	}
	d.spawn(func() {
		j.release()
		_ = os.RemoveAll(trash)
	})
}

// abandonPreparing fails all jobs that have no ledger yet.
func (d *Daemon) abandonPreparing(why string) {
	for _, j := range d.book.AllTold() {
		if j.known() == "" && !j.final() {
			d.endLed(j, api.Failed, why, "submit the job again")
		}
	}
}

// removeResult removes what was written of the result of a job that ends without one.
func (d *Daemon) removeResult(j *job) {
	if d.keepsForJob(j) == nil {
		_ = os.Remove(d.results.Path(j.name))
	}
}

// cancelJob ends a led job without a result, unless it ends by itself just now.
func (d *Daemon) cancelJob(j *job) {
	j.cancel()
	id := j.known()
	if id == "" {
		d.failPreparing(j, errors.New("cancelled"))
		return
	}
	d.snapshot(j) // what has been done, before the nodes forget it
	d.post(engine.CancelJob{ID: id})
	d.removeResult(j)
	d.conclude(j, api.Cancelled, "cancelled", "")
}

// stoppedEarly is what the user is told who stops a job that has not begun.
const stoppedEarly = "it was stopped before it had begun, so there is no partial result"

// stopJob ends a led job with what is done. Of one that has not begun that is nothing: it is cancelled.
func (d *Daemon) stopJob(j *job) {
	j.mu.Lock()
	id := j.id
	if id == "" {
		j.early = stoppedEarly
	}
	j.mu.Unlock()
	if id == "" {
		d.cancelJob(j)
		return
	}
	d.post(engine.StopJob{ID: id, Reason: "stopped by the user"})
}

// waitFinal waits until a led job is final.
func waitFinal(ctx context.Context, j *job, every time.Duration) {
	select {
	case <-j.done:
	case <-ctx.Done():
	case <-time.After(every):
	}
}
