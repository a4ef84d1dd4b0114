package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// wantNobodyNamed fails the test if one of these daemons, which are all honest, counts a message of another against the
// rules.
func (c *cluster) wantNobodyNamed(t testing.TB) { (&beside{cluster: c}).wantNoneAccused(t) }

// runAll runs so many jobs on a daemon, one after another.
func (n *node) runAll(ctx context.Context, req api.JobRequest, jobs int) error {
	for i := range jobs {
		st, err := n.client.Submit(ctx, req)
		if err == nil {
			st, err = n.client.Follow(ctx, st.ID, func(api.Event) error { return nil })
		}
		if err != nil || st.State != api.Done {
			return fmt.Errorf("job %d on %s: %w: %+v", i, n.name, err, st)
		}
	}
	return nil
}

// TestNobodyIsNamedForItsRights: daemons with one right each, and one with all, send each other nothing that is counted
// against them, while those that may submit run jobs side by side.
func TestNobodyIsNamedForItsRights(t *testing.T) {
	t.Parallel()
	c := rightful(t, api.Rights()...)
	submitter := c.nodes[1+slices.Index(api.Rights(), "submitter")]
	var wg sync.WaitGroup
	for _, n := range []*node{c.nodes[0], submitter, submitter} {
		req := paceOf(3, 50*time.Millisecond).request(t)
		wg.Go(func() {
			if err := n.runAll(t.Context(), req, 25); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c.wantNobodyNamed(t)
}

// TestSubmitterWorksForItsJobThatAnotherLeads: a host with the right to submit alone works for its own job also when
// another has come to lead it, goes on after a restart, and hands back what it has when it leaves. Nobody takes that
// for a wrong.
func TestSubmitterWorksForItsJobThatAnotherLeads(t *testing.T) {
	t.Parallel()
	for _, polite := range []bool{false, true} {
		t.Run(fmt.Sprint("polite=", polite), func(t *testing.T) {
			t.Parallel()
			specs := fakeSpecs(t, 4)
			for i := range specs {
				specs[i].args = []string{"--commit-every", "300ms"}
			}
			c := rightfulOf(t, specs, "worker", "worker", "submitter")
			owner := c.nodes[3]
			job := paceOf(4, 12*time.Second)
			id := owner.submit(t, job.request(t)).ID
			owner.committed(t, id, 0.05)
			owner.crash(t)
			c.wantHome(t, c.nodes[0], id, owner)
			owner.restart(t, specs[3])
			owner.until(t, id, "its host works for it again", func(st api.JobStatus) bool {
				return slices.ContainsFunc(st.Nodes, func(w api.NodeWork) bool { return w.Name == owner.name && w.Rate > 0 })
			})
			if polite {
				if r := owner.dtpnode(t, t.TempDir(), "down"); r.code != 0 {
					t.Errorf("could not leave: %+v", r)
				}
				<-owner.ended
			}
			on, st := c.waitFinal(t, id, commandLimit)
			job.wantCounted(t, on, st)
			(&cluster{nodes: c.nodes[:3]}).wantNobodyNamed(t)
			if polite {
				owner.restart(t, specs[3])
			}
			c.wantNobodyNamed(t)
		})
	}
}
