package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// growing is an open job whose files come in batches of one.
type growing struct {
	fakeJob
	t  *testing.T
	id string
}

// append has the job grow by its next file, as often as it takes: the answer may be lost with the daemon.
func (g *growing) append(c *cluster, n *node, seq uint64) {
	g.t.Helper()
	file := fmt.Sprintf("fake://a%d?entries=%d&clusters=%d", seq, g.entries, g.clusters)
	req := api.AppendRequest{Seq: seq, Files: []api.InputFile{{URL: file}}}
	var out api.Appended
	last := ""
	err := poll(commandLimit, func() (bool, error) {
		ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
		defer cancel()
		var err error
		if out, err = n.client.Append(ctx, g.id, req); err != nil {
			last = err.Error()
		}
		return err == nil, nil
	})
	if err != nil {
		c.showLogs(g.t)
		g.t.Fatalf("could not append: %v: %s", err, last)
	}
	if want := g.entries * int64(seq+1); out.Units < want || out.Appends < seq || out.Closed {
		g.t.Errorf("after append %d: %+v, want %d units", seq, out, want)
	}
}

// TestOpenJob: a job grows by appends, of which some are repeated and others are under way when its home, which has
// submitted it, is killed; it ends when it is closed, with each entry counted once.
func TestOpenJob(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 4)
	c := ownCluster(t, specs...)
	g := &growing{t: t, fakeJob: fakeJob{
		Spec:     fakeexec.Spec{Entry: "100us", Bins: 997},
		files:    1,
		clusters: 10,
		entries:  4000,
	}}
	req := g.request(t)
	req.StaysOpen = true
	at := c.nodes[1]
	g.id = at.submit(t, req).ID
	at.until(t, g.id, "its first file is done, and it waits", func(st api.JobStatus) bool {
		return st.Open && st.Committed == g.entries && strings.HasPrefix(st.Phase, "waiting for more")
	})
	g.append(c, at, 1)
	g.append(c, at, 1) // its answer was lost, say
	g.append(c, at, 2)

	other := c.nodes[0]
	if _, err := other.client.Append(t.Context(), g.id, api.AppendRequest{Close: true}); err == nil ||
		!strings.Contains(err.Error(), "was not submitted by this node") {
		t.Errorf("another member closes the job: %v", err)
	}
	wrong := api.AppendRequest{Seq: 2, Files: []api.InputFile{{URL: "fake://other?entries=7&clusters=1"}}}
	if _, err := at.client.Append(t.Context(), g.id, wrong); err == nil ||
		!strings.Contains(err.Error(), "another append has its number") {
		t.Errorf("another append with a number that is taken: %v", err)
	}

	kill(t, at.cmd.Process.Pid)
	<-at.ended
	at.relaunch(t, specs[1])
	check(t, at.waitReady())
	g.append(c, at, 2) // nobody knows whether the daemon that was killed has heard of it
	for seq := uint64(3); seq <= 5; seq++ {
		g.append(c, at, seq)
	}
	r := at.dtpnode(t, t.TempDir(), "close", g.id, "--output", "json")
	var closed api.Appended
	if err := json.Unmarshal([]byte(r.stdout), &closed); r.code != 0 || err != nil || !closed.Closed {
		t.Fatalf("could not close: %+v: %v", r, err)
	}
	if r := at.dtpnode(t, t.TempDir(), "close", g.id); r.code != 0 {
		t.Errorf("could not close what is closed: %+v", r)
	}
	if r := at.dtpnode(t, t.TempDir(), "append", g.id, "fake://late?entries=5&clusters=1", "--tree", "T"); r.code != 1 ||
		!strings.Contains(r.stderr, "closed") && !strings.Contains(r.stderr, "over") {
		t.Errorf("appended to a closed job: %+v", r)
	}
	n, st := c.waitFinal(t, g.id, commandLimit)
	g.files = 6
	g.wantCounted(t, n, st)
	if st.Open || st.Files != g.files {
		t.Errorf("ended open, or with %d files, want %d", st.Files, g.files)
	}
	c.wantSettled(t, g.id)
}
