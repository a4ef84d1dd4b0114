package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// ender ends jobs: it makes their results, proposes their ends to their ledgers, and removes what is kept of them when
// its time is over.
type ender struct {
	*base
	*descriptions
	*programs
	*copies
	*teller
	*outputs
}

// Finish makes a led job's result and ends the job.
func (r *ender) Finish(e engine.FinishJob) {
	j := r.book.ByID(e.ID)
	if j == nil {
		return
	}
	failpoint.Hit(failpoint.EndBefore)
	if bad := r.damaged(e); len(bad) > 0 {
		for _, id := range bad {
			r.loop.Post(engine.BlobDamaged{Job: e.ID, ID: id})
		}
		return // the engine asks again when they have been replaced
	}
	j.mu.Lock()
	j.s.Lost, j.s.Working, j.s.MadeOf = e.Lost, time.Since(j.s.Running), store.MadeOf{Job: e.ID, Parts: e.Parts}.Sum()
	desc := j.s.Desc
	j.mu.Unlock()
	valued := r.hasValues(desc.Work.Kind, e.ID, e.Parts)
	j.mu.Lock()
	j.s.Valued = valued
	j.mu.Unlock()
	r.snapshot(j)
	r.remember(j)
	if err := r.nothingDone(e, desc); err != nil {
		r.failLed(j, err)
		return
	}
	phase := "merging"
	if last := r.runtimes.Words(desc.Work.Kind).Last; last != "" {
		phase += " and running " + last
	}
	j.phase(api.Merging, phase)
	err, again := r.makeResult(j, e)
	if again {
		return // the engine asks again when what was wrong has been replaced
	}
	failpoint.Hit(failpoint.ResultBefore)
	switch {
	case r.ctx.Err() != nil: // the daemon is closing; it tries again after its restart, or another home does
	case err != nil && j.ctx.Err() != nil:
		r.failLed(j, err)
	case err != nil:
		if !r.redo(j, e, err) {
			r.cannotFinish(j, err)
		}
	case len(e.Lost) > 0 || len(desc.Bad) > 0:
		r.conclude(j, api.Partial, "", "")
	default:
		r.conclude(j, api.Done, "", "")
	}
}

