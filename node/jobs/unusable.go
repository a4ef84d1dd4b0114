package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// A partial is committed when its counters are right; nobody reads its objects then. A member that lies, or whose
// memory is bad, may have put anything there. That is found when a merge fails: each committed partial is merged with
// itself, and what cannot be is committed no more, so that its units run again, elsewhere.

const (
	mostRedone = 5               // times: what fails then as well is the fault of the user's code
	aloneWait  = 5 * time.Minute // for the merge of one partial
)

// unusable are partials that cannot be merged, or with which others cannot, each with the reason. None are where the
// code itself fails to merge, or what this node has made.
func (r *copies) unusable(j *Job, parts []merge.Partial) map[merge.ID]string {
	bad, makers := map[merge.ID]string{}, map[tasks.PeerID]bool{}
	for _, p := range parts {
		path, err := r.ledgers.CheckKept(p.Job, p)
		if err != nil {
			continue // it is fetched, or is replaced
		}
		err = r.mergeAlone(j, p, path)
		switch {
		case err == nil:
		case r.ctx.Err() != nil, j.ctx.Err() != nil, store.DiskError(err) != nil, !fromBlob(err), p.ID.Node == r.net.ID():
			return nil
		default:
			bad[p.ID] = why(strings.ReplaceAll(err.Error(), r.ledgers.KeptPath(p.Job, p), "it"))
			makers[p.ID.Node] = true
		}
	}
	if len(bad) == len(parts) && len(makers) > 1 {
		return nil
	}
	if len(bad) == 0 {
		return r.excessive(j, parts, 1)
	}
	return bad
}

// fromBlob reports whether a merge may have failed for what its inputs hold.
func fromBlob(err error) bool {
	var f *exec.Failure
	if errors.Is(err, errMiscounted) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if !errors.As(err, &f) {
		return false
	}
	switch f.Kind {
	case exec.KindDisk, exec.KindKilled, exec.KindMemory, exec.KindCode, exec.KindLacks:
		return false
	}
	return true
}

var errMiscounted = errors.New("it counts something else once it is merged")

// mergeAlone merges a committed partial with itself.
func (r *copies) mergeAlone(j *Job, p merge.Partial, path string) error {
	out := filepath.Join(r.cfg.ScratchDir, "alone-"+p.Job.Short())
	defer os.Remove(out)
	ctx, cancel := context.WithTimeout(r.ctx, aloneWait)
	defer cancel()
	var s exec.Partial
	err := r.use(ctx, j, func(program exec.Program, desc *tasks.Job) (err error) {
		s, err = mergeWith(ctx, program, desc, []string{path, path}, out, true)
		return err
	})
	if err == nil && (s.Units != 2*p.Units || s.Canary != 2*p.Canary) {
		err = errMiscounted
	}
	return err
}

// why is what a failure says in one short line.
func why(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return clipText(text, 200)
}

// rejectUnusable has the units of partials run again that cannot be merged, and reports whether there were any.
func (r *copies) rejectUnusable(j *Job, parts []merge.Partial) bool {
	return r.reject(j, func() map[merge.ID]string { return r.unusable(j, parts) })
}

// reject has the units of those partials run again that are found, each with a reason, and reports whether there are
// any.
func (r *copies) reject(j *Job, find func() map[merge.ID]string) bool {
	r.searching.Lock()
	defer r.searching.Unlock()
	j.mu.Lock()
	tried := j.s.Redone
	j.mu.Unlock()
	if tried >= mostRedone {
		return false
	}
	bad := find()
	if len(bad) == 0 {
		return false
	}
	j.mu.Lock()
	j.s.Redone++
	j.mu.Unlock()
	for id, reason := range bad {
		r.log.Error("a committed partial cannot be merged; its units run again", "job", api.Short(j.Name), "of",
			r.cluster.NameOf(id.Node), "node", id.Node, "reason", reason)
		r.loop.Post(engine.BlobUnusable{Job: j.ID(), ID: id, Reason: reason})
	}
	return true
}

// searchAll looks for partials that cannot be merged among all that are committed of a job, and reports whether there
// were any.
func (r *copies) searchAll(j *Job) bool {
	var v engine.LedgerView
	r.loop.Ask(func(p *engine.Peer) { v, _ = p.Ledger(j.ID()) })
	return r.rejectUnusable(j, v.Parts)
}

// redo has the units of partials run again for which the result of a job could not be made, and reports whether there
// are any. The engine asks for the result when they have been replaced.
func (r *ender) redo(j *Job, e engine.FinishJob, err error) bool {
	var f *exec.Failure
	if errors.As(err, &f) && f.Stage == exec.StageEnd || store.DiskError(err) != nil {
		return false
	}
	j.phase(api.Merging, fmt.Sprintf("the merge failed; looking for the reason in %d parts", len(e.Parts)))
	if !r.rejectUnusable(j, e.Parts) {
		return false
	}
	j.dropSession()
	return true
}

// dropSession ends the process that ran Begin: its state is unknown, if it lives at all.
func (j *Job) dropSession() {
	j.mu.Lock()
	session := j.s.Session
	j.s.Session = nil
	j.mu.Unlock()
	if session != nil {
		session.Close()
	}
}

// makeResult is writeResult, which fails where partials do not agree in what all generations were told. Those are
// looked for then, and it reports whether there are any. If not, it is the code that does so, and the result has all of
// them.
func (r *ender) makeResult(j *Job, e engine.FinishJob) (err error, again bool) {
	if r.reject(j, func() map[merge.ID]string { return r.excessive(j, e.Parts, noticed) }) {
		return nil, true
	}
	err = r.writeResult(j, e)
	if !errors.Is(err, exec.ErrOdd) || r.ctx.Err() != nil || j.ctx.Err() != nil {
		return err, false
	}
	found := r.rejectUnusable(j, e.Parts)
	j.mu.Lock()
	j.s.OddStands = !found
	j.mu.Unlock()
	j.dropSession()
	if found {
		return err, true
	}
	return r.writeResult(j, e), false
}

func (j *Job) oddStands() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.OddStands
}
