package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// What package node writes into its log when it is built with the tag "liars".
const (
	lieLogged = "lies from now on"
	lieObeyed = "was obeyed, though it had no right"
)

// liarAllowance is what the simulator allows a job beside a liar, beyond twice its clean time (sim.LiarAllowance).
const liarAllowance = 4 * time.Minute

// slowAllowance is for one fetch that is given up, and what others run for it; mostly it takes some 10 s.
const slowAllowance = time.Minute - 2*honestTime

// beside is a cluster of honest daemons, and one that lies in a job of theirs.
type beside struct {
	*cluster // of the honest ones
	liar     *node
	liarID   string
	id       string // of the job
}

// lyingSpecs are so many honest daemons and a liar, the last, with a seed and a role.
func lyingSpecs(t testing.TB, honest int, seed uint64, role string) []nodeSpec {
	t.Helper()
	specs := fakeSpecs(t, honest+1)
	for i := range specs {
		specs[i].args = []string{"--commit-every", "300ms"} // there are commits, folds and merges to lie about
	}
	specs[honest] = asLiar(specs[honest], fakeBinary(t, "liars"), seed, role)
	return specs
}

// asLiar is a daemon that lies with that seed in that role.
func asLiar(spec nodeSpec, binary string, seed uint64, role string) nodeSpec {
	spec.name, spec.binary = "liar", binary
	spec.env = append(spec.env, fmt.Sprint("DTPNODE_LIAR=", seed), "DTPNODE_LIAR_ROLE="+role)
	return spec
}

// rightfulBeside joins daemons with those rights, the first with all; the last is the liar.
func rightfulBeside(t *testing.T, specs []nodeSpec, rights ...string) *beside {
	t.Helper()
	c := rightfulOf(t, specs, rights...)
	last := len(c.nodes) - 1
	st, err := c.nodes[last].status()
	check(t, err)
	return &beside{cluster: &cluster{nodes: c.nodes[:last:last]}, liar: c.nodes[last], liarID: st.ID}
}

// wantLying waits until the liar lies.
func (b *beside) wantLying(t testing.TB) {
	t.Helper()
	if err := poll(settleLimit, func() (bool, error) { return b.logged(lieLogged), nil }); err != nil {
		t.Fatalf("the liar has not begun: %v\n%s", err, b.liar.logTail(0))
	}
}

func (b *beside) logged(says string) bool {
	text, err := os.ReadFile(b.liar.log)
	return err == nil && bytes.Contains(text, []byte(says))
}

// wantNamed waits until all honest nodes name the liar in their status, and have closed its link; of no other is
// anything said, ever.
func (b *beside) wantNamed(t testing.TB) {
	t.Helper()
	for _, n := range b.nodes {
		var st api.NodeStatus
		closed := ""
		err := poll(commandLimit, func() (bool, error) {
			r := n.dtpnode(t, t.TempDir(), "status", "--output", "json")
			if err := json.Unmarshal([]byte(r.stdout), &st); err != nil {
				return false, err
			}
			if closed == "" {
				closed = b.closed(t, n)
			}
			return len(st.Wrongs) > 0 && closed != "", nil
		})
		if err != nil {
			t.Errorf("%s has not named the liar, or not closed its link (%q): %v: %+v\n%s", n.name, closed, err, st.Wrongs,
				n.logTail(0))
		}
	}
	b.wantNoneAccused(t)
}

// closed is why a node refuses the liar, empty if it does not just now.
func (b *beside) closed(t testing.TB, n *node) string {
	t.Helper()
	members, err := n.client.Members(t.Context())
	check(t, err)
	for _, m := range members {
		if m.ID == b.liarID && !m.Up && strings.HasPrefix(m.Note, "shunned") {
			return m.Note
		}
	}
	return ""
}

// wantNoneAccused fails the test if an honest node has found fault with another than the liar.
func (b *beside) wantNoneAccused(t testing.TB) {
	t.Helper()
	for _, n := range b.nodes {
		st, err := n.status()
		check(t, err)
		for _, w := range st.Wrongs {
			if w.ID != b.liarID {
				t.Errorf("%s accuses %s %s, which is honest: %v", n.name, w.Name, w.ID, w.Counts)
			}
		}
	}
}