// damaged are the committed partials that are not here as they were committed.
func (r *ender) damaged(e engine.FinishJob) (ids []merge.ID) {
	for _, p := range e.Parts {
		if _, err := r.ledgers.CheckKept(e.ID, p); err != nil {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// nothingDone returns an error if not a single entry of the job is done, although there are some: empty histograms
// would then not be a result.
func (r *ender) nothingDone(e engine.FinishJob, desc *tasks.Job) error {
	if e.Units > 0 {
		return nil
	}
	for _, l := range e.Lost {
		if l.Tries == 0 { // the job was stopped before these units were tried
			continue
		}
		i, entry := desc.Data.Locate(l.Range.First)
		what := fmt.Sprintf("given up, since no entry could be processed: %s entry %d: %s", desc.Data.Files[i].URL, entry,
			l.Reason)
		failed := r.failure(what, l.Failed)
		if advice := api.CrashAdvice(l.Reason); advice != "" {
			failed.Hint += "; " + advice
		}
		return failed
	}
	return nil
}

// writeResult runs the last merge and Terminate, keeps the output and copies it to where the user
// wants it.
func (r *ender) writeResult(j *Job, e engine.FinishJob) error {
	paths := make([]string, 0, len(e.Parts))
	for _, p := range e.Parts {
		paths = append(paths, r.ledgers.KeptPath(e.ID, p))
	}
	if len(paths) == 0 { // without any entry the result is the program's empty histograms
		path, err := r.emptyPartial(j)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if err := r.keepsForJob(j); err != nil {
		return err
	}
	result := r.results.Path(j.Name)
	if err := os.MkdirAll(filepath.Dir(result), 0o700); err != nil {
		return fmt.Errorf("could not make folder for the result: %w", err)
	}
	out := r.Owed(j)
	before := wayOf(out)
	fin, err := r.terminate(j, paths, result)
	if err != nil {
		return err
	}
	sparing := spareOwnFile(out, before, &fin)
	if fin.Units != e.Units || fin.Canary != e.Canary {
		_ = os.Remove(result)
		return fmt.Errorf("the merged output counts %d entries (canary %x), the ledger %d (%x): nothing was written, since "+
			"something was lost or counted twice; please report this",
			fin.Units, fin.Canary, e.Units, e.Canary)
	}
	j.addApart(fin.Apart)
	j.note(fin.Notes...)
	r.register(j, &fin)
	j.mu.Lock()
	j.s.Skipped, j.s.EndedIn = fin, r.leftIn(j)
	if len(paths) > 1 {
		j.s.Merges++
	}
	j.mu.Unlock()
	if err := errors.Join(durable.Sync(result), durable.Sync(filepath.Dir(result))); err != nil {
		return fmt.Errorf("could not keep the result %q: %w", result, err)
	}
	err = sparing
	if err == nil {
		err = r.deliver(j, func() (*os.File, error) { return os.Open(result) })
	}
	if err != nil {
		r.undelivered(j, err) // the result is kept, and writing the output is tried again
	}
	return nil
}

// terminate runs the last merge and Terminate in the process that ran Begin. If that process was killed from outside,
// another one takes its place, once, and runs Begin again.
func (r *ender) terminate(j *Job, paths []string, result string) (exec.Finished, error) {
	for again := false; ; {
		j.mu.Lock()
		session := j.s.Session
		j.mu.Unlock()
		if session == nil { // Begin has run on another node, or on this one before a restart
			if err := r.restartSession(j); err != nil {
				return exec.Finished{}, fmt.Errorf("could not start the process that runs Terminate: %w", err)
			}
			continue
		}
		fin, err := session.Finish(r.ctx, paths, result)
		var f *exec.Failure
		if again || !errors.As(err, &f) || f.Kind != exec.KindKilled {
			return fin, err
		}
		again = true
		r.log.Warn("the process that ran Begin was killed; starting another", "job", api.Short(j.Name))
		if err := r.restartSession(j); err != nil {
			return fin, err
		}
	}
}

// elsewhere makes the folder in which Begin and Terminate run if the job was submitted on another node. It is beside
// the job's result, so that what Terminate writes is kept as long. It returns an empty path for a job of this node, or
// if the folder cannot be made.
func (r *ender) elsewhere(j *Job) string {
	j.mu.Lock()
	own := j.own()
	j.mu.Unlock()
	dir := r.results.AwayFolder(j.Name)
	if own || os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// maxLeft bounds how many of the files that Terminate has left are named in the status.
const maxLeft = 20

// leftIn notes where Terminate ran and which files it has left there, if the job was submitted on another node. j.mu is
// held.
func (r *ender) leftIn(j *Job) *api.Elsewhere {
	dir := r.results.AwayFolder(j.Name)
	if j.own() || store.SizeOf(dir) < 0 {
		return nil
	}
	e := &api.Elsewhere{Node: r.net.Name(), Folder: dir}
	files, _ := os.ReadDir(dir)
	for _, f := range files[:min(len(files), maxLeft)] {
		e.Files = append(e.Files, f.Name())
	}
	return e
}

// emptyPartial makes a partial without any unit, by a generation that is leased no packet.
func (r *ender) emptyPartial(j *Job) (string, error) {
	dir := r.blobs.JobDir(j.s.ID)
	work := filepath.Join(dir, "gen-empty")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return "", fmt.Errorf("could not finish: %w", err)
	}
	var g exec.Generation
	err := r.use(r.ctx, j, func(p exec.Program, desc *tasks.Job) (err error) {
		input, err := j.inputFor(desc)
		if err == nil {
			g, err = p.Start(r.ctx, r.workers.Limits.Spec(desc, input, j.s.ID.Seed(), work), emptySink{j, r.net.Name()})
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("could not finish: %w", err)
	}
	s, err := g.Seal(r.ctx, filepath.Join(dir, "empty"))
	return s.Path, err
}

type emptySink struct {
	j    *Job
	node string
}

func (emptySink) PacketDone(exec.Done) {}
func (emptySink) Failed(*exec.Failure) {}
func (s emptySink) Output(line string) { s.j.Printed(s.node, line) }

// remember keeps the rate that was measured for a job, for the next job with the same code.
func (r *ender) remember(j *Job) {
	j.mu.Lock()
	rate := j.s.View.Nodes[r.net.ID()].Stats.Rate / float64(max(r.cfg.Slots, 1))
	j.mu.Unlock()
	if rate > 0 {
		r.book.SetRate(j.s.CodeKey, rate)
	}
}

// FailJob ends a job that is led here and cannot have a result.
func (r *ender) FailJob(e engine.FailJob) {
	j := r.book.ByID(e.ID)
	if j == nil {
		return
	}
	r.spawn(func() {
		r.snapshot(j)
		j.With(func(s *State) { s.Status.Cause = []byte(e.Failure.Cause) })
		r.failLed(j, r.failure(e.Failure.Reason, e.Failure))
	})
}

// failure is the error that the user is told of a job that has no result because of f.
func (r *ender) failure(what string, f ledger.Failed) *api.Error {
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
	hint := fmt.Sprintf("failed %s (%s) on %s", times, f.Kind, strings.Join(r.cluster.Called(f.Nodes), ", "))
	if f.Kind == string(exec.KindSchema) {
		hint += "; " + api.BranchAdvice(f.Reason)
	}
	return &api.Error{Message: msg, Hint: hint}
}

// failLed ends a job that is led here, and that has a ledger, with an error.
func (r *ender) failLed(j *Job, err error) {
	state, msg, hint := r.explain(j, err)
	r.conclude(j, state, msg, hint)
}

// failPreparing ends a job that has no ledger yet with an error.
func (r *ender) failPreparing(j *Job, err error) {
	state, msg, hint := r.explain(j, err)
	r.endLed(j, state, msg, hint)
}

func (r *ender) explain(j *Job, err error) (state api.JobState, msg, hint string) {
	state = api.Failed
	if j.ctx.Err() != nil && r.ctx.Err() == nil {
		state = api.Cancelled
	}
	msg = err.Error()
	if state == api.Cancelled {
		j.mu.Lock()
		early := j.s.Early
		j.mu.Unlock()
		return state, "cancelled", early
	}
	var e *api.Error
	var f *exec.Failure
	if errors.As(err, &e) {
		hint = e.Hint
	}
	if errors.As(err, &f) {
		if f.Kind == exec.KindDisk && hint == "" {
			hint = "free space on that disk of " + r.net.Name() + ", and submit the job again"
		}
		j.crashed(r.net.Name(), f, -1)
		for _, more := range []string{f.Stack, f.Tail} {
			if more = strings.TrimSpace(more); more != "" {
				msg += "\n" + more
			}
		}
	}
	return state, msg, hint
}

// conclude proposes a job's end to its ledger. JobEnded is called when a quorum has it. Only the first call has an
// effect.
func (r *ender) conclude(j *Job, state api.JobState, msg, hint string) {
	j.mu.Lock()
	again := j.s.Concluding
	j.s.Concluding = true
	if j.s.Ended.IsZero() {
		j.s.Ended = time.Now()
	}
	j.mu.Unlock()
	if again {
		return
	}
	st := r.finalStatus(j, state, msg, hint)
	var result ledger.Result
	path := r.results.Path(j.Name)
	if (state == api.Done || state == api.Partial) && store.SizeOf(path) >= 0 {
		sum, err := store.HashFile(path)
		if err != nil {
			r.log.Error("could not read a job's result", "job", api.Short(j.Name), "reason", err)
		} else {
			result.SHA256, result.Size, st.SHA256 = sum, store.SizeOf(path), sum
			r.blobs.Add(sum, path)
		}
	}
	result.Status = packStatus(st)
	end := engine.Finished{ID: j.ID(), Result: result}
	j.mu.Lock()
	j.s.End = &end
	j.mu.Unlock()
	r.loop.Post(end)
}

// finalStatus is the status of a job that ends in this state, with this error and hint.
func (r *ender) finalStatus(j *Job, state api.JobState, msg, hint string) api.JobStatus {
	ends := &Job{Name: j.Name, self: j.self}
	j.With(func(s *State) { ends.s = *s })
	if state == api.Partial || state == api.Done && ends.s.Valued {
		ends.s.Status.PartsSHA256 = ends.s.MadeOf
	}
	ends.finalise(state, msg, hint)
	return r.StatusOf(ends)
}

// packStatus encodes a status for the ledger. It drops the least important parts of a status that is too long for that.
func packStatus(st api.JobStatus) []byte {
	for _, cut := range []func(){
		func() {},
		func() { st.Stdout = tailOf(st.Stdout, ledger.MaxStatus/4) },
		func() {
			for i := range st.Missing {
				st.Missing[i].Stack, st.Missing[i].Tail = "", ""
			}
		},
		func() { cutLists(&st) },
		func() { st.Stdout, st.Nodes = "", nil },
	} {
		cut()
		if b, err := json.Marshal(st); err == nil && len(b) <= ledger.MaxStatus {
			return b
		}
	}
	b, _ := json.Marshal(api.JobStatus{
		ID:          st.ID,
		State:       st.State,
		SHA256:      st.SHA256,
		PartsSHA256: st.PartsSHA256,
		Appends:     st.Appends,
		Error:       tailOf(st.Error, 1<<10),
		Submitted:   st.Submitted,
		Units:       st.Units,
		Done:        st.Done,
		Unknown:     st.Unknown,
	})
	return b
}

// cutLists keeps the first elements of what may be long in a status, and says of what else there was.
func cutLists(st *api.JobStatus) {
	const most = 50
	st.Missing, st.Skipped, st.Left = st.Missing[:min(len(st.Missing), 200)], nil, nil
	notes := slices.Clone(st.Notes[:min(len(st.Notes), most)])
	if n := len(st.Notes) - most; n > 0 {
		notes = append(notes, fmt.Sprintf("there are %d notes more", n))
	}
	if n := len(st.OutputFiles); n > most {
		st.OutputFiles = st.OutputFiles[:most]
		notes = append(notes, fmt.Sprintf("of %d files beside the output %d are named; all are in the result", n, most))
	}
	if n := len(st.Canvases); n > most {
		st.Canvases = st.Canvases[:most]
		notes = append(notes, fmt.Sprintf("of %d canvases that were saved %d are named", n, most))
	}
	if n := len(st.Unsaved); n > most {
		st.Unsaved = st.Unsaved[:most]
		notes = append(notes, fmt.Sprintf("of %d canvases that could not be saved %d are named", n, most))
	}
	st.Notes = notes
}

// tailOf is the end of a text, of about n bytes, or the whole text if it is shorter.
func tailOf(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "(cut)\n" + s[len(s)-n:]
}

// JobEnded makes a job final with the end that is in its ledger. It holds this node's copy of the ledger until the end
// is on disk. Only the engine's loop calls it.
func (r *ender) JobEnded(p *engine.Peer, e engine.JobEnded) {
	failpoint.Hit(failpoint.EndAfter)
	j, c := r.book.ByID(e.ID), r.ledgers.Of(e.ID)
	if c != nil {
		if j == nil {
			j = r.book.OfCopy(c)
		}
		j.mu.Lock()
		j.describedBy(c, r.book.Whole(c.ID, c.Job), r.titleOf(c.Job))
		j.mu.Unlock()
	}
	var st api.JobStatus
	if j == nil || json.Unmarshal(e.Result.Status, &st) != nil {
		return
	}
	if err := r.keepsForJob(j); err != nil {
		r.log.Error("keeps nothing of how a job ended", "reason", err)
		r.spawn(j.Release)
		return
	}
	st.ID, st.SHA256 = j.Name, e.Result.SHA256
	j.mu.Lock()
	own := j.own()
	j.mu.Unlock()
	first := j.Adopt(st, own) // false if this node has heard of the end from another one before
	if e.Result.SHA256 != "" {
		r.blobs.Add(e.Result.SHA256, r.results.Path(j.Name))
	}
	var kept store.MadeOf
	release := func() {}
	if c != nil {
		release = c.Hold()
		if v, ok := p.Ledger(e.ID); ok && st.PartsSHA256 != "" {
			kept.Parts = v.Parts
			if g, ok := p.Growth(e.ID); ok {
				kept.Grown = g.Grown
			}
		}
	}
	r.spawn(func() {
		if len(kept.Parts) > 0 {
			r.keepParts(j.Name, c, kept)
		}
		r.results.SaveEnd(j.Name, engine.Remember{
			ID:        e.ID,
			Term:      e.Term,
			Ended:     engine.Ended{Result: &e.Result},
			Submitter: j.submitter(),
			Recovery:  e.Recovery,
		})
		if first {
			r.SaveStatus(j)
		}
		release()
		if first {
			r.AfterEnd(j)
		}
		j.Release()
	})
}

// AfterEnd does what is left to do for a job that has just become final, when its final status is on disk.
func (r *ender) AfterEnd(j *Job) {
	j.mu.Lock()
	st := j.s.Status
	j.dropItems() // a job that others have led may be released here before its end is known
	j.mu.Unlock()
	r.log.Info("job ended", "job", api.Short(j.Name), "state", st.State, "reason", st.Error)
	close(j.Done)
	if st.Output != "" && r.results.Has(j.Name) {
		r.results.NoteFetched(j.Name) // the user has the result, as the output
	}
	r.DeliverLate(j)
	r.Sweep()
}

// endLed ends a job that has no ledger.
func (r *ender) endLed(j *Job, state api.JobState, msg, hint string) {
	if !j.finalise(state, msg, hint) {
		return
	}
	r.SaveStatus(j)
	r.AfterEnd(j)
	j.Release()
}

// SetAside logs that a node is given no more work of a job.
func (r *ender) SetAside(e engine.SetAside) {
	if e.Node == r.net.ID() && e.Reason == "" {
		r.log.Error("a job is taken from this node, since all of it fails here: see the failures above, and dtpnode doctor",
			"job", e.ID.Short())
		return
	}
	r.log.Warn("set a node aside for a job: all of it fails there", "job", e.ID.Short(),
		"node", r.cluster.Called([]tasks.PeerID{e.Node})[0], "reason", e.Reason)
}

// JobOver releases what a job holds here, since the engine has forgotten the job. Only the engine's loop calls it.
func (r *ender) JobOver(e engine.JobOver) {
	j := r.book.Over(e.ID)
	if r.ledgers.Of(e.ID) == nil {
		r.book.growths.forget(e.ID)
	}
	if j == nil {
		return
	}
	if e.Lost {
		r.log.Warn("gave a job up: no node has led it for too long", "job", api.Short(j.Name), "last led by", j.homeNow())
	}
	if !j.leads() {
		r.book.Past(j.Name)
		if j.s.SubmittedHere { // the user still wants to hear of the end, and may be owed the output
			r.spawn(func() { r.awaitEnds([]*awaited{{job: j, restored: true}}) })
		}
	}
	// The folder is moved out of the way at once, since the job may be prepared anew, and is removed when the children
	// that use it have gone.
	dir := r.blobs.JobDir(e.ID)
	r.blobs.ForgetFolder(dir)
	r.values.Drop(e.ID)
	trash, err := os.MkdirTemp(r.cfg.ScratchDir, ".old-*")
	if err == nil {
		err = os.Rename(dir, filepath.Join(trash, "job"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // there is no folder on a replica that has run nothing of the job
		r.log.Warn("could not put a job's folder away", "dir", dir, "reason", err)
	}
	r.spawn(func() {
		j.Release()
		_ = os.RemoveAll(trash)
		r.loop.Ask(func(*engine.Peer) {
			if r.book.ByID(e.ID) == nil {
				_ = os.Remove(dir) // an empty one, of a program that was ready just as the job was over
			}
		})
	})
}

// RemoveResult removes the result of a job that ends without one, in case it was written already.
func (r *ender) RemoveResult(j *Job) {
	if r.keepsForJob(j) == nil {
		_ = os.Remove(r.results.Path(j.Name))
	}
}

// StoppedEarly is the hint for a user who stops a job that has not begun.
const StoppedEarly = "it was stopped before it had begun, so there is no partial result"

// EndSealed keeps the proof of a job's end. It writes in another goroutine, and holds the copy of the ledger until
// then, so that a crash cannot lose both. Only the engine's loop calls it.
func (r *ender) EndSealed(e engine.EndSealed) {
	j, c := r.book.ByID(e.ID), r.ledgers.Of(e.ID)
	name := ""
	switch {
	case j != nil:
		name = j.Name
	case c != nil:
		name = r.book.OfCopy(c).Name
	}
	if name == "" || r.keepsFor(name, e.ID, e.Submitter) != nil {
		return
	}
	release := func() {}
	if c != nil {
		release = c.Hold()
	}
	r.spawn(func() {
		defer release()
		r.results.SaveEnd(name, engine.Remember(e))
	})
}

// restartSession is startSession for a job whose generations have had their input.
func (r *ender) restartSession(j *Job) error {
	input, err := r.startSession(j)
	if input != "" {
		_ = os.Remove(input)
	}
	return err
}

// startSession starts the process of the submitting side, which replaces an earlier one, and runs Begin in it. What
// that has made for generations is in a file, which the caller removes.
func (r *ender) startSession(j *Job) (input string, err error) {
	dir, env := r.surroundings(j)
	away := dir == ""
	if away {
		dir = r.elsewhere(j)
	}
	var session exec.Session
	err = r.use(j.ctx, j, func(p exec.Program, _ *tasks.Job) (err error) {
		session, err = p.Session(j.ctx, exec.SessionSpec{
			Dir: dir, Env: env, Away: away, Inputs: j.inputs, Out: j.clientLine, OutputDir: j.outputDir(),
			Mark: j.outputMark(), Hints: j.hints, Odd: j.oddStands(),
			Taken: j.taken.without,
		})
		return err
	})
	if err != nil {
		return "", err
	}
	j.mu.Lock()
	old, over := j.s.Session, j.s.Freed
	if over {
		old = session
	} else {
		j.s.Session = session
	}
	j.mu.Unlock()
	if old != nil {
		old.Close()
	}
	if over {
		return "", ErrOver
	}
	return session.Begin(j.ctx)
}

// sweepEvery is how often results that have expired are removed.
const sweepEvery = time.Hour

// Sweep removes what is kept of finished jobs for longer than store.Retention says.
func (r *ender) Sweep() {
	r.ExpireUnfinished()
	r.asides.Prune()
	r.data.Prune(time.Now(), r.cfg.KeepFor)
	forget, drop := r.cfg.Retention.Expired(time.Now(), r.FinishedJobs())
	for _, f := range drop {
		r.results.RemoveOutput(f.Name)
	}
	for _, f := range forget {
		r.ForgetJob(f.Name)
	}
}

// sweepOften sweeps until the daemon closes.
func (r *ender) sweepOften() {
	r.spawn(r.deliverOften)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
			r.Sweep()
		}
	}
}
