package node

import (
	"errors"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// claims is how a member announces that it has founded the ledger of a job, whoever's that is.
func claims(by *Daemon, id tasks.JobID) engine.Recv {
	m := quorum.Alone(netKeys{by.net}, engine.GroupName(id), quorum.NewMember(by.net.ID(), 1))
	return engine.Recv{From: by.net.ID(), Msg: engine.Message{Job: id, Term: 1, Open: &engine.Open{Home: by.net.ID(), Every: time.Second, Proof: &m}}}
}

// TestWhoNeverAnswersKeepsNobodyFromAJob: a member announces another's job first, and never answers the question for its
// signature. The job's home is asked all the same, and
// only the liar is named.
func TestWhoNeverAnswersKeepsNobodyFromAJob(t *testing.T) {
	d := openWithout(t, "host")
	defer d.Close()
	home, liar := admit(t, d, "home", p2p.Submitter), admit(t, d, "liar", p2p.Worker)
	defer home.Close()
	defer liar.Close()
	until(t, "both are up", func() bool { return len(d.upPeers()) == 2 })
	id := describedAs(t, home, tasks.NonceOf(home.net.ID(), tasks.NonceSalt{1}))
	liar.mu.Lock() // so it answers nothing
	defer liar.mu.Unlock()
	d.post(claims(liar, id))
	until(t, "the liar is asked", func() bool {
		d.descriptions.mu.Lock()
		defer d.descriptions.mu.Unlock()
		return d.descriptions.of[id] != nil
	})
	d.post(claims(home, id))
	until(t, "the description is here, by which the liar's claim is none", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		w := d.wrongs[liar.net.ID()]
		return w != nil && w.counts[engine.Unproven] > 0 && d.wrongs[home.net.ID()] == nil
	})
	until(t, "nobody is asked any more", func() bool {
		d.descriptions.mu.Lock()
		defer d.descriptions.mu.Unlock()
		return len(d.descriptions.of) == 0
	})
}

// TestQuestionsHaveAnEnd: a member that never answers is asked for no longer than it may take.
func TestQuestionsHaveAnEnd(t *testing.T) {
	d := openWithout(t, "host")
	defer d.Close()
	liar := admit(t, d, "liar", p2p.Worker)
	defer liar.Close()
	until(t, "it is up", func() bool { return len(d.upPeers()) == 1 })
	liar.mu.Lock()
	defer liar.mu.Unlock()
	d.cfg.BriefWait = 50 * time.Millisecond
	id := tasks.NameOf([]byte("nothing"))
	q, leave := d.descriptions.join(t.Context(), id)
	_, err := d.fetchJob(q, id, liar.net.ID())
	if leave(); !errors.Is(err, errSilent) {
		t.Errorf("asked in vain: %v", err)
	}
}
