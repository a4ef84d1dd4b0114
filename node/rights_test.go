package node

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
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
	desc, err := b.OpenJob(id, body)
	if err != nil {
		t.Fatal(err)
	}
	d.loop.Ask(func(*engine.Peer) { d.loop.Step(engine.Submit{ID: id, Job: desc}) })
	give := engine.Message{Steal: &steal.Message{Grant: &steal.Grant{
		ID:     1,
		Job:    id,
		Ranges: tasks.CoverOf(desc.Want),
		Dealt:  true,
	}}}
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

// TestSubmitterWorksForItsOwnJobs: a member that may submit and not work asks for work of its own jobs, and has what it
// did of them taken; of others' jobs it is given nothing, and nothing is taken.
func TestSubmitterWorksForItsOwnJobs(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	submitter, reader := admit(t, d, "submitter", p2p.Submitter), admit(t, d, "reader", p2p.Read)
	defer submitter.Close()
	defer reader.Close()
	jobs := map[tasks.JobID]bool{} // whether it is the submitter's own
	var ids []tasks.JobID
	for _, o := range []*Daemon{d, submitter} {
		id, body, b := signedJob(t, o, "")
		desc, err := b.OpenJob(id, body)
		if err != nil {
			t.Fatal(err)
		}
		d.loop.Ask(func(*engine.Peer) { d.loop.Step(engine.Submit{ID: id, Job: desc}) })
		jobs[id], ids = o == submitter, append(ids, id)
	}
	for id, own := range jobs {
		for what, m := range map[string]engine.Message{
			"request": {Steal: &steal.Message{Request: &steal.Request{Jobs: []tasks.JobID{id}, Rates: []float64{1}}}},
			"offer":   {Job: id, Offer: &merge.Partial{}},
			"gather":  {Job: id, Gather: &merge.Partial{}},
		} {
			if why := d.forbidden(submitter.net.ID(), &m); (why == "") != own {
				t.Errorf("%s for a job, its own: %v: %q", what, own, why)
			}
			if d.forbidden(reader.net.ID(), &m) == "" {
				t.Errorf("%s is taken from a member that may neither work nor submit", what)
			}
		}
		m := engine.Message{Job: id, Report: &ledger.Report{Seq: 3, Ready: true}}
		if why := d.forbidden(submitter.net.ID(), &m); why != "" || m.Report.Ready != own {
			t.Errorf("of a report on a job, its own: %v, is left %+v: %q", own, m.Report, why)
		}
	}
	unknown := tasks.NameOf([]byte("unknown"))
	r := &steal.Request{
		Jobs:  []tasks.JobID{unknown, ids[1]},
		Rates: []float64{1, 2},
		Blind: []tasks.Cover{nil, tasks.CoverOf(tasks.R(0, 5))},
	}
	why := d.forbidden(submitter.net.ID(), &engine.Message{Steal: &steal.Message{Request: r}})
	if why != "" || len(r.Jobs) != 1 || r.Jobs[0] != ids[1] || r.Rates[0] != 2 || r.Blind[0].Len() != 5 {
		t.Errorf("of its request is left %+v: %q", r, why)
	}
	if up := d.peerUp(submitter.net.ID(), p2p.Info{
		Meta:  `[{"k":"ROOT","v":"6"}]`,
		Slots: 3,
	}); up.Slots != 0 || up.Own != 3 {
		t.Errorf("it is known as %+v", up)
	}
}
