package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// Settings of the tests in this file, from the environment.
const (
	envChaosTime  = "DTPNODE_CHAOS_TIME"  // how long faults go on, as "10m"
	envChaosNodes = "DTPNODE_CHAOS_NODES" // daemons without ROOT
	envChaosSeed  = "DTPNODE_CHAOS_SEED"  // of the schedule, printed by every run
)

// faultPeriod is the time from one fault to the next.
const faultPeriod = 2 * time.Second

// storm kills and stops the daemons of a cluster. Its schedule, what befalls whom for how long, is drawn from
// one seed.
type storm struct {
	c       *cluster
	specs   []nodeSpec
	rng     *rand.Rand
	job     string
	due     map[int]time.Time // when a daemon that is out comes back
	stopped map[int][]int     // processes that are stopped
	kills   int
	stops   int
	homes   int // kills of the home
}

// newStorm seeds a storm from the environment or the clock, and says from what.
func newStorm(t testing.TB, c *cluster, specs []nodeSpec) *storm {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(envChaosSeed); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		check(t, err)
	}
	t.Logf("the schedule is drawn from %s=%d", envChaosSeed, seed)
	s := &storm{
		c:       c,
		specs:   specs,
		rng:     rand.New(rand.NewPCG(seed, 50)),
		due:     map[int]time.Time{},
		stopped: map[int][]int{},
	}
	t.Cleanup(func() { // before the cluster's: a stopped daemon does not end
		for _, pids := range s.stopped {
			signalAll(syscall.SIGCONT, pids)
		}
	})
	return s
}

// chaosTime is how long faults go on.
func chaosTime(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv(envChaosTime)
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	check(t, err)
	return d
}

// rage lets faults happen for a time, or until the job has ended, and then all daemons run again.
func (s *storm) rage(t testing.TB, d time.Duration) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	next := begin.Add(faultPeriod)
	told := begin
	for now := begin; now.Sub(begin) < d; now = <-tick.C {
		s.comeBack(t, now)
		if now.Before(next) {
			continue
		}
		st := s.look()
		if st.State.Final() {
			t.Logf("the job ended after %s of %s", now.Sub(begin).Round(time.Second), d)
			break
		}
		if now.Sub(told) >= 10*time.Second {
			told = now
			t.Logf("after %s: %s done, %s committed, home %s", now.Sub(begin).Round(time.Second), percent(st.Done, st.Units),
				percent(st.Committed, st.Units), st.HomeName)
		}
		next = next.Add(faultPeriod)
		s.strike(t, now, s.home(st))
	}
	for len(s.due) > 0 {
		s.comeBack(t, <-tick.C)
	}
	t.Logf("%d daemons were killed, of them %d homes, and %d stopped for a while", s.kills, s.homes, s.stops)
}

func percent(n, of int64) string { return fmt.Sprintf("%.1f%%", 100*float64(n)/float64(max(of, 1))) }

// look asks the daemons that are not out for the job, until one can tell.
func (s *storm) look() (st api.JobStatus) {
	for i, n := range s.c.nodes {
		if _, out := s.due[i]; out {
			continue
		}
		if st, err := n.job(context.Background(), s.job); err == nil {
			return st
		}
	}
	return st
}

// strike lets one fault happen. What is drawn does not depend on how things stand, but for the victim: the
// next one in line takes the place of one that is out.
func (s *storm) strike(t testing.TB, now time.Time, home int) {
	t.Helper()
	victim, kills, atHome := s.rng.IntN(len(s.c.nodes)), s.rng.IntN(2) == 0, s.rng.IntN(4) == 0
	away := time.Duration(s.rng.IntN(3000)) * time.Millisecond // of a killed daemon
	pause := 3*time.Second + time.Duration(s.rng.IntN(5000))*time.Millisecond
	if atHome && home >= 0 {
		victim = home
	}
	for range s.c.nodes {
		if _, out := s.due[victim]; !out {
			break
		}
		victim = (victim + 1) % len(s.c.nodes)
	}
	if _, out := s.due[victim]; out {
		return
	}
	n := s.c.nodes[victim]
	pids := append([]int{n.cmd.Process.Pid}, below(n.cmd.Process.Pid)...)
	if kills {
		s.kills++
		if victim == home {
			s.homes++
		}
		kill(t, pids[0])
		s.due[victim] = now.Add(away)
		return
	}
	s.stops++
	signalAll(syscall.SIGSTOP, pids)
	s.stopped[victim] = pids
	s.due[victim] = now.Add(pause)
}

// home is the index of the job's home, as a daemon tells it; -1 if nobody knows.
func (s *storm) home(st api.JobStatus) int {
	return slices.IndexFunc(s.c.nodes, func(n *node) bool { return n.name == st.HomeName })
}

