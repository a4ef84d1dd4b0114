package node

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// The commands offer the rights that there are, which package api may not take from package p2p.
func TestRightsHaveOneList(t *testing.T) {
	var names []string
	for _, r := range p2p.AllRights() {
		names = append(names, string(r))
	}
	if !slices.Equal(names, api.Rights()) {
		t.Errorf("p2p has %v, api %v", names, api.Rights())
	}
}

// TestNobodyGivesAwayAnothersJob: the right to submit jobs is none to give away the work of others'.
func TestNobodyGivesAwayAnothersJob(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	submitter, worker := admit(t, d, "submitter", p2p.Submitter), admit(t, d, "worker", p2p.Worker)
	defer submitter.Close()
	defer worker.Close()
	id, body, b := signedJob(t, d, "")
	desc, err := openJob(id, body, b)
	if err != nil {
		t.Fatal(err)
	}
	d.ask(func(*engine.Peer) { d.step(engine.Submit{ID: id, Job: desc}) })
	give := engine.Message{Steal: &steal.Message{Grant: &steal.Grant{ID: 1, Job: id, Ranges: tasks.CoverOf(desc.Want), Dealt: true}}}
	if d.forbidden(submitter.net.ID(), &give) == "" {
		t.Error("work is taken from a member that neither works for the job nor submitted it")
	}
	for _, may := range []tasks.PeerID{d.net.ID(), worker.net.ID()} {
		if why := d.forbidden(may, &give); why != "" {
			t.Errorf("not taken from %s: %s", may, why)
		}
	}
	give.Steal.Grant.Job = tasks.NameOf([]byte("of its own"))
	if why := d.forbidden(submitter.net.ID(), &give); why != "" {
		t.Errorf("of another job: %s", why)
	}
}
