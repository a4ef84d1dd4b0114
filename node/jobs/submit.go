package jobs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Submit accepts a job, which this node will lead. It returns before the job is prepared: errors in the job are found
// later, and end up in the job's status.
func (r *Room) Submit(req api.JobRequest) (*Job, error) {
	return r.accept(req, len(req.Files), r.lead)
}

// accept enters a new job of this node's user, and calls lead for it in another goroutine.
func (r *Room) accept(req api.JobRequest, files int, lead func(j *Job, nonce []byte) error) (*Job, error) {
	if out := r.cluster.Expelled(); out != nil {
		return nil, &api.Error{Status: 403, Message: "could not submit: " + out.String(), Hint: api.ExpelledHint}
	}
	if !r.net.HasRight(r.net.ID(), p2p.Submitter) {
		return nil, &api.Error{Status: 403, Message: "could not submit: this node has no right to submit jobs in its cluster",
			Hint: "ask for an invitation with the right: dtpnode invite --rights submitter,worker"}
	}
	if err := checkLimits(req); err != nil {
		return nil, err
	}
	if req.StaysOpen && (req.First > 0 || req.N >= 0) {
		return nil, &api.Error{
			Status: http.StatusBadRequest,
			Message: "could not submit: an open job runs over all that there is, and a first entry or a number of entries is " +
				"asked for",
		}
	}
	var salt tasks.NonceSalt
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("could not name the job: %w", err)
	}
	nonce := r.tricks.Named(tasks.NonceOf(r.net.ID(), salt))
	j := r.book.New(hex.EncodeToString(nonce))
	j.s.Home, j.s.Led, j.s.SubmittedHere, j.s.Req = r.net.ID(), true, true, req
	words := r.runtimes.Words(req.Kind)
	j.s.Status = api.JobStatus{
		ID: j.Name, Kind: req.Kind, Home: j.s.Home, HomeName: r.net.Name(),
		Title: words.Title(req.Title), Unit: words.Units,
		State: api.Preparing, Phase: "starting", Submitted: time.Now(), Files: files, Output: req.Output,
	}
	r.book.Add(j)
	r.SaveStatus(j)
	r.spawn(func() {
		if err := lead(j, nonce); err != nil {
			r.failPreparing(j, err)
		}
	})
	return j, nil
}

// lead prepares a job to be led here: it plans the files, has the program described, runs Begin, tries the first entry
// and hands the complete description to the engine.
func (r *Room) lead(j *Job, nonce []byte) error {
	h, err := r.runtimes.Choose(j.s.Req.Kind, j.s.Req.Version, j.s.Req.Needs...)
	rt, leads := r.leadsOnly(j, err)
	if !leads {
		if rt, err = r.chosen(j, h, err); err != nil {
			return withHint(err, leaderNeeds)
		}
	}
	read, err := r.readAndDescribe(rt, j)
	if err != nil {
		return err
	}
	desc, err := r.compose(j, nonce, read.Files, read.Bad)
	if err != nil {
		return err
	}
	j.phase(api.Preparing, "running Begin")
	if err := r.begin(j, desc); err != nil {
		return err
	}
	if err := r.probe(j, desc); err != nil {
		return err
	}
	return r.Publish(j, desc, nil)
}

// leaderNeeds is the advice for a user whose job this node cannot lead.
const leaderNeeds = "this node needs what the job runs with, to lead it: see dtpnode doctor"

// readAndDescribe plans a job's files and has its program described, both at the same time. A job without files runs
// over the items that its program counts.
func (r *Room) readAndDescribe(rt exec.Runtime, j *Job) (read plan.Read, err error) {
	if err := r.expand(rt, j); err != nil {
		return read, err
	}
	tell := func(text string) { j.phase(api.Preparing, text) }
	chooses := chooses(j.s.Req)
	g, ctx := errgroup.WithContext(j.ctx)
	g.Go(func() (err error) {
		read, err = r.planner.Files(ctx, rt, j.s.Req, r.openLimit(j.s.Req), tell)
		j.note(read.Notes...)
		return err
	})
	g.Go(func() error {
		if more := r.planner.MoreOn(ctx, j.s.Req); more != "" {
			j.note(more)
		}
		return nil
	})
	if !chooses {
		g.Go(func() error { return r.describe(ctx, rt, j, nil, nil) })
	}
	if err := g.Wait(); err != nil {
		return read, err
	}
	if chooses {
		if err := r.selectAndDescribe(rt, j, &read, tell); err != nil {
			return read, err
		}
	}
	j.mu.Lock()
	items := j.s.Items
	j.mu.Unlock()
	switch {
	case items > 0 && len(j.s.Req.Files) > 0:
		return read, &api.Error{
			Status:  http.StatusBadRequest,
			Message: "could not submit: the job has items of its own, and files are named too",
			Hint:    "leave the files out",
		}
	case items > 0:
		read.Files = []tasks.File{{Entries: items}}
	}
	return read, nil
}