// wantRefused has the liar's user try commands on the job, and sees that what the liar asked for past its own checks
// was refused too.
func (b *beside) wantRefused(t testing.TB, commands ...string) {
	t.Helper()
	for _, args := range commands {
		if r := b.liar.dtpnode(t, t.TempDir(), append(strings.Fields(args), b.id)...); r.code == 0 || r.stdout != "" {
			t.Errorf("the liar's %q was not refused: %+v", args, r)
		}
	}
	if b.logged(lieObeyed) {
		t.Errorf("the liar was obeyed:\n%s", b.liar.logTail(0))
	}
}

// wantHarmless sees the job to its end beside the liar, and then that nothing remains of either: within the time that
// is promised each honest node has the exact result, names the liar and nobody else, and forgets the job.
func (b *beside) wantHarmless(t *testing.T, j fakeJob, clean time.Duration) {
	t.Helper()
	b.wantLying(t)
	begun := time.Now()
	b.wantRefused(t, "logs", "get -o -", "cancel")
	_, st := b.waitFinal(t, b.id, 2*clean+liarAllowance)
	t.Logf("the job ended %.1f s after the lies began", time.Since(begun).Seconds())
	for _, n := range b.nodes {
		j.wantCounted(t, n, st)
	}
	b.wantRefused(t, "logs", "get -o -", "cancel --keep", "finish")
	b.wantNamed(t)
	t.Logf("all have named the liar after %.1f s", time.Since(begun).Seconds())
	b.wantRefused(t)
	b.liar.crash(t)
	if r := b.nodes[0].dtpnode(t, t.TempDir(), "revoke", b.liar.name); r.code != 0 {
		t.Errorf("could not revoke the liar: %+v", r)
	}
	b.wantForgotten(t)
	for _, n := range b.nodes {
		j.wantCounted(t, n, st)
	}
	b.wantNoneAccused(t)
	t.Logf("all is settled after %.1f s", time.Since(begun).Seconds())
}

// wantForgotten waits until all honest nodes see each other, and nothing runs or is kept there of the job that has
// ended. Of a job of the liar's own a copy of the ledger may stay for ever: a lying home can keep its job from ending.
func (b *beside) wantForgotten(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(b.liar.log)
	check(t, err)
	about := regexp.MustCompile(`"` + lieLogged + `" .* job=([0-9a-f]{64})`).FindSubmatch(text)
	if about == nil {
		t.Fatalf("the liar does not say which job it lies about:\n%s", text)
	}
	for _, n := range b.nodes {
		check(t, n.waitReady())
		b.wantUp(t, n, len(b.nodes))
		n.until(t, b.id, "the job has ended", func(st api.JobStatus) bool { return st.State == api.Done })
		var left []string
		busy := 0
		err := poll(settleLimit, func() (bool, error) {
			st, err := n.status()
			left = slices.DeleteFunc(n.left(b.id), func(path string) bool { return !strings.Contains(path, string(about[1])) })
			busy = st.Busy
			return busy == 0 && len(left) == 0, err
		})
		if err != nil {
			t.Errorf("%s has %d slots busy and keeps the files %q: %v\n%s", n.name, busy, left, err, n.logTail(0))
		}
	}
}

// lyingSeeds plays $DTPNODE_LIARS seeds from $DTPNODE_FIRST on; each is another liar.
func lyingSeeds(t *testing.T, f func(t *testing.T, seed uint64)) {
	n, first := uint64(2), uint64(0)
	for name, to := range map[string]*uint64{"DTPNODE_LIARS": &n, "DTPNODE_FIRST": &first} {
		if s := os.Getenv(name); s != "" {
			var err error
			*to, err = strconv.ParseUint(s, 10, 64)
			check(t, err)
		}
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f(t, seed)
		})
	}
}

// How long the job of an honest submitter takes its honest workers, if nobody lies.
const honestTime = 6 * time.Second

