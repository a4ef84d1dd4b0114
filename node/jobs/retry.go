package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// A retry is a new job with the description of an earlier one, and begins with the partials that the earlier one has
// committed (engine.Submit.Base). Units have the same numbers in both jobs. The partials are offered, copied to the
// replicas and committed like any others, so that the rules R1 to R3 hold for both jobs together, and only what they do
// not cover runs. Files that could not be read when the earlier job was planned had no units there, so their units come
// after all others.

// baseBlob is a partial that a job begins with, and the path of its blob until the job has an id.
type baseBlob struct {
	merge.Partial
	path string
}

// placeBase moves the blobs with which a job begins into the folder of the partials that are made here.
func (r *Room) placeBase(id tasks.JobID, base []baseBlob) (parts []merge.Partial, err error) {
	for _, b := range base {
		path := r.blobs.Partial(id, b.ID)
		if err := os.Rename(b.path, path); err != nil {
			return nil, fmt.Errorf("could not take over what is done: %w", err)
		}
		r.blobs.Add(b.SHA256, path)
		parts = append(parts, b.Partial)
	}
	return parts, nil
}

// Retry submits a job that runs what is missing in another's result.
func (r *Room) Retry(ctx context.Context, name string, req api.RetryRequest) (*Job, error) {
	old, at, st, err := r.granted(ctx, name, members.ForLook)
	if err != nil {
		return nil, err
	}
	if st.State != api.Partial {
		return nil, notRetried(st)
	}
	found, err := r.FindParts(ctx, at, st)
	if err != nil {
		return nil, RetryLost(st, err)
	}
	again := requestAgain(found.desc, req)
	if old != nil {
		old.mu.Lock()
		own := old.own()
		old.mu.Unlock()
		if dir, env := r.surroundings(old); own && dir != "" {
			again.Dir, again.Env = dir, env
		}
		if own {
			again.Output = cmp.Or(again.Output, found.desc.Ask.Output)
			again.OutputDir = found.desc.Ask.OutputDir
			again.Spares = r.sparesOf(old)
		}
	}
	j, err := r.accept(again, st.Files, func(j *Job, nonce []byte) error { return r.leadAgain(j, nonce, found) })
	if err == nil {
		j.mu.Lock()
		j.s.Status.RetryOf = st.ID
		j.mu.Unlock()
	}
	return j, err
}

// RetryLost is the error for a job that cannot be retried, since nobody who can be reached has the partials that its
// result was made of.
func RetryLost(st api.JobStatus, why error) error {
	var none *NotKept
	if !errors.As(why, &none) {
		return why
	}
	id := api.Short(st.ID)
	return &api.Error{
		Status:  http.StatusGone,
		Message: fmt.Sprintf("could not retry job %s: %v", id, why),
		Hint: fmt.Sprintf("that is kept as long as the result, a day after the output was written or fetched; run %s anew "+
			"with `dtpnode run`, or the missing entries of a file alone: --files FILE --first N -n M; `dtpnode status %s` "+
			"lists them", st.Title, id),
	}
}

// notRetried is the error for a job of which there is nothing to be retried.
func notRetried(st api.JobStatus) error {
	id := api.Short(st.ID)
	e := &api.Error{
		Status:  http.StatusConflict,
		Message: fmt.Sprintf("could not retry job %s: it %s", id, st.State.Stands()),
	}
	switch st.State {
	case api.Done:
		e.Message, e.Hint = fmt.Sprintf("nothing is missing in the result of job %s", id), "dtpnode get "+id+" fetches it"
	case api.CannotFinish:
		e.Hint = "nothing is missing: " + api.Advice(st.ID, st.Unit)
	case api.Failed, api.Cancelled:
		e.Hint = "nothing of it is kept: submit it again with `dtpnode run`"
	default:
		e.Hint = "it has not ended: dtpnode attach " + id + " follows it, dtpnode cancel --keep " + id +
			" stops it with a partial result"
	}
	return e
}

