package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestCancelledAtOnce cancels jobs in the moments after their beginning, when other nodes are just being asked for
// copies of the ledgers: each ends, and no copy is left that would wait for ever in the next life of its node.
func TestCancelledAtOnce(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	c := ownCluster(t, specs...)
	n := c.nodes[0]
	const jobs = 16
	for i := range jobs {
		st := n.submit(t, paceOf(1, time.Minute).request(t))
		check(t, poll(settleLimit, func() (bool, error) {
			now, err := n.job(t.Context(), st.ID)
			return now.State == api.Running, err
		}))
		time.Sleep(time.Duration(i) * 120 * time.Millisecond / jobs) // the moments that are tried, nothing is waited for
		_, err := n.client.Cancel(t.Context(), st.ID)
		check(t, err)
		check(t, poll(settleLimit, func() (bool, error) {
			now, err := n.job(t.Context(), st.ID)
			return now.State == api.Cancelled, err
		}))
	}
	for i, o := range c.nodes[1:] {
		o.crash(t)
		o.restart(t, specs[i+1])
	}
	check(t, poll(settleLimit, func() (bool, error) {
		for _, o := range c.nodes {
			if left, _ := os.ReadDir(filepath.Join(o.state, "ledgers")); len(left) > 0 {
				return false, nil
			}
		}
		return true, nil
	}))
	for _, o := range c.nodes {
		r := o.dtpnode(t, t.TempDir(), "ps", "--all", "--output", "json")
		var list []api.JobStatus
		if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != 0 {
			t.Fatalf("ps: %v %+v", err, r)
		}
		for _, st := range list {
			if st.State != api.Cancelled {
				t.Errorf("%s lists job %s as %s", o.name, st.ID, st.State)
			}
		}
	}
}