// TestLyingWorker has a member lie that works for the job and may do no more than that.
func TestLyingWorker(t *testing.T) {
	t.Parallel()
	lyingSeeds(t, func(t *testing.T, seed uint64) {
		b := rightfulBeside(t, lyingSpecs(t, 3, seed, "worker"), "worker,submitter,read", "worker,submitter,read", "worker")
		j := paceOf(3, honestTime)
		b.id = b.nodes[seed%3].submit(t, j.request(t)).ID
		b.wantHarmless(t, j, honestTime)
	})
}

// TestLyingFollower has one of three replicas of the job's ledger lie, while the home lives. There is nobody to take
// its place at first, and on odd seeds somebody comes who can.
func TestLyingFollower(t *testing.T) {
	t.Parallel()
	lyingSeeds(t, func(t *testing.T, seed uint64) {
		specs := lyingSpecs(t, 2, seed, "follower")
		b := rightfulBeside(t, specs, "worker,submitter,read", "worker,submitter")
		j := paceOf(2, honestTime)
		b.id = b.nodes[seed%2].submit(t, j.request(t)).ID
		b.wantLying(t)
		if seed%2 == 1 {
			late := b.admit(t, nodeSpec{name: "late", binary: specs[0].binary, args: specs[0].args})
			t.Cleanup(func() { check(t, late.stop()) })
		}
		b.wantHarmless(t, j, honestTime)
	})
}

// TestLyingHome has a member lie that leads a job of its own on the same nodes. That job may come to anything.
func TestLyingHome(t *testing.T) {
	t.Parallel()
	lyingSeeds(t, func(t *testing.T, seed uint64) {
		b := rightfulBeside(t, lyingSpecs(t, 3, seed, "home"), "worker,submitter,read", "worker,submitter,read",
			"worker,submitter")
		own := b.liar.submit(t, paceOf(4, 20*time.Minute).request(t))
		b.liar.running(t, own.ID)
		j := paceOf(3, honestTime)
		b.id = b.nodes[seed%3].submit(t, j.request(t)).ID
		b.wantHarmless(t, j, 2*honestTime) // the nodes work for both
	})
}

// TestForgedResult has a replica of a job that has ended lie in all that it answers: it shows the true proof of the end
// or a changed one, and another file as the result. A member that may read the job, and has no part in it, gets the
// true file or none.
func TestForgedResult(t *testing.T) {
	t.Parallel()
	specs := lyingSpecs(t, 3, 1, "answers")
	b := rightfulBeside(t, specs, "worker,submitter", "read", "worker,submitter")
	reader := b.nodes[2]
	j := paceOf(3, time.Second)
	id := b.nodes[0].submit(t, j.request(t)).ID
	submitter := &cluster{nodes: b.nodes[:1]} // to whom all of the job is told, however slow it is to answer
	_, st := submitter.waitFinal(t, id, commandLimit)
	for _, n := range []*node{b.nodes[1], b.liar} {
		n.until(t, id, "the job has ended", func(st api.JobStatus) bool { return st.State == api.Done })
	}
	const tries = 20 // the liar draws its lies
	for range tries {
		j.wantCounted(t, reader, st)
	}
	for _, n := range b.nodes[:2] {
		n.crash(t)
	}
	b.wantUp(t, reader, 2)
	for range tries {
		var body bytes.Buffer
		if _, err := reader.client.Result(t.Context(), id, &body); err == nil {
			t.Fatalf("the liar's file is taken for the result: %q", body.String())
		}
	}
}

// TestLyingPlanner has a member lie about the files of a submitter who sees none of them: it says that they are empty,
// broken or others. Two more members see them: no file is left out, and none is given up.
func TestLyingPlanner(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if seed > 0 {
				roottest.Long(t)
			}
			t.Parallel()
			specs := lyingSpecs(t, 3, seed, "planner")
			hide := filepath.Join(t.TempDir(), "hidden")
			var names string
			for i := range 8 {
				names += fmt.Sprintf("f%d\n", i)
			}
			check(t, os.WriteFile(hide, []byte(names), 0o600))
			specs[0].env = append(specs[0].env, fakeexec.EnvHide+"="+hide)
			b := rightfulBeside(t, specs, "worker,submitter", "worker,submitter", "worker")
			j := paceOf(3, 2*time.Second)
			n, st := b.waitFinal(t, b.nodes[0].submit(t, j.request(t)).ID, commandLimit)
			j.wantCounted(t, n, st)
		})
	}
}