// requestAgain is the request for a job, as far as its description tells it.
func requestAgain(desc *tasks.Job, req api.RetryRequest) api.JobRequest {
	out := requestOf(desc)
	out.Title, out.Spec, out.SeedLocal = cmp.Or(req.Title, out.Title), req.Spec, desc.SeedLocal
	if len(out.Spec) == 0 {
		out.Spec = []byte("{}") // nothing of the earlier job's spec is to change
	}
	out.Output, out.Dir = req.Output, req.Dir
	out.N = cmp.Or(desc.Ask.Most, -1)
	out.First = desc.Want.First
	l := desc.Limits
	out.Memory, out.Stall = cmp.Or(req.Memory, l.Memory), cmp.Or(req.Stall, stallSeconds(l.Stall))
	out.Open, out.EntryCPU, out.Processes = cmp.Or(req.Open, l.Open.Seconds()), cmp.Or(req.EntryCPU,
		l.EntryCPU.Seconds()), cmp.Or(req.Processes, l.Processes)
	out.FileSize, out.Scratch = cmp.Or(req.FileSize, l.FileSize), cmp.Or(req.Scratch, l.Scratch)
	return out
}

// leadAgain is lead for a job that begins with the partials of an earlier one.
func (r *Room) leadAgain(j *Job, nonce []byte, old *foundParts) error {
	work := old.desc.Work
	h, err := r.runtimes.For(work.Kind, work.Needs)
	var needs *exec.NeedsError
	if errors.As(err, &needs) {
		return &api.Error{
			Message: fmt.Sprintf("job %s ran with %s, and this node has %s: results of different versions are not mixed",
				api.Short(store.NameOf(old.desc)), exec.NeedsText(needs.Needs), exec.InfosText(needs.Has)),
			Hint: "retry it on a member with that version, or run it anew with `dtpnode run`",
		}
	}
	rt, err := r.chosen(j, h, err)
	if err != nil {
		return withHint(err, leaderNeeds)
	}
	j.phase(api.Preparing, "taking over what is done")
	stage, err := os.MkdirTemp(r.cfg.ScratchDir, "retry-")
	if err != nil {
		return fmt.Errorf("could not take over what is done: %w", err)
	}
	defer os.RemoveAll(stage)
	base, err := r.stageBase(j.ctx, stage, old)
	if err != nil {
		return err
	}
	if err := r.takeItems(j.ctx, j, old); err != nil {
		return err
	}
	earlier := r.earlier(j, old)
	chosen, lists, err := selectionOf(j.ctx, earlier)
	if err != nil {
		return err
	}
	files, bad, err := r.planAgain(j, rt, old, lists)
	if err != nil {
		return err
	}
	if chosen, err = r.friendsAgain(j, rt, old.desc, chosen); err != nil {
		return err
	}
	if err := r.describe(j.ctx, rt, j, earlier, chosen); err != nil {
		return err
	}
	desc, err := r.composeAgain(j, nonce, files, bad, old)
	if err != nil {
		return err
	}
	j.phase(api.Preparing, "running Begin")
	if err := r.begin(j, desc); err != nil {
		return err
	}
	if len(desc.Ask.Again.Ran) > 0 {
		if err := r.tryMended(j, rt, desc, base, old); err != nil {
			return err
		}
	}
	return r.Publish(j, desc, base)
}

// selectionOf is what an earlier job has chosen of its files: as a blob, and the lists of entries in it.
func selectionOf(ctx context.Context, earlier *exec.Order) ([]byte, []exec.List, error) {
	if _, ok := earlier.Work.Ship(exec.SelectionBlob); !ok {
		return nil, nil, nil
	}
	b, err := earlier.Fetch(ctx, exec.SelectionBlob)
	if err != nil {
		return nil, nil, err
	}
	s, err := exec.UnpackSelection(b)
	return b, s.Lists, err
}

// chooseAgain makes of files that can be read at last those of which only the entries in lists are run.
func chooseAgain(files []tasks.File, lists []exec.List) error {
	if len(lists) == 0 {
		return nil
	}
	for i, f := range files {
		var runs exec.Runs
		for _, l := range lists {
			if l.File == f.URL && (l.Part == f.Part || l.Part == "") {
				runs = l.Runs
			}
		}
		if err := plan.Chosen(&files[i], runs); err != nil {
			return err
		}
	}
	return nil
}

