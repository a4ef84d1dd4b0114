package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	out := g.appendRequest(c, n, api.AppendRequest{Seq: seq, Files: []api.InputFile{{URL: file}}})
	if want := g.entries * int64(seq+1); out.Units < want || out.Appends < seq || out.Closed {
		g.t.Errorf("after append %d: %+v, want %d units", seq, out, want)
	}
}

// appendRequest has the job grow by what a request says, as often as it takes.
func (g *growing) appendRequest(c *cluster, n *node, req api.AppendRequest) (out api.Appended) {
	g.t.Helper()
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
	return out
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

	g.race(at, 3)

	kill(t, at.cmd.Process.Pid)
	<-at.ended
	at.relaunch(t, specs[1])
	check(t, at.waitReady())
	g.append(c, at, 2) // nobody knows whether the daemon that was killed has heard of it
	for seq := uint64(4); seq <= 6; seq++ {
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
	g.files = 7
	g.wantCounted(t, n, st)
	if st.Open || st.Files != g.files {
		t.Errorf("ended open, or with %d files, want %d", st.Files, g.files)
	}
	c.wantSettled(t, g.id)
}

// appendOnce has the job grow by its next file. Its submitter takes that from its first moment on; only that no node
// leads the job for a moment may have it asked again, and it is answered in time.
func (g *growing) appendOnce(n *node, seq uint64) {
	g.t.Helper()
	file := fmt.Sprintf("fake://a%d?entries=%d&clusters=%d", seq, g.entries, g.clusters)
	req := api.AppendRequest{Seq: seq, Files: []api.InputFile{{URL: file}}}
	var e *api.Error
	check(g.t, poll(commandLimit, func() (bool, error) {
		_, err := n.client.Append(g.t.Context(), g.id, req)
		if errors.As(err, &e) && e.Status == http.StatusServiceUnavailable {
			return false, nil
		}
		return err == nil, err
	}))
}

// race gives several appends with one number at once. The one that counts is told so, and the others are refused.
func (g *growing) race(n *node, seq uint64) {
	g.t.Helper()
	const runners = 6
	errs := make(chan error, runners)
	for i := range runners {
		go func() {
			file := fmt.Sprintf("fake://race%d?entries=%d&clusters=%d", i, g.entries, g.clusters)
			_, err := n.client.Append(g.t.Context(), g.id, api.AppendRequest{Seq: seq, Files: []api.InputFile{{URL: file}}})
			errs <- err
		}()
	}
	took := 0
	for range runners {
		switch err := <-errs; {
		case err == nil:
			took++
		case !strings.Contains(err.Error(), "another append has its number"):
			g.t.Errorf("lost the race: %v", err)
		}
	}
	if took != 1 {
		g.t.Errorf("%d of %d appends with number %d are told that they count, want one", took, runners, seq)
	}
}