// expand replaces objects in files that a request names by the files that they name.
func (r *Room) expand(rt exec.Runtime, j *Job) error {
	req, err := r.planner.Expand(j.ctx, rt, j.s.Req)
	if err == nil && req.StaysOpen && len(req.EntryLists)+len(req.Friends) > 0 {
		err = api.OpenHasNoNumbers() // of a dataset or a chain, or asked for by another program than run
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s.Req, j.s.Status.Files = req, len(req.Files)
	return nil
}

// chooses reports whether a request is for some entries alone, or for inputs beside its files.
func chooses(req api.JobRequest) bool {
	return len(req.EntryLists) > 0 || len(req.Friends) > 0 || len(req.Aliases) > 0
}

// selectAndDescribe has entries and friends of a job chosen, and then its program described, which ships what was
// chosen.
func (r *Room) selectAndDescribe(rt exec.Runtime, j *Job, read *plan.Read, tell func(text string)) error {
	noted := len(read.Notes)
	chosen, err := r.planner.Select(j.ctx, rt, j.s.Req, read, r.openLimit(j.s.Req), tell)
	if err != nil {
		return err
	}
	j.note(read.Notes[noted:]...)
	return r.describe(j.ctx, rt, j, nil, chosen)
}

// compose makes the job's description, which lacks only what Begin will add.
func (r *Room) compose(j *Job, nonce []byte, files []tasks.File, bad []tasks.Lost) (*tasks.Job, error) {
	data, err := tasks.NewDataset(files)
	if err != nil {
		return nil, err
	}
	if why := j.whole(); why != "" && j.s.Items == 0 {
		data.Whole = true
		j.note(wholeNote(why))
	}
	want, err := wanted(j.s.Req, data)
	if err != nil {
		return nil, err
	}
	if note := countedOver(j.s.Req, files, bad); note != "" {
		j.note(note)
	}
	return &tasks.Job{
		Protocol: tasks.Protocol, Submitter: r.net.ID(), Nonce: nonce, Work: j.ownWork(), Data: *data, Want: want,
		SeedLocal: j.s.Req.SeedLocal, Open: j.s.Req.StaysOpen, Bad: bad, Ask: askOf(j), Limits: limitsOf(j.s.Req),
	}, nil
}

// countedOver says what the numbers of a range count where files are missing; empty if none are, or all is wanted.
func countedOver(req api.JobRequest, files []tasks.File, bad []tasks.Lost) string {
	if len(bad) == 0 || req.First == 0 && req.N < 0 {
		return ""
	}
	more := ""
	if len(bad) > 1 {
		more = fmt.Sprintf(" and %d more", len(bad)-1)
	}
	return fmt.Sprintf("as in a TChain, the first entry and the number of entries that are asked for count in the %d "+
		"files that can be read, and nothing for %s%s: with all files the range is another one", len(files),
		bad[0].File, more)
}

// wanted are the units that a request is for.
func wanted(req api.JobRequest, data *tasks.Dataset) (tasks.Range, error) {
	space := data.Space()
	if req.First > space.Last {
		return tasks.Range{}, &api.Error{
			Message: fmt.Sprintf("could not begin at entry %d: the files that can be read have %d entries", req.First,
				space.Last),
			Hint: "--first counts from 0, over all files in their order, and with --entry-list over the listed entries alone",
		}
	}
	want := tasks.R(req.First, space.Last)
	if req.N >= 0 && req.N < want.Len() {
		want.Last = want.First + req.N
	}
	return want, nil
}

// checkLimits refuses limits that no child can work with, before anything is done for the job.
func checkLimits(req api.JobRequest) error {
	if req.Abandon < 0 || req.Abandon > 0 && !req.StaysOpen {
		return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("could not submit: %v seconds after which it "+
			"is closed, want none for a job that does not stay open, and else 0 or more", req.Abandon)}
	}
	if err := limitsOf(req).Check(); err != nil {
		return &api.Error{Status: http.StatusBadRequest, Message: "could not submit: " + err.Error(), Err: err}
	}
	return nil
}