// TestPoisonedPartials has a worker hand in partials that count what they should and hold no objects, or files that are
// none beside true objects. Nobody reads them before the job's last step: it is done all the same, without the liar,
// which the summary names.
func TestPoisonedPartials(t *testing.T) {
	t.Parallel()
	lies := map[uint64]string{1: "could not read object"}
	if roottest.Everything() {
		lies[6], lies[7], lies[10] = "damaged", "50000 files", "5000 files"
	}
	for seed, what := range lies {
		specs := often("a", "b", "liar")
		specs[2] = asLiar(specs[2], taggedBinary(t, "liars"), seed, "poison")
		b := rightfulBeside(t, specs, "worker,submitter", "worker")
		d := b.nodes[0].detach(t, paced(t, 100))
		end := b.nodes[0].wantEnd(t, d.id)
		end.out = d.out
		end.wantWhole(t)
		if !slices.ContainsFunc(end.st.Nodes, func(n api.NodeWork) bool {
			return n.ID == b.liarID && strings.Contains(n.Problem, "cannot be merged") && strings.Contains(n.Problem, what)
		}) {
			t.Errorf("%s: the summary does not say whose partials they were: %+v", what, end.st.Nodes)
		}
		b.wantNoneAccused(t)
	}
}

// TestLyingROOT has a replica lie beside daemons that run ROOT: the histograms are those of TChain::Process.
func TestLyingROOT(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	specs := often("a", "b", "liar")
	specs[2] = asLiar(specs[2], taggedBinary(t, "liars"), 3, "follower")
	b := rightfulBeside(t, specs, "worker,submitter,read", "worker,submitter")
	d := b.nodes[0].detach(t, paced(t, 200)) // 8 s of two slots
	b.id = d.id
	b.wantLying(t)
	b.wantRefused(t, "logs", "cancel")
	for _, n := range b.nodes {
		end := n.wantEnd(t, d.id)
		if end.st.State != api.Done {
			t.Errorf("%s tells another end: %+v", n.name, end.st)
		}
	}
	b.wantNamed(t)
	b.wantRefused(t)
	delivered := b.nodes[0].wantEnd(t, d.id)
	delivered.out = d.out
	delivered.wantWhole(t)
	b.liar.crash(t)
	b.wantForgotten(t)
	b.wantNoneAccused(t)
}

// whereLiarsAreSoaked skips a test that waits for minutes, as what it shows of ledgers alone is tested in theirs,
// unless seeds are asked for.
func whereLiarsAreSoaked(t *testing.T) {
	t.Helper()
	if os.Getenv("DTPNODE_LIARS") == "" {
		t.Skip("it takes minutes: set DTPNODE_LIARS=1")
	}
}

// TestLyingTricks has a worker tell one lie at a time that takes more than a wrong message: blobs that come byte by
// byte, made up from what others give it to merge, or said to be as large as can be; and claims of all units that
// blink. The result is exact, within the time that is promised.
func TestLyingTricks(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"drip", "forge", "size", "blink"} {
		t.Run(role, func(t *testing.T) {
			if role == "blink" {
				whereLiarsAreSoaked(t)
			}
			t.Parallel()
			b := rightfulBeside(t, lyingSpecs(t, 3, 1, role), "worker,submitter,read", "worker,submitter,read", "worker")
			j := paceOf(3, honestTime)
			b.id = b.nodes[0].submit(t, j.request(t)).ID
			b.wantLying(t)
			allowed := liarAllowance
			if role == "drip" {
				allowed = slowAllowance
			}
			_, st := b.waitFinal(t, b.id, 2*honestTime+allowed)
			for _, n := range b.nodes {
				j.wantCounted(t, n, st)
			}
			b.wantNoneAccused(t)
			if role == "drip" && !slices.ContainsFunc(st.Nodes, func(n api.NodeWork) bool {
				return n.ID == b.liarID && n.Slow > 0
			}) {
				t.Errorf("who gave its results byte by byte is not named: %+v", st.Nodes)
			}
			t.Logf("the job took %.1f s", st.Seconds)
		})
	}
}

