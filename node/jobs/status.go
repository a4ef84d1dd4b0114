package jobs

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// teller tells users and members of jobs, and finds out from members what they can prove of theirs.
type teller struct {
	*base
	*descriptions
}

// snapshot takes a led job's view out of the engine.
func (r *teller) snapshot(j *Job) {
	id := j.ID()
	if id == "" {
		return
	}
	var v engine.JobView
	var ok bool
	r.loop.Ask(func(p *engine.Peer) { v, ok = p.View(id) })
	if ok {
		j.mu.Lock()
		j.s.View = v
		j.mu.Unlock()
	}
}

// StatusOf describes a job that this node tells of. If it waits, that is told in place of what is being done.
func (r *teller) StatusOf(j *Job) api.JobStatus {
	st := r.FullStatus(j)
	if st.State.Halted() {
		return st
	}
	if why, hint := r.waits(j); why != "" {
		st.State, st.Phase, st.Hint, st.Rate = api.Waiting, why, hint, 0
		for i := range st.Nodes {
			st.Nodes[i].Rate = 0
		}
	}
	return st
}

// sumWork tells what is done of a job, by whom and how fast. Called with j.mu held.
func (j *Job) sumWork(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	v := j.s.View
	st.Unknown, st.Working = unknownFiles(j.s.Desc), j.s.Working.Seconds()
	if j.s.Working == 0 {
		st.Working = time.Since(j.s.Running).Seconds()
	}
	st.Committed = v.Committed.Len()
	st.Commits, st.Folds, st.Parts = v.Commits, v.Folds, v.Parts
	st.Done = min(st.Committed+v.Ran, st.Units)
	j.unfinished(st, names)
	switch st.State {
	case api.Done, api.Partial, api.CannotFinish, api.Merging: // of a job without a result what had been done is told
		st.Done = st.Committed
	}
	j.sumNodes(st, names)
	var counted int64
	for _, n := range st.Nodes {
		counted += n.Units
	}
	// else part of it was done before a node was started again
	if st.State.Final() && st.Working > 0 && 10*counted >= 9*(st.Done-st.Before) {
		st.Rate = float64(max(st.Done-st.Before, 0)) / st.Working
	}
}

// bytesKept is what this node keeps of a job's ledger on its disk.
func (r *teller) bytesKept(j *Job) int64 {
	if id := j.ID(); id != "" {
		return store.FolderBytes(r.ledgers.FolderOf(id))
	}
	return 0
}