// earlier is the order to prepare the work of the job that is retried. What that job shipped comes from this node's
// disk, or from the member that keeps it.
func (r *Room) earlier(j *Job, old *foundParts) *exec.Order {
	work := old.desc.Work
	return &exec.Order{
		Submitter: old.desc.Submitter,
		Work:      work,
		Fetch: func(ctx context.Context, name string) ([]byte, error) {
			ship, ok := work.Ship(name)
			if !ok {
				return nil, fmt.Errorf("job %s ships no %s", api.Short(store.NameOf(old.desc)), name)
			}
			b, err := r.fetchWhole(ctx, old.at, ship.SHA256, ship.Size)
			if err != nil {
				return nil, fmt.Errorf("could not get the %s of job %s: %w", name, api.Short(store.NameOf(old.desc)), err)
			}
			return b, nil
		},
		FetchFile: func(ctx context.Context, name string) (string, error) {
			ship, ok := work.Ship(name)
			if !ok {
				return "", fmt.Errorf("job %s ships no %s", api.Short(store.NameOf(old.desc)), name)
			}
			path, err := r.shipped(ctx, j, old.Job, old.at, ship)
			if err != nil {
				return "", fmt.Errorf("could not get the %s of job %s: %w", name, api.Short(store.NameOf(old.desc)), err)
			}
			return path, nil
		},
	}
}

