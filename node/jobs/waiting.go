package jobs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job waits while nobody can write to its ledger, because most of its replicas cannot be reached, or because none of
// them leads at present. Each node that knows of the job then reports that, and the reason, in place of the last
// status that it has heard.

// waits says why a job waits, and what its user can do. The texts are empty if the job does not wait.
func (r *teller) waits(j *Job) (why, hint string) {
	id := j.ID()
	if id == "" {
		return "", ""
	}
	var v engine.LedgerView
	var kept, leads bool
	r.loop.Ask(func(p *engine.Peer) {
		v, kept = p.Ledger(id)
		_, leads = p.Leads(id)
	})
	names, home := r.cluster.Names(), cmp.Or(j.homeNow(), v.Home)
	var away, silent, mute []string
	for _, m := range v.Replicas {
		switch name := cmp.Or(names[m].Name, r.cluster.NameOf(m)); {
		case !names[m].Up:
			away = append(away, name)
		case !leads && !v.Majority && !slices.Contains(v.Alive, m):
			silent = append(silent, name)
		// This one does not answer although its link has not been found to be broken yet.
		case (leads || home == r.net.ID()) && !v.Answered && !slices.Contains(v.Answering, m):
			mute = append(mute, name)
		}
	}
	homeless := !leads && !names[home].Up
	switch n := len(v.Replicas); {
	case kept && n > 0 && 2*(n-len(away)-len(silent)-len(mute)) <= n:
		return fmt.Sprintf("most of the %d nodes that keep its ledger are needed, and %s", n, unreached(away, silent, mute)),
			"it goes on by itself when enough of them are back: start dtpnode up there. If they are gone for good, " +
				RecoverHint(j.Name)
	case !kept && homeless && home != "":
		name := cmp.Or(names[home].Name, home)
		return fmt.Sprintf("%s, which leads it, cannot be reached, and its ledger is not kept here", name),
			"another node that keeps the ledger leads it within seconds; if there is none, it goes on when dtpnode up runs on " +
				name + " again. If the nodes that keep its ledger are gone for good, " + RecoverHint(j.Name)
	case homeless:
		return noHomeYet, "try again in a few seconds"
	}
	return "", ""
}

// awaiting says that a job waits for nodes which went away, since only they can read some of its files.
func awaiting(a ledger.Awaited, names map[tasks.PeerID]members.Name) string {
	return fmt.Sprintf("waiting for %s, which %s away (%s): no other node can read %d entries; they are given up in %s",
		strings.Join(members.NamesOf(a.Nodes, names), " and "), isAre(a.Nodes), a.Since.Round(time.Second), a.Units,
		max(a.Until, 0).Round(time.Second))
}

// cramped says that nothing is committed because the home's disk has no room, and what the job waits for.
func cramped(why, home string) string {
	return fmt.Sprintf("waiting for room on the disk of %s, which leads it, or for a node that has some to lead it: %s",
		home, why)
}

// isAre is the verb that goes with one or more.
func isAre[T any](all []T) string {
	if len(all) > 1 {
		return "are"
	}
	return "is"
}

// unreached says which replicas cannot be reached, which are up but may have lost their copy of the ledger, and which
// have stopped answering.
func unreached(away, silent, mute []string) string {
	var parts []string
	if len(away) > 0 {
		parts = append(parts, strings.Join(away, " and ")+" cannot be reached")
	}
	if len(silent) > 0 {
		parts = append(parts, strings.Join(silent, " and ")+" "+isAre(silent)+" up and did not answer about this job: the "+
			"copy there may be lost")
	}
	if len(mute) > 0 {
		parts = append(parts, strings.Join(mute, " and ")+" did not answer for two seconds")
	}
	return strings.Join(parts, ", ")
}

// RecoverHint is the advice for a user whose job waits for nodes that will never come back.
func RecoverHint(name string) string {
	return "dtpnode recover " + api.Short(name) + " goes on from the last copy"
}

// noHomeYet is the reason why a job waits although its replicas can reach each other.
const noHomeYet = "no node leads it just now: those that keep its ledger are choosing one"

// waitingStatus describes a job that waits and that this node does not lead; ok is false if it does not wait.
func (r *teller) waitingStatus(j *Job) (st api.JobStatus, ok bool) {
	if j.Final() {
		return st, false
	}
	id := j.ID()
	if c := r.ledgers.Of(id); c != nil {
		j.mu.Lock()
		j.describedBy(c, r.book.Whole(c.ID, c.Job), r.titleOf(c.Job))
		j.mu.Unlock()
	}
	if st = r.StatusOf(j); st.State != api.Waiting {
		return st, false
	}
	st.ID = j.Name
	var v engine.LedgerView
	r.loop.Ask(func(p *engine.Peer) { v, ok = p.Ledger(id) })
	if ok {
		st.Committed = v.Committed.Len()
		st.Done = max(st.Done, st.Committed)
		st.Replicas = r.cluster.Called(v.Replicas)
	}
	st.Home, st.Safe = cmp.Or(j.homeNow(), v.Home), false
	st.HomeName = r.cluster.Names()[st.Home].Name
	return st, true
}

// waitingJobs describes the jobs that wait and that nobody leads, as far as this node knows. It lists only jobs that
// were submitted here, or of whose ledger this node has a copy.
func (r *teller) waitingJobs() (out []api.JobStatus) {
	for _, j := range r.book.Candidates("") {
		j.mu.Lock()
		led, here, id := j.s.Led, j.s.SubmittedHere, j.s.ID
		j.mu.Unlock()
		if led || !here && r.ledgers.Of(id) == nil {
			continue
		}
		if st, ok := r.waitingStatus(j); ok {
			out = append(out, st)
		}
	}
	return out
}