// durationOf is so many seconds. A duration that overflows becomes the longest possible one.
func durationOf(seconds float64) time.Duration {
	if seconds >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// stallOf is how long an entry may take, of what a request says of it, and stallSeconds is what a request says.
func stallOf(seconds float64) time.Duration {
	if seconds == api.NoLimit {
		return tasks.NoLimit
	}
	return durationOf(seconds)
}

func stallSeconds(d time.Duration) float64 {
	if d == tasks.NoLimit {
		return api.NoLimit
	}
	return d.Seconds()
}

// limitsOf are the limits that a job's user has set.
func limitsOf(req api.JobRequest) tasks.Limits {
	seconds := durationOf
	return tasks.Limits{
		Memory: req.Memory, Stall: stallOf(req.Stall), Open: seconds(req.Open), EntryCPU: seconds(req.EntryCPU),
		Processes: req.Processes, FileSize: req.FileSize, Scratch: req.Scratch,
	}
}

// probe runs the first entry in a process that is thrown away, so that what would fail everywhere is found before any
// worker starts. A program that passed with the same file is not probed again.
func (r *Room) probe(j *Job, desc *tasks.Job) error {
	if desc.Want.Empty() {
		return nil
	}
	first, key, local, ok := firstSeen(desc)
	begins := first.Base+first.First == desc.Want.First
	if !ok {
		return nil // this host sees none of the files, so errors are found by the first node that opens one
	}
	j.mu.Lock()
	mark := markOf(j.s.CodeKey, key, first.First, desc)
	j.mu.Unlock()
	if local && r.planner.Probed(mark) {
		return nil
	}
	j.phase(api.Preparing, "trying the first entry")
	dir, err := os.MkdirTemp(r.cfg.ScratchDir, "probe-")
	if err != nil {
		return fmt.Errorf("could not make a folder for trying the first entry: %w", err)
	}
	defer os.RemoveAll(dir)
	var seen exec.Foreseen
	err = r.use(j.ctx, j, func(p exec.Program, _ *tasks.Job) (err error) {
		spec := r.workers.Limits.Spec(desc, j.inputPath(), 1, dir)
		if ahead, ok := p.(exec.Foreseer); ok {
			seen, err = ahead.Foresee(j.ctx, spec, append([]exec.Packet{first}, nextSeen(desc, first)...))
			return err
		}
		return p.Try(j.ctx, spec, first.File, first.Part)
	})
	var fail *exec.Failure
	if errors.As(err, &fail) && (!everywhere(fail) || hostsOwn(fail) && len(r.cluster.Up()) > 0) {
		return nil // only this entry, file or host may be bad, so the job goes on
	}
	if fail != nil && fail.Kind == exec.KindSchema {
		return &api.Error{Message: err.Error(), Hint: api.BranchAdvice(fail.Msg), Err: err}
	}
	if err != nil {
		return err
	}
	shown := seen
	if !begins { // of other entries than the first nothing is to be announced
		shown.Hints = nil
	}
	foreseen(j, desc, shown)
	if len(seen.Hints) == 0 && seen.Whole == "" { // what is foreseen is for each job anew
		r.planner.SetProbed(mark)
	}
	return nil
}

// foreseen adds to the description of a job what its first entries have shown.
func foreseen(j *Job, desc *tasks.Job, seen exec.Foreseen) {
	desc.Hints = seen.Hints
	if seen.Whole == "" || desc.Data.Whole {
		return
	}
	desc.Data.Whole = true
	needsOf(desc)
	j.note(wholeNote(seen.Whole))
}

// markOf names a program with what its first entry is tried with: the same may pass or fail with another input, or have
// something to announce of another entry.
func markOf(code string, file plan.FileKey, entry int64, desc *tasks.Job) string {
	return fmt.Sprintf("%s %+v %d %x %s", code, file, entry, sha256.Sum256(desc.Input), desc.Begun.SHA256)
}

// firstSeen is a packet that begins at the first wanted entry of the first file with any that this host seems to see;
// ok is false if there is none.
func firstSeen(desc *tasks.Job) (p exec.Packet, key plan.FileKey, local, ok bool) {
	i, first := desc.Data.Locate(desc.Want.First)
	for ; i < len(desc.Data.Files) && desc.Data.Units(i).First < desc.Want.Last; i++ {
		f, units := desc.Data.Files[i], desc.Data.Units(i)
		if f.Entries == 0 {
			continue
		}
		var err error
		if key, local, err = plan.KeyOf(f.URL, f.Part); err == nil {
			return exec.Packet{
				File: f.URL, Part: f.Part, First: first, End: min(units.Last, desc.Want.Last) - units.First,
				Base: units.First, Start: desc.Data.Start(i),
			}, key, local, true
		}
		first = 0
	}
	return p, key, local, false
}

// everywhere reports whether the failure of the first entry would happen with every entry.
func everywhere(f *exec.Failure) bool {
	switch f.Kind {
	case exec.KindSchema, exec.KindCode:
		return true
	}
	return f.Stage != ""
}

// hostsOwn reports whether a failure may be due to this host, because the program gave up before any input.
func hostsOwn(f *exec.Failure) bool { return f.Kind == exec.KindAbort && f.Stage == exec.StageStart }

// Publish signs the complete description, serves it to other nodes and hands it to the engine. base are the partials of
// an earlier job with which the job begins.
func (r *Room) Publish(j *Job, desc *tasks.Job, base []baseBlob) error {
	begun := time.Now()
	submitted, _ := j.ledSince()
	desc.Ask.Submitted, desc.Ask.Begun = submitted.Round(0), begun.Round(0)
	body, err := wire.Marshal(desc)
	if err != nil {
		return err
	}
	if len(body) > store.MaxDescription {
		return fmt.Errorf("could not submit: the description of %d files has %d bytes, the limit is %d", len(desc.Data.Files),
			len(body), store.MaxDescription)
	}
	id := tasks.NameOf(body)
	if _, err := r.blobs.Put(r.blobs.JobDir(id), body); err != nil { // removed when the job is over
		return err
	}
	parts, err := r.placeBase(id, base)
	if err != nil {
		return err
	}
	r.NoteHeavy(j, weightOf(body))
	j.mu.Lock()
	j.s.ID, j.s.Desc, j.s.Running = id, desc, begun
	j.s.Status.Units = desc.Want.Len()
	key := j.s.CodeKey
	j.mu.Unlock()
	r.book.Identify(id, j)
	leads := j.s.LeadOnly // not changed any more
	rate := r.book.Rate(key)
	if j.ctx.Err() != nil { // the job was cancelled before it had an id, by which the engine could have been told
		r.book.Over(id)
		r.blobs.ForgetFolder(r.blobs.JobDir(id))
		_ = os.RemoveAll(r.blobs.JobDir(id))
		return j.ctx.Err()
	}
	j.phase(api.Running, "")
	r.SaveStatus(j)
	r.hand(j, engine.Submit{ID: id, Job: desc, Rate: rate, Base: parts, LeadOnly: leads})
	return nil
}

// hand gives a job to the engine. If the job was cancelled before, the engine did not know it then, so that is posted
// again.
func (r *Room) hand(j *Job, s engine.Submit) {
	r.loop.Post(s)
	j.mu.Lock()
	end := j.s.End
	j.mu.Unlock()
	if j.ctx.Err() != nil {
		r.loop.Post(engine.CancelJob{ID: s.ID})
	}
	if end != nil {
		r.loop.Post(*end)
	}
}

// withHint adds advice to an error that has none.
func withHint(err error, hint string) error {
	var e *api.Error
	if errors.As(err, &e) {
		return err
	}
	return &api.Error{Message: err.Error(), Hint: hint, Err: err}
}

// maxForeseen bounds the files whose entries are looked at to foresee something of a job.
const maxForeseen = 200

// nextSeen are packets of the files that follow that of first, as far as this host seems to see all of them.
func nextSeen(desc *tasks.Job, first exec.Packet) (ps []exec.Packet) {
	i, _ := desc.Data.Locate(first.Base + first.First)
	for i++; i < len(desc.Data.Files) && desc.Data.Units(i).First < desc.Want.Last && len(ps) < maxForeseen; i++ {
		f, units := desc.Data.Files[i], desc.Data.Units(i)
		if _, _, err := plan.KeyOf(f.URL, f.Part); err != nil {
			break
		}
		if f.Entries > 0 {
			ps = append(ps, exec.Packet{
				File: f.URL, Part: f.Part, End: min(units.Last, desc.Want.Last) - units.First, Base: units.First,
				Start: desc.Data.Start(i),
			})
		}
	}
	return ps
}