// stageBase brings the partials of an earlier job here, as they were committed.
func (r *Room) stageBase(ctx context.Context, dir string, old *foundParts) ([]baseBlob, error) {
	base := make([]baseBlob, len(old.Parts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, p := range old.Parts {
		b := baseBlob{Partial: p, path: filepath.Join(dir, fmt.Sprint(i))}
		// The numbers that a life of this node gives begin far above these.
		b.ID, b.Holder, b.Kids, b.Climb = merge.ID{Node: r.net.ID(), Seq: uint64(i + 1)}, r.net.ID(), nil, 0
		base[i] = b
		g.Go(func() error { return r.stage(ctx, b, old) })
	}
	if err := g.Wait(); err != nil {
		return nil, &api.Error{
			Message: fmt.Sprintf("could not take over what job %s has done: %v", api.Short(store.NameOf(old.desc)), err),
			Hint:    "run it anew with `dtpnode run`",
			Err:     err,
		}
	}
	return base, nil
}

func (r *Room) stage(ctx context.Context, b baseBlob, old *foundParts) error {
	here := r.results.PartPath(store.NameOf(old.desc), b.SHA256)
	if store.LinkVerified(here, b.path, b.SHA256) == nil {
		return nil
	}
	// on another file system
	err := durable.Place(b.path, func(f *os.File) error { return store.CopyVerified(f, here, b.SHA256) })
	if err == nil {
		return nil
	}
	asked := r.askAround(old.Job, old.at, b.SHA256, func(from tasks.PeerID) error {
		return durable.Place(b.path, func(f *os.File) error {
			_, err := r.net.Fetch(ctx, from, b.SHA256, min(b.Size, merge.MaxSize), f)
			return err
		})
	})
	if asked != nil && old.at == "" { // this node should have it
		return errors.Join(err, asked)
	}
	return asked
}

// planAgain looks at the files of an earlier job of which something is missing. Those that were planned must have the
// entries that they had then, where they can be read here; the others are found unreadable when they are run, or can be
// read by other members. Those that could not be read then are planned now, if they can be. There must be something to
// run.
func (r *Room) planAgain(
	j *Job, rt exec.Runtime, old *foundParts, lists []exec.List,
) ([]tasks.File, []tasks.Lost, error) {
	done, err := merge.Recommit(old.Parts, old.desc.Want)
	if err != nil {
		return nil, nil, err
	}
	open := tasks.CoverOf(old.desc.Want).Minus(done.Cover())
	j.phase(api.Preparing, "reading the files of which something is missing")
	files, bad := slices.Clone(old.desc.Data.Files), old.desc.Bad
	if err := r.compareFiles(j.ctx, rt, old.desc, open, files); err != nil {
		return nil, nil, err
	}
	// Otherwise the user has asked for a number of entries, and none of these is among them.
	if old.desc.Want.Last == old.desc.Data.Space().Last {
		var read []tasks.File
		if read, bad, err = r.planBad(j.ctx, rt, j, bad); err != nil {
			return nil, nil, err
		}
		if err := chooseAgain(read, lists); err != nil {
			return nil, nil, err
		}
		files = append(files, read...)
		if len(read) > 0 && len(files) > len(read) {
			j.note(fmt.Sprintf("what could not be read before, %s first, is numbered behind all other files: what counts "+
				"entries over all files, as Entry$ and Entries$ of a drawing do, is as if it stood at the end", read[0].URL))
		}
	}
	if open.Empty() && len(files) == len(old.desc.Data.Files) {
		return nil, nil, &api.Error{
			Message: fmt.Sprintf("nothing can be run: all that is missing are files that still cannot be read; "+
				"the first: %s: %s", bad[0].File, bad[0].Reason),
			Hint: "mend them, and retry then; `dtpnode status " + api.Short(store.NameOf(old.desc)) + "` lists them",
		}
	}
	return files, bad, nil
}

// compareFiles reads the files in which units lie, and fails if one has other entries than were planned. One that was
// written anew since, as a damaged file is mended, is the one that hosts must have now: that is noted in files.
func (r *Room) compareFiles(
	ctx context.Context, rt exec.Runtime, desc *tasks.Job, open tasks.Cover, files []tasks.File,
) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	limit := r.workers.Limits.For(desc.Limits).Open
	for i, f := range desc.Data.Files {
		if !open.Intersects(tasks.CoverOf(desc.Data.Units(i))) {
			continue
		}
		g.Go(func() error {
			p, err := r.planner.File(ctx, rt, f.URL, f.Part, limit)
			if err == nil && p.Entries != f.Total() {
				return &api.Error{
					Message: fmt.Sprintf("%s has changed: it had %d entries when the job was submitted, and has %d now; the result "+
						"holds entries of the file as it was", f.URL, f.Total(), p.Entries),
					Hint: "run the job anew with `dtpnode run`",
				}
			}
			if err == nil && f.UUID != "" {
				files[i].UUID = p.UUID
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// planBad plans files that could not be read when the earlier job was planned. Each is planned by itself, so that one
// that still cannot be read does not stop the others.
func (r *Room) planBad(
	ctx context.Context, rt exec.Runtime, j *Job, bad []tasks.Lost,
) (files []tasks.File, still []tasks.Lost, err error) {
	found := make([][]tasks.File, len(bad))
	now := slices.Clone(bad)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, l := range bad {
		g.Go(func() error {
			p, err := r.planner.File(gctx, rt, l.File, l.Part, r.workers.Limits.For(limitsOf(j.s.Req)).Open)
			var f *exec.Failure
			switch {
			case err == nil:
				found[i] = []tasks.File{plan.Planned(j.s.Req, l.File, p)}
			case errors.As(err, &f) && (f.Host != "" || plan.DamagedHere(f)):
				one := j.s.Req
				one.Files = []api.InputFile{{URL: l.File, Part: l.Part}}
				again, _ := r.planner.Files(gctx, rt, one, r.openLimit(one), func(string) {}) // this asks other members, too
				found[i] = again.Files
				j.note(again.Notes...)
				fallthrough
			default:
				now[i].Reason = plan.Reason(err)
				if f != nil {
					now[i].Reason = f.Msg
				}
			}
			return nil
		})
	}
	if _ = g.Wait(); ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	for i := range bad {
		if files = append(files, found[i]...); len(found[i]) == 0 {
			still = append(still, now[i])
		}
	}
	return files, still, nil
}

// composeAgain makes the description of a retry, all but what Begin adds.
func (r *Room) composeAgain(
	j *Job, nonce []byte, files []tasks.File, bad []tasks.Lost, old *foundParts,
) (*tasks.Job, error) {
	data, err := tasks.NewDataset(files)
	if err != nil {
		return nil, err
	}
	if why := j.whole(); why != "" && !hasItems(files) {
		data.Whole = true
		j.note(wholeNote(why))
	}
	desc := *old.desc
	desc.Submitter, desc.Nonce, desc.Data, desc.Bad = r.net.ID(), nonce, *data, bad
	if more := data.Space().Last; more > old.desc.Data.Space().Last {
		desc.Want.Last = more
	}
	if most := desc.Ask.Most; most > 0 {
		desc.Want.Last = min(desc.Want.Last, desc.Want.First+most)
	}
	desc.Input, desc.Begun = nil, tasks.Ship{}
	desc.Protocol, desc.Work, desc.Limits, desc.Ask = tasks.Protocol, j.ownWork(), limitsOf(j.s.Req), askOf(j)
	desc.Ask.Again = &tasks.Again{Job: store.NameOf(old.desc)}
	for _, p := range old.Parts {
		desc.Ask.Again.Units += p.Units
	}
	desc.Ask.Again.Ran = ranBefore(&desc, old.desc)
	return &desc, nil
}