// comeBack lets daemons whose time has come run again.
func (s *storm) comeBack(t testing.TB, now time.Time) {
	t.Helper()
	for i, at := range s.due {
		if now.Before(at) {
			continue
		}
		delete(s.due, i)
		if pids, ok := s.stopped[i]; ok {
			delete(s.stopped, i)
			signalAll(syscall.SIGCONT, pids)
			continue
		}
		s.c.nodes[i].relaunch(t, s.specs[i])
	}
}

// signalAll sends a signal to processes, some of which may have gone.
func signalAll(sig syscall.Signal, pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

// relaunch starts a daemon that was killed again, with the same state, and does not wait for it.
func (n *node) relaunch(t testing.TB, spec nodeSpec) {
	t.Helper()
	n.client.Close()
	_ = n.stdin.Close()
	<-n.ended
	spec.state = n.state
	again, err := launchNode(n.dir, spec)
	check(t, err)
	*n = *again
}

// TestChaos kills and stops, one every two seconds, the daemons of a cluster of many that sleep and count.
// The result is what a serial count gives, bin by bin.
func TestChaos(t *testing.T) {
	t.Parallel()
	nodes := 20
	if roottest.Everything() {
		nodes = 50
	}
	if s := os.Getenv(envChaosNodes); s != "" {
		var err error
		nodes, err = strconv.Atoi(s)
		check(t, err)
	}
	d := chaosTime(t)
	specs := fakeSpecs(t, nodes)
	c := ownCluster(t, specs...)
	t.Logf("%d daemons hold %d MB each", nodes, c.rss(t)/int64(nodes)>>20)
	s := newStorm(t, c, specs)
	home := s.rng.IntN(nodes)
	j := paceOf(nodes, d)
	s.job = c.nodes[home].submit(t, j.request(t)).ID
	begin := time.Now()
	s.rage(t, d)
	n, st := c.waitFinal(t, s.job, d+commandLimit)
	j.wantCounted(t, n, st)
	t.Logf("%s of work took %s; under the last home: %d steals, %d merges", d, time.Since(begin).Round(time.Second),
		st.Steals, st.Merges)
	c.wantSettled(t, s.job)
}

// rss is what all daemons hold in memory together.
func (c *cluster) rss(t testing.TB) (sum int64) {
	t.Helper()
	for _, n := range c.nodes {
		st, err := n.status()
		check(t, err)
		sum += st.RSS
	}
	return sum
}

// TestChaosROOT does the same to four daemons that run ROOT.
func TestChaosROOT(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	d := chaosTime(t)
	var specs []nodeSpec
	for i := range 4 {
		specs = append(specs, nodeSpec{name: fmt.Sprintf("r%d", i)})
	}
	c := ownCluster(t, specs...)
	j := paced(t, int(d.Microseconds()*int64(len(specs))/80_000))
	s := newStorm(t, c, specs)
	home := s.rng.IntN(len(specs))
	j.args = append(j.args, "--detach")
	r := c.nodes[home].dtpnode(t, t.TempDir(), withoutEmpty(j.arguments(""))...)
	if r.code != 0 {
		t.Fatalf("could not submit: %+v", r)
	}
	s.job = strings.TrimSpace(r.stdout)
	begin := time.Now()
	s.rage(t, d)
	n, st := c.waitFinal(t, s.job, 2*d+commandLimit)
	o := outcome{st: st, out: t.TempDir() + "/out.root"}
	if o.result = n.dtpnode(t, t.TempDir(), "get", s.job, "-o", o.out); o.code != 0 {
		t.Fatalf("could not get the result: %s", o.describe())
	}
	o.wantWhole(t)
	t.Logf("%s of work took %s", d, time.Since(begin).Round(time.Second))
}

// TestPowerCut kills all daemons at once in the middle of a job, when a part of it is committed. They come back
// and go on where they were.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 6)
	c := ownCluster(t, specs...)
	const work = 45 * time.Second // generations are committed after 30 s
	j := paceOf(len(specs), work)
	id := c.nodes[0].submit(t, j.request(t)).ID
	var before, after int64
	c.nodes[0].until(t, id, "a part is committed", func(st api.JobStatus) bool {
		before = st.Committed
		return before > 0
	})
	for _, n := range c.nodes {
		kill(t, n.cmd.Process.Pid)
	}
	begin := time.Now()
	for i, n := range c.nodes {
		n.relaunch(t, specs[i])
	}
	c.nodes[3].until(t, id, "it goes on", func(st api.JobStatus) bool {
		after = st.Committed
		return st.State == api.Running || st.State.Final()
	})
	t.Logf("it goes on %.1f s after the cut, with %d of %d units committed", time.Since(begin).Seconds(), after, j.units())
	if after < before {
		t.Errorf("%d units were committed before the cut, %d are after it", before, after)
	}
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
	c.wantSettled(t, id)
}
