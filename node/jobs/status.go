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

// teller describes jobs to users and members, and asks members about their jobs, with proofs.
type teller struct {
	*base
	*descriptions
}

// snapshot updates the view of a job that is led here from the engine.
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

// StatusOf describes a job. If the job waits, the status says so in place of what is being done.
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

// sumWork completes a status by what is done, by whom and how fast. j.mu is held.
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
	case api.Done, api.Partial, api.CannotFinish, api.Merging: // otherwise units count that are run and not committed, too
		st.Done = st.Committed
	}
	j.sumNodes(st, names)
	var counted int64
	for _, n := range st.Nodes {
		counted += n.Units
	}
	// If the nodes' counts are lower, a node was restarted meanwhile, and the rate would be too low.
	if st.State.Final() && st.Working > 0 && 10*counted >= 9*(st.Done-st.Before) {
		st.Rate = float64(max(st.Done-st.Before, 0)) / st.Working
	}
}

// bytesKept is how many bytes this node's copy of a job's ledger takes on its disk.
func (r *teller) bytesKept(j *Job) int64 {
	if id := j.ID(); id != "" {
		return store.FolderBytes(r.ledgers.FolderOf(id))
	}
	return 0
}

// FullStatus is StatusOf without the check whether the job waits.
func (r *teller) FullStatus(j *Job) api.JobStatus {
	if !j.Final() {
		r.snapshot(j)
	}
	names := r.cluster.Names()
	called := r.cluster.NameOf(j.submitter()) // this takes locks, and so comes before j.mu is held
	lapsed := r.cluster.NameOf(j.lapsed())
	kept := r.bytesKept(j) // this reads a folder, for which j.mu must not be held, since the engine's loop needs it
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.s.Status
	if st.Unit == "" && st.Kind != "" {
		st.Unit = r.runtimes.Words(st.Kind).Units
	}
	st.Submitter = j.submitterHeld()
	st.SubmitterName = cmp.Or(names[st.Submitter].Name, st.SubmitterName, called)
	st.HomeName = cmp.Or(names[st.Home].Name, st.HomeName) // the present name comes first
	if j.s.Complete {
		return st
	}
	if !j.s.OutDone {
		st.Output = "" // the output is not written yet
	}
	end := j.s.Ended
	if end.IsZero() {
		end = time.Now()
	}
	st.Seconds = max(end.Sub(st.Submitted).Seconds(), 0) // the two times may come from clocks of different nodes
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

// tellWaiting completes a status by what a running job waits for. The caller holds mu.
func (j *Job) tellWaiting(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	if st.State != api.Running {
		return
	}
	if a := j.s.View.Awaited; a.Units > 0 {
		st.Phase = awaiting(a, names)
	}
	for _, n := range st.Nodes {
		if n.Full != "" {
			st.Phase = fmt.Sprintf("waiting for room on the disk of %s: %s", n.Name, why(n.Full))
			break
		}
	}
	if c := j.s.View.Cramped; c != "" {
		st.Phase = cramped(c, st.HomeName)
	}
}

// tellMissing completes a status by what fails, or is not in the result. The caller holds mu.
func (j *Job) tellMissing(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	st.Failing = missing(j.s.Desc, j.s.View.Failing, names)
	switch {
	case st.State.Final():
		j.tellSkipped(st)
		st.Failing = nil
		st.Missing = append(badFiles(j.s.Desc, names), missing(j.s.Desc, j.s.Lost, names)...)
	case st.State == api.CannotFinish, st.Open: // users can get what is done although the job has not ended
		if !st.Open { // in an open job that still runs, units that have failed may yet be done
			st.Failing = nil
		}
		st.Missing = append(badFiles(j.s.Desc, names), missing(j.s.Desc, j.s.View.Lost, names)...)
	}
}

// tellSkipped completes a status by what the program left out of its own will. The caller holds mu.
func (j *Job) tellSkipped(st *api.JobStatus) {
	st.Skipped, st.SkippedFiles, st.SkippedEntries = nil, j.s.Skipped.SkippedFiles, j.s.Skipped.SkippedEntries
	for _, s := range j.s.Skipped.Skipped {
		st.Skipped = append(st.Skipped, api.Skipped(s))
	}
	st.OutputFiles, st.Left = outputFilesOf(j.s.Skipped)
	st.Canvases, st.Unsaved = j.s.Skipped.Canvases, j.s.Skipped.Unsaved
}

// sumNodes completes a status by what each node did, and all of them together. The caller holds mu.
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
			SlotSeconds: float64(r.Stats.Slots) / 1000,
			Problem:     j.s.View.Shunned[id],
			Lost:        lost[id],
			Slow:        j.s.View.Slow[id],
			Unseen:      UnseenOf(j.s.View.Unseen[id]),
		}
		if !st.State.Final() && st.Done < st.Units { // with nothing left to do it waits for nothing
			w.Full = clipText(r.Full, mostFullText)
		}
		if id == j.s.Home {
			w.Merges += j.s.Merges
		}
		st.Nodes = append(st.Nodes, w)
		st.Packets += w.Packets
		st.Steals += w.Steals
		st.Merges += w.Merges
		st.SlotSeconds += w.SlotSeconds
		st.Bytes += r.Stats.Bytes
		if !st.State.Final() && r.Left > 0 {
			st.Rate += w.Rate
		}
	}
}

// mostFullText is how many bytes of a node's word on its full disk are shown.
const mostFullText = 500

func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

// missing converts ranges of units to ranges of entries in files.
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
				Listed: desc.Data.Files[i].Of > 0,
			}
			out = append(out, m)
			r.First = last
		}
	}
	return out
}

// badFiles lists the files that the planner left out.
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

// unknownFiles counts the files whose number of entries is not known, since they could not be read when the job was
// planned.
func unknownFiles(desc *tasks.Job) (n int) {
	for _, l := range desc.Bad {
		if l.Last < 0 {
			n++
		}
	}
	return n
}

// lapsed is the admin who has signed the recovery by which a job goes on here, if that admin has lost the right since;
// otherwise empty. It is as of the last look at the engine.
func (j *Job) lapsed() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.View.Lapsed
}

// lapsedNote is the note for the user of a job whose recovery was signed by an admin that has lost the right since.
func lapsedNote(name, by, home string) string {
	return fmt.Sprintf("it was recovered by %s, who may not have that any more: nodes that join now do not work on it, "+
		"and do not believe its end. "+
		"dtpnode recover %s --from %s, by its submitter or a member with the right admin, has it go on from the copy that "+
		"leads, and loses nothing", by, api.Short(name), home)
}