// FullStatus describes a job that this node tells of, but for what it waits for.
func (r *teller) FullStatus(j *Job) api.JobStatus {
	if !j.Final() {
		r.snapshot(j)
	}
	names := r.cluster.Names()
	called := r.cluster.NameOf(j.submitter()) // before j.mu is held
	lapsed := r.cluster.NameOf(j.lapsed())
	kept := r.bytesKept(j) // a folder is not read while j.mu is held: the loop needs that
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.s.Status
	st.Submitter = j.submitterHeld()
	st.SubmitterName = cmp.Or(names[st.Submitter].Name, st.SubmitterName, called)
	st.HomeName = cmp.Or(names[st.Home].Name, st.HomeName) // as it is called now
	if j.s.Complete {
		return st
	}
	if !j.s.OutDone {
		st.Output = "" // it may be wanted there, and is not yet
	}
	end := j.s.Ended
	if end.IsZero() {
		end = time.Now()
	}
	st.Seconds = max(end.Sub(st.Submitted).Seconds(), 0) // another node's clock may have said when
	st.Apart, st.EndedIn = slices.Clone(j.s.Apart), j.s.EndedIn
	if j.s.Desc == nil {
		return st
	}
	if a := j.s.Desc.Ask.Again; a != nil {
		st.RetryOf, st.Before = a.Job, a.Units
	}
	j.sumWork(&st, names)
	st.Codes = codesOf(j.s.Desc, st.Committed)
	slices.SortFunc(st.Nodes, func(a, b api.NodeWork) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	st.Kept = kept
	st.Replicas, st.Safe = members.NamesOf(j.s.View.Replicas, names), j.s.View.Staffed
	if v := j.s.View; v.Lapsed != "" && !st.State.Halted() {
		st.Notes = append(slices.Clone(st.Notes), lapsedNote(j.Name, cmp.Or(names[v.Lapsed].Name, lapsed), r.net.Name()))
	}
	r.tellOpen(j, &st)
	j.tellWaiting(&st, names)
	j.tellMissing(&st, names)
	return st
}

// tellWaiting tells what a running job waits for; the caller holds mu.
func (j *Job) tellWaiting(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	if st.State != api.Running {
		return
	}
	if a := j.s.View.Awaited; a.Units > 0 {
		st.Phase = awaiting(a, names)
	}
	if c := j.s.View.Cramped; c != "" {
		st.Phase = cramped(c, st.HomeName)
	}
}

// tellMissing tells what fails or is not in the result; the caller holds mu.
func (j *Job) tellMissing(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	st.Failing = missing(j.s.Desc, j.s.View.Failing, names)
	switch {
	case st.State.Final():
		j.tellSkipped(st)
		st.Failing = nil
		st.Missing = append(badFiles(j.s.Desc, names), missing(j.s.Desc, j.s.Lost, names)...)
	case st.State == api.CannotFinish, st.Open: // what there is of it is handed out all the same
		if !st.Open { // what fails may yet be done
			st.Failing = nil
		}
		st.Missing = append(badFiles(j.s.Desc, names), missing(j.s.Desc, j.s.View.Lost, names)...)
	}
}

// tellSkipped tells what the program left out of its own will; the caller holds mu.
func (j *Job) tellSkipped(st *api.JobStatus) {
	st.Skipped, st.SkippedFiles, st.SkippedEntries = nil, j.s.Skipped.SkippedFiles, j.s.Skipped.SkippedEntries
	for _, s := range j.s.Skipped.Skipped {
		st.Skipped = append(st.Skipped, api.Skipped(s))
	}
}

// sumNodes tells what each node did, and all together; the caller holds mu.
func (j *Job) sumNodes(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	st.Nodes = nil
	lost := map[tasks.PeerID]int64{}
	for _, l := range j.s.View.Losers {
		lost[l.ID] = l.Lost
	}
	for id, r := range j.s.View.Nodes {
		w := api.NodeWork{
			ID:          id,
			Name:        names[id].Name,
			Up:          names[id].Up,
			Slots:       names[id].Slots,
			Units:       r.Stats.Units,
			Rate:        finite(r.Stats.Rate),
			Packets:     r.Stats.Packets,
			Steals:      r.Stats.Steals,
			Merges:      r.Stats.Merges,
			Generations: r.Stats.Generations,
			Failures:    r.Stats.Failures,
			Problem:     j.s.View.Shunned[id],
			Lost:        lost[id],
			Slow:        j.s.View.Slow[id],
			Unseen:      UnseenOf(j.s.View.Unseen[id]),
		}
		if id == j.s.Home {
			w.Merges += j.s.Merges
		}
		st.Nodes = append(st.Nodes, w)
		st.Packets += w.Packets
		st.Steals += w.Steals
		st.Merges += w.Merges
		st.Bytes += r.Stats.Bytes
		if !st.State.Final() && r.Left > 0 {
			st.Rate += w.Rate
		}
	}
}

func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

// missing tells ranges of units as entries of files.
func missing(desc *tasks.Job, lost []ledger.Lost, names map[tasks.PeerID]members.Name) []api.Missing {
	var out []api.Missing
	for _, l := range lost {
		for r := l.Range; !r.Empty(); {
			i, first := desc.Data.Locate(r.First)
			units := desc.Data.Units(i)
			last := min(r.Last, units.Last)
			m := api.Missing{
				File:   desc.Data.Files[i].URL,
				Units:  [2]int64{r.First, last},
				First:  first,
				Last:   last - units.First,
				Kind:   l.Kind,
				Reason: l.Reason,
				Tries:  l.Tries,
				Stack:  l.Stack,
				Tail:   l.Tail,
				Nodes:  members.NamesOf(l.Nodes, names),
				Words:  l.Words,
			}
			out = append(out, m)
			r.First = last
		}
	}
	return out
}

// badFiles tells the files that the planner left out.
func badFiles(desc *tasks.Job, names map[tasks.PeerID]members.Name) []api.Missing {
	var out []api.Missing
	for _, l := range desc.Bad {
		out = append(out, api.Missing{
			File:   l.File,
			First:  l.First,
			Last:   l.Last,
			Kind:   l.Kind,
			Reason: l.Reason,
			Tries:  l.Tries,
			Stack:  l.Stack,
			Tail:   l.Tail,
			Nodes:  members.NamesOf(l.Nodes, names),
		})
	}
	return out
}

// unknownFiles counts the files that nobody knows the length of, since they could not be read when the job was planned.
func unknownFiles(desc *tasks.Job) (n int) {
	for _, l := range desc.Bad {
		if l.Last < 0 {
			n++
		}
	}
	return n
}

// lapsed is who has signed the recovery by which a job goes on here, if that one may sign none any more, as of the last
// look.
func (j *Job) lapsed() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.View.Lapsed
}

// lapsedNote is what the user of a job is told who can mend that.
func lapsedNote(name, by, home string) string {
	return fmt.Sprintf("it was recovered by %s, who may not have that any more: nodes that join now do not work on it, "+
		"and do not believe its end. "+
		"dtpnode recover %s --from %s, by its submitter or a member with the right admin, has it go on from the copy that "+
		"leads, and loses nothing", by, api.Short(name), home)
}