// TestJobByAnothersName has a worker submit a job of its own by the name of another's that has ended, and whose result
// nobody has fetched. Nobody works for it, and when all have been started again the result is still the first job's.
func TestJobByAnothersName(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	specs := lyingSpecs(t, 3, 1, "name")
	b := rightfulBeside(t, specs, "worker,submitter,read", "worker,submitter,read", "worker,submitter")
	j := paceOf(3, time.Second)
	b.id = b.nodes[0].submit(t, j.request(t)).ID
	b.wantLying(t)
	_, st := b.waitFinal(t, b.id, commandLimit)
	of := func(n *node) bool {
		var list []api.JobStatus
		r := n.dtpnode(t, t.TempDir(), "ps", "--all", "--output", "json")
		check(t, json.Unmarshal([]byte(r.stdout), &list))
		return slices.ContainsFunc(list, func(o api.JobStatus) bool { return o.ID == b.id && o.Submitter == b.liarID })
	}
	own := b.liar.submit(t, paceOf(1, time.Second).request(t))
	if own.ID != b.id {
		t.Fatalf("its job is %s, and not %s", own.ID, b.id)
	}
	err := poll(commandLimit, func() (bool, error) {
		for _, n := range b.nodes {
			st, err := n.status()
			if err != nil || !slices.ContainsFunc(st.Wrongs, func(w api.Wrongs) bool { return w.ID == b.liarID }) {
				return false, err
			}
		}
		now, err := b.liar.client.Job(t.Context(), own.ID)
		return now.State.Final(), err
	})
	if err != nil {
		t.Errorf("the liar is not named by all, or its job has not ended: %v\n%s", err, b.liar.logTail(0))
	}
	b.liar.crash(t)
	for range 2 {
		for _, n := range b.nodes {
			j.wantCounted(t, n, st)
			if of(n) {
				t.Errorf("%s tells of the liar's job", n.name)
			}
		}
		b.wantNoneAccused(t)
		for i, n := range b.nodes {
			n.crash(t)
			n.restart(t, specs[i])
		}
		b.wantUp(t, b.nodes[0], len(b.nodes))
	}
}

// TestLyingSight has a worker say that it sees a file which nobody sees any more: the job ends without the rest of
// that.
func TestLyingSight(t *testing.T) {
	whereLiarsAreSoaked(t)
	t.Parallel()
	specs := lyingSpecs(t, 3, 1, "sees")
	hide := filepath.Join(t.TempDir(), "hidden")
	check(t, os.WriteFile(hide, nil, 0o600))
	for i := range specs {
		specs[i].env = append(specs[i].env, fakeexec.EnvHide+"="+hide)
	}
	b := rightfulBeside(t, specs, "worker,submitter,read", "worker,submitter,read", "worker")
	j := paceOf(3, honestTime)
	b.id = b.nodes[0].submit(t, j.request(t)).ID
	b.nodes[0].running(t, b.id)
	check(t, os.WriteFile(hide, []byte("f7\n"), 0o600))
	b.wantLying(t)
	_, st := b.waitFinal(t, b.id, 2*honestTime+liarAllowance)
	missing := int64(0)
	for _, m := range st.Missing {
		if m.Last-m.First > j.entries || !strings.Contains(m.File, "f7") {
			t.Errorf("missing is %+v", m)
		}
		missing += m.Last - m.First
	}
	if st.State != api.Partial || missing == 0 || st.Committed+missing != j.units() {
		t.Errorf("it ended as %s with %d of %d, and %d missing", st.State, st.Committed, j.units(), missing)
	}
	b.wantNoneAccused(t)
	t.Logf("the job took %.1f s", st.Seconds)
}
