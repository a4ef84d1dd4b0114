package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
)

// supersededCopy is a group in which a job was recovered from one copy by an admin, and a host that has given up its
// own for that: one with more of the job than the recovered copy may have.
func supersededCopy(t *testing.T) (g *group, recovered, h *host) {
	t.Helper()
	g, recovered = lastOf(t, 5, false)
	recovered.recover()
	if !g.run(10*time.Second, func() bool { return g.home() == recovered }) {
		t.Fatal("not recovered:", recovered.no)
	}
	for _, o := range g.hosts {
		if o.peer == nil {
			o.gives, h = true, o
			o.start()
		}
	}
	if !g.run(10*time.Second, func() bool { return h.aside != nil }) {
		t.Fatal("the copy that was superseded is not put aside")
	}
	return g, recovered, h
}

// again is a signed word that a job goes on from a host's copy that was superseded.
func (h *host) again(by tasks.PeerID, terms ...uint64) Recover {
	aside := Restore{ID: jobID, Job: groupJob(h), Log: *h.aside}
	v, err := h.peer.AsideCopy(aside)
	if err != nil {
		h.Fatal(err)
	}
	c, err := quorum.NextRecovery(quorum.NewVoter(h.id, 1<<41+h.boot), append(terms, v.Term)...)
	if err != nil {
		h.Fatal(err)
	}
	link := quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: by, Sig: modelkeys.Keys(by).Sign(RecoveryText(jobID, c))}}}
	return Recover{ID: jobID, Link: link, Aside: &aside}
}

// TestSupersededCopyCanBeGoneOnFrom has a recovery come to nothing, for whoever signed it lied or its copy was lost
// too: the job goes on from a copy that was given up for it, with what that had committed.
func TestSupersededCopyCanBeGoneOnFrom(t *testing.T) {
	for _, lives := range []bool{false, true} { // the recovered job, which is false
		g, recovered, h := supersededCopy(t)
		v, err := h.peer.AsideCopy(Restore{ID: jobID, Job: groupJob(h), Log: *h.aside})
		if err != nil || v.Committed == 0 {
			t.Fatalf("what is put aside is %+v: %v", v, err)
		}
		later := recovered.recoveryTerm(t)
		if !lives {
			for _, o := range g.hosts {
				if o != h && len(o.logs) > 0 {
					o.destroy()
				}
			}
		}
		for _, o := range g.hosts {
			o.gives = true
		}
		h.step(h.again("n8", later))
		if len(h.no) != 1 || !strings.Contains(h.no[0], "nobody who may") {
			t.Error("gone on from by a stranger's word:", h.no)
		}
		h.step(h.again("n0", later)) // the submitter's
		if !g.run(10*time.Second, func() bool { return g.home() == h }) {
			t.Fatal("not gone on from:", h.no)
		}
		all := func() bool {
			return !slices.ContainsFunc(g.hosts, func(o *host) bool { return o.peer != nil && !o.over })
		}
		if !g.run(2*time.Minute, all) {
			t.Fatalf("lives %v: the job did not end for all", lives)
		}
	}
}

// recoveryTerm is that of the recovery by which a host leads.
func (h *host) recoveryTerm(t *testing.T) uint64 {
	v, ok := h.peer.Copy(jobID)
	if !ok || v.Recovery == nil {
		t.Fatal("the recovered copy is gone")
	}
	return v.Recovery.Conf.Term
}
