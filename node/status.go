package node

import (
	"github.com/dtpnode/dtpnode/node/members"

	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// snapshot takes a led job's view out of the engine.
func (d *Daemon) snapshot(j *job) {
	id := j.known()
	if id == "" {
		return
	}
	var v engine.JobView
	var ok bool
	d.ask(func(p *engine.Peer) { v, ok = p.View(id) })
	if ok {
		j.mu.Lock()
		j.view = v
		j.mu.Unlock()
	}
}

// statusOf describes a job that this node tells of. If it waits, that is told in place of what is being done.
func (d *Daemon) statusOf(j *job) api.JobStatus {
	st := d.fullStatus(j)
	if st.State.Halted() {
		return st
	}
	if why, hint := d.waits(j); why != "" {
		st.State, st.Phase, st.Hint, st.Rate = api.Waiting, why, hint, 0
		for i := range st.Nodes {
			st.Nodes[i].Rate = 0
		}
	}
	return st
}

// sumWork tells what is done of a job, by whom and how fast. Called with j.mu held.
func (j *job) sumWork(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	v := j.view
	st.Unknown, st.Working = unknownFiles(j.desc), j.working.Seconds()
	if j.working == 0 {
		st.Working = time.Since(j.running).Seconds()
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
	if st.State.Final() && st.Working > 0 && 10*counted >= 9*(st.Done-st.Before) { // else part of it was done before a node was started again
		st.Rate = float64(max(st.Done-st.Before, 0)) / st.Working
	}
}

// bytesKept is what this node keeps of a job's ledger on its disk.
func (d *Daemon) bytesKept(j *job) int64 {
	if id := j.known(); id != "" {
		return store.FolderBytes(d.ledgers.FolderOf(id))
	}
	return 0
}

func (d *Daemon) fullStatus(j *job) api.JobStatus {
	if !j.final() {
		d.snapshot(j)
	}
	names := d.cluster.Names()
	called := d.cluster.NameOf(j.submitter()) // before j.mu is held
	lapsed := d.cluster.NameOf(j.lapsed())
	kept := d.bytesKept(j) // a folder is not read while j.mu is held: the loop needs that
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.status
	st.Submitter = j.submitterHeld()
	st.SubmitterName = cmp.Or(names[st.Submitter].Name, st.SubmitterName, called)
	st.HomeName = cmp.Or(names[st.Home].Name, st.HomeName) // as it is called now
	if j.complete {
		return st
	}
	if !j.outDone {
		st.Output = "" // it may be wanted there, and is not yet
	}
	end := j.ended
	if end.IsZero() {
		end = time.Now()
	}
	st.Seconds = max(end.Sub(st.Submitted).Seconds(), 0) // another node's clock may have said when
	st.Apart, st.EndedIn = slices.Clone(j.apart), j.endedIn
	if j.desc == nil {
		return st
	}
	if a := j.desc.Ask.Again; a != nil {
		st.RetryOf, st.Before = a.Job, a.Units
	}
	j.sumWork(&st, names)
	st.Codes = codesOf(j.desc, st.Committed)
	slices.SortFunc(st.Nodes, func(a, b api.NodeWork) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	st.Kept = kept
	st.Replicas, st.Safe = members.NamesOf(j.view.Replicas, names), j.view.Staffed
	if v := j.view; v.Lapsed != "" && !st.State.Halted() {
		st.Notes = append(slices.Clone(st.Notes), lapsedNote(j.name, cmp.Or(names[v.Lapsed].Name, lapsed), d.net.Name()))
	}
	d.tellOpen(j, &st)
	j.tellWaiting(&st, names)
	j.tellMissing(&st, names)
	return st
}

// tellWaiting tells what a running job waits for; the caller holds mu.
func (j *job) tellWaiting(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	if st.State != api.Running {
		return
	}
	if a := j.view.Awaited; a.Units > 0 {
		st.Phase = awaiting(a, names)
	}
	if c := j.view.Cramped; c != "" {
		st.Phase = cramped(c, st.HomeName)
	}
}

// tellMissing tells what fails or is not in the result; the caller holds mu.
func (j *job) tellMissing(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	st.Failing = missing(j.desc, j.view.Failing, names)
	switch {
	case st.State.Final():
		j.tellSkipped(st)
		st.Failing = nil
		st.Missing = append(badFiles(j.desc, names), missing(j.desc, j.lost, names)...)
	case st.State == api.CannotFinish: // what there is of it is handed out all the same
		st.Failing = nil
		st.Missing = append(badFiles(j.desc, names), missing(j.desc, j.view.Lost, names)...)
	}
}

// tellSkipped tells what the program left out of its own will; the caller holds mu.
func (j *job) tellSkipped(st *api.JobStatus) {
	st.Skipped, st.SkippedFiles, st.SkippedEntries = nil, j.skipped.SkippedFiles, j.skipped.SkippedEntries
	for _, s := range j.skipped.Skipped {
		st.Skipped = append(st.Skipped, api.Skipped(s))
	}
}

// sumNodes tells what each node did, and all together; the caller holds mu.
func (j *job) sumNodes(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	st.Nodes = nil
	lost := map[tasks.PeerID]int64{}
	for _, l := range j.view.Losers {
		lost[l.ID] = l.Lost
	}
	for id, r := range j.view.Nodes {
		w := api.NodeWork{ID: id, Name: names[id].Name, Up: names[id].Up, Slots: names[id].Slots, Units: r.Stats.Units,
			Rate: finite(r.Stats.Rate), Packets: r.Stats.Packets, Steals: r.Stats.Steals, Merges: r.Stats.Merges,
			Generations: r.Stats.Generations, Failures: r.Stats.Failures, Problem: j.view.Shunned[id], Lost: lost[id], Slow: j.view.Slow[id], Unseen: unseenOf(j.view.Unseen[id])}
		if id == j.home {
			w.Merges += j.merges
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
			m := api.Missing{File: desc.Data.Files[i].URL, Units: [2]int64{r.First, last}, First: first, Last: last - units.First, Kind: l.Kind, Reason: l.Reason,
				Tries: l.Tries, Stack: l.Stack, Tail: l.Tail, Nodes: members.NamesOf(l.Nodes, names), Words: l.Words}
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
		out = append(out, api.Missing{File: l.File, First: l.First, Last: l.Last, Kind: l.Kind, Reason: l.Reason, Tries: l.Tries,
			Stack: l.Stack, Tail: l.Tail, Nodes: members.NamesOf(l.Nodes, names)})
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

// saveStatus keeps a job's status on disk, for after a restart; durably where its user is owed an output.
func (d *Daemon) saveStatus(j *job) {
	saved := store.Status{JobStatus: d.statusOf(j), Owed: d.owed(j)}
	saved.Dir, saved.Env = d.surroundings(j)
	j.mu.Lock()
	saved.Ours = j.own()
	j.mu.Unlock()
	err := d.results.SaveStatus(j.name, saved)
	if err != nil {
		d.log.Warn("could not save a job's status", "job", api.Short(j.name), "reason", err)
	}
}

// surroundings are the folder and the environment of Begin and Terminate, which the node knows that a job was
// submitted on, if need be from its disk. Elsewhere, and of a job that another has submitted, they are empty.
func (d *Daemon) surroundings(j *job) (dir string, env []string) {
	j.mu.Lock()
	dir, env, own := j.req.Dir, j.req.Env, j.own()
	j.mu.Unlock()
	if dir != "" || !own {
		return dir, env
	}
	saved, err := d.results.Status(j.name)
	if err != nil || !saved.Ours {
		return "", nil
	}
	return saved.Dir, saved.Env
}

// loadFinished reads the jobs of earlier lives of the daemon: those that have ended, or ended with it. Those that
// may go on elsewhere are returned.
func (d *Daemon) loadFinished() (waiting []*awaited) {
	copies := map[string]*store.Copy{}
	for _, c := range d.ledgers.All() {
		copies[c.Name()] = c
	}
	for _, name := range d.results.Names() {
		saved, err := d.results.Status(name)
		var damage *store.Damage
		if errors.As(err, &damage) {
			d.log.Error("a job that is kept here cannot be told of", "reason", damage, "next", damage.Mend)
		}
		if err != nil || saved.ID == "" {
			continue
		}
		st := saved.JobStatus
		c := copies[st.ID]
		restored := c != nil && (st.Submitter == "" || c.Job.Submitter == st.Submitter)
		if !st.State.Final() && (restored || st.State != api.Preparing) {
			waiting = append(waiting, d.newAwaited(saved, restored))
			continue
		}
		if !st.State.Final() {
			st.State, st.Phase = api.Failed, ""
			st.Error, st.Hint = "the daemon of "+st.HomeName+", which led this job, was killed", "submit the job again"
		}
		j := d.book.New(st.ID)
		j.home, j.led, j.complete, j.status = st.Home, true, true, st
		j.submittedHere, j.req.Output, j.outDone = saved.Ours, saved.Owed, st.Output != ""
		if j.ended = time.Now(); d.owed(j) == "" { // else it is owed for as long as this life of the daemon tries
			j.ended = d.results.SavedAt(name, d.ages)
		}
		close(j.done)
		d.book.Add(j)
		d.results.ShareParts(st.ID)
	}
	return waiting
}

// nodeStatus describes the daemon.
func (d *Daemon) nodeStatus() api.NodeStatus {
	st := api.NodeStatus{ID: d.net.ID(), Name: d.net.Name(), Version: d.cfg.Version, Protocol: d.net.Speaks(), PID: os.Getpid(), Addrs: d.net.Addrs(),
		Cluster: d.net.Cluster(), Slots: d.cfg.Slots, RSS: rss(), Uptime: time.Since(d.start).Seconds(), StateDir: d.cfg.StateDir,
		Steal: d.steals.Summary(), Packet: d.workers.Latencies()}
	for _, m := range d.net.Members() {
		st.Members++
		if m.Up || m.Self {
			st.Up++
		}
	}
	d.ask(func(p *engine.Peer) {
		st.Busy = p.Busy()
		st.Unseen = unseenOf(p.Unseen())
	})
	st.Wrongs = d.cluster.Wrongs()
	d.storage(&st)
	st.Runtimes = runtimesOf(d.runtimes.Infos())
	st.Problem = d.runtimeProblem(st.Runtimes)
	if first := d.runtimes.First(); st.Problem == "" && first != nil && !first.IsOpen() {
		st.Starting = first.Info.Kind
	}
	if lost, follows := d.net.StaleListeners(); len(lost) > 0 && st.Problem == "" {
		st.Problem = adrift(lost, follows)
	}
	if st.Expelled = d.expelled(); st.Expelled != nil {
		st.Problem = st.Expelled.String() + "; " + api.ExpelledHint
	}
	return st
}

// adrift says that this node listens on addresses that its host has lost.
func adrift(lost []string, follows bool) string {
	text := "this host does not have the address of " + strings.Join(lost, ", ") + " any more, so that nobody can connect to this node there: "
	if follows {
		return text + "it listens anew as soon as the host has another"
	}
	return text + "restart it where the host has one, `dtpnode down`, `dtpnode up --listen auto:0 --detach`"
}

func runtimesOf(infos []exec.Info) (out []api.Runtime) {
	for _, info := range infos {
		out = append(out, api.Runtime{Kind: info.Kind, Version: info.Version, Dir: info.Dir})
	}
	return out
}

// runtimeProblem says what keeps this node from running jobs, and notes it with each runtime.
func (d *Daemon) runtimeProblem(told []api.Runtime) string {
	const cannot = "this node cannot run jobs: "
	if err := d.runtimes.None(); err != nil {
		return cannot + withAdvice(d.advised(err))
	}
	broken := 0
	for i, err := range d.runtimes.Broken() {
		if err != nil {
			broken++
			told[i].Problem = withAdvice(d.advised(err))
		}
	}
	switch {
	case broken == len(told):
		return cannot + told[0].Problem
	case broken > 0:
		i := slices.IndexFunc(told, func(r api.Runtime) bool { return r.Problem != "" })
		return fmt.Sprintf("this node cannot run jobs with %s %s: %s", told[i].Kind, told[i].Version, told[i].Problem)
	}
	return ""
}

// withAdvice is an error with what to do about it, as one text.
func withAdvice(err error) string {
	var e *api.Error
	if errors.As(err, &e) && e.Hint != "" {
		return err.Error() + ". " + e.Hint
	}
	return err.Error()
}

// cannotRun reports whether it is settled that this node runs no jobs.
func (d *Daemon) cannotRun() bool {
	return d.runtimes.None() != nil || !slices.Contains(d.runtimes.Broken(), nil)
}

// members describes the cluster.
func (d *Daemon) members() []api.Member {
	var out []api.Member
	blind, wrong, lost := d.blindMembers(), d.cluster.WrongNotes(), d.membersThatLose()
	for _, m := range d.net.Members() {
		a := api.Member{
			ID: m.ID, Name: m.Name, Addrs: m.Addrs, Joined: m.Joined, Self: m.Self, Up: m.Up || m.Self,
			RTT: float64(m.RTT) / float64(time.Millisecond), Slots: m.Slots, Runtimes: runtimesOf(runtimes.Announced(m.Meta)),
			Version: m.Version, Note: m.Problem, Founder: m.Founder, Ephemeral: m.Ephemeral, Protocol: m.Protocol, State: d.stateOf(m),
		}
		a.ClockAhead = math.Round(10*m.Ahead.Seconds()) / 10
		if !m.Seen.IsZero() && !m.Self {
			a.Seen = &m.Seen
		}
		if m.Left || a.State == api.MemberNone {
			a.Note = "" // that nobody answers there is no news
		}
		for _, r := range m.Rights {
			a.Rights = append(a.Rights, string(r))
		}
		if m.Up && !m.Self && a.Note == "" {
			a.Note = d.mismatch(m.Info)
		}
		if a.Note == "" {
			a.Note = wrong[m.ID]
		}
		if a.Note == "" {
			a.Note = blind[m.ID]
		}
		if a.Note == "" && lost[m.ID] > 0 {
			a.Note = fmt.Sprintf("takes work and does not do it: %d entries ran again on other nodes, and it is given little", lost[m.ID])
		}
		out = append(out, a)
	}
	return out
}

// stateOf says whether a member is up, and if not how it went.
func (d *Daemon) stateOf(m p2p.Member) api.MemberState {
	_, out := d.net.Expelled()
	switch {
	case out:
		return api.MemberNone
	case m.Self:
		return api.MemberSelf
	case m.Up:
		return api.MemberUp
	case m.Incompatible:
		return api.MemberNoLink
	case m.Left:
		return api.MemberLeft
	case m.Seen.IsZero():
		return api.MemberUnseen
	}
	return api.MemberLost
}

// rss is this process's resident memory in bytes, 0 if unknown.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
