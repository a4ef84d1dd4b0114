package exectest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/exec"
)

// cases are the tests, in the order in which a job meets what they are of.
var cases = []struct {
	name string
	run  func(*testing.T, *env)
}{
	{"Info", testInfo},
	{"Plan", testPlan},
	{"PlanOfBadInputs", testPlanOfBadInputs},
	{"PacketsInAnyOrder", testPacketsInAnyOrder},
	{"TreeOfMergesIsOnePass", testMergesOfMerges},
	{"SealedEmpty", testSealedEmpty},
	{"SealedOnce", testSealedOnce},
	{"TwoPackets", testTwoPackets},
	{"Preempted", testPreempted},
	{"Tried", testTried},
	{"Killed", testKilled},
	{"Session", testSession},
	{"SessionClosed", testSessionClosed},
	{"SessionKilled", testSessionKilled},
	{"ProgramKilled", testProgramKilled},
	{"ReleasedAndUsedAgain", testReleased},
	{"MergeRefuses", testMergeRefuses},
	{"CodeThatCannotBeMade", testCodeThatCannotBeMade},
	{"FailedAtAnEntry", testFailedAtAnEntry},
	{"FailedWhileSealing", testFailedWhileSealing},
	{"FailedSteps", testFailedSteps},
	{"RefusedInputs", testRefusedInputs},
	{"Flood", testFlood},
	{"Cancelled", testCancelled},
	{"CancelledMidway", testCancelledMidway},
	{"OnAnotherHost", testOnAnotherHost},
	{"Values", testValues},
	{"NoValues", testNoValues},
	{"BadItems", testBadItems},
}

// testInfo looks at what is told of a runtime before it is opened.
func testInfo(t *testing.T, e *env) {
	info := e.rt.Info()
	if info.Kind != e.Finder.Kind() || info.Kind != e.info.Kind || info.Version != e.info.Version {
		t.Errorf("found is %+v, opened %+v, of the kind %q", e.info, info, e.Finder.Kind())
	}
	for _, need := range []string{info.Kind, exec.Needed(info.Kind, info.Version)} {
		if !slices.Contains(info.Offer(), need) {
			t.Errorf("%v does not offer %q", info.Offer(), need)
		}
	}
	bad := filepath.Join(t.TempDir(), "x")
	for _, content := range []string{"", "no partial"} {
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if units, canary, err := e.Finder.Counted(bad); err == nil {
			t.Errorf("counted are %d and %x in %q", units, canary, content)
		}
	}
	if _, _, err := e.Finder.Counted(bad + ".no"); err == nil {
		t.Error("counted is a file that is not there")
	}
}

// testPlan reads inputs, several at once.
func testPlan(t *testing.T, e *env) {
	type result struct {
		exec.Plan
		err error
	}
	sizes := []int64{0, 1, 1000}
	results := make(chan result, len(sizes))
	files := map[string]int64{}
	for i, n := range sizes {
		file := e.Input(t, fmt.Sprint(i), n, 0)
		files[file] = n
		go func() {
			p, err := e.rt.Plan(t.Context(), file, e.Part, 0)
			results <- result{p, err}
		}()
	}
	for range sizes {
		r := <-results
		if r.err != nil {
			t.Errorf("planned: %s", explain(r.err))
			continue
		}
		if r.Entries != files[r.File] || r.Part != e.Part {
			t.Errorf("planned is %+v; want %d entries of %q", r.Plan, files[r.File], e.Part)
		}
		if c := r.Clusters; r.Entries > 0 && (len(c) == 0 || c[0] != 0 || !slices.IsSorted(c) || c[len(c)-1] >= r.Entries) {
			t.Errorf("clusters of %d entries begin at %v", r.Entries, c)
		}
	}
}

// testPlanOfBadInputs plans what this host does not see, and what nobody can read.
func testPlanOfBadInputs(t *testing.T, e *env) {
	good := e.Input(t, "good", 10, 0)
	for file, cause := range map[string]exec.Cause{e.Missing: exec.CauseMissing, e.Bad(t): ""} {
		_, err := e.rt.Plan(t.Context(), file, e.Part, 0)
		f := asFailure(err)
		if f == nil || f.Kind != exec.KindOpen || f.Host != cause || f.File != file || f.Msg == "" {
			t.Errorf("planned is %s: %+v, %v; want the kind open, and the cause %q", file, f, err, cause)
		}
		if _, err := e.rt.Plan(t.Context(), good, e.Part, 0); err != nil {
			t.Errorf("a good input after a bad one: %v", err)
		}
	}
}

// testPacketsInAnyOrder runs packets of several inputs one after the other and mixed, in one generation each.
func testPacketsInAnyOrder(t *testing.T, e *env) {
	j := e.job(t, Code{})
	var id uint64
	a := e.cut(e.Input(t, "a", 1000, 0), 1000, 130, 0, &id)
	b := e.cut(e.Input(t, "b", 700, 1000), 700, 170, 1000, &id)
	all := slices.Concat(a, b)
	var mixed []exec.Packet
	for i := range max(len(a), len(b)) {
		for _, list := range [][]exec.Packet{b, a} {
			if i < len(list) {
				mixed = append(mixed, list[len(list)-1-i])
			}
		}
	}
	var outputs []string
	for _, packets := range [][]exec.Packet{all, mixed} {
		g := j.begin(t, exec.Limits{})
		g.work(t, packets)
		p := g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
		waitFor(t, g.Done(), "a sealed generation does not end")
		fin, out := j.finish(t, t.TempDir(), []string{p.Path})
		if fin.Units != p.Units || fin.Canary != p.Canary || len(fin.Apart) > 0 {
			t.Errorf("finished is %+v of %+v", fin, p)
		}
		outputs = append(outputs, out)
	}
	if err := e.Same(t, outputs[0], outputs[1]); err != nil {
		t.Errorf("packets in another order count otherwise: %v", err)
	}
}

// testMergesOfMerges deals packets to generations, merges their partials in random trees, and compares with one pass.
func testMergesOfMerges(t *testing.T, e *env) {
	j := e.job(t, Code{})
	const na, nb = 400, 300
	fileA, fileB := e.Input(t, "a", na, 0), e.Input(t, "b", nb, na)
	var id uint64
	whole := slices.Concat(e.cut(fileA, na, na, 0, &id), e.cut(fileB, nb, nb, na, &id))
	g := j.begin(t, exec.Limits{})
	g.work(t, whole)
	p := g.seal(t, e, filepath.Join(t.TempDir(), "whole"), whole)
	_, want := j.finish(t, t.TempDir(), []string{p.Path})
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatalf("%v", err)
		}
		packets := slices.Concat(
			e.cut(fileA, na, rapid.Int64Range(40, na).Draw(rt, "step in a"), 0, &id),
			e.cut(fileB, nb, rapid.Int64Range(40, nb).Draw(rt, "step in b"), na, &id))
		packets = rapid.Permutation(packets).Draw(rt, "order")
		paths := j.dealt(rt, dir, packets, rapid.IntRange(1, 3).Draw(rt, "generations"))
		paths = j.merged(rt, dir, paths)
		fin, out := j.finish(rt, mkdir(rt, dir, "finish"), paths)
		if units, canary := sum(whole); fin.Units != units {
			rt.Fatalf("finished is %+v; want %d units", fin, units)
		} else if _, dealt := sum(packets); fin.Canary != dealt {
			rt.Fatalf("the canary is %x, not %x (%x as whole)", fin.Canary, dealt, canary)
		}
		if err := e.Same(t, want, out); err != nil {
			rt.Fatalf("not as in one pass: %v", err)
		}
	})
}

// dealt runs packets in so many generations, and returns their partials.
func (j *job) dealt(rt *rapid.T, dir string, packets []exec.Packet, n int) (paths []string) {
	hands := make([][]exec.Packet, n)
	for _, p := range packets {
		i := rapid.IntRange(0, n-1).Draw(rt, "generation")
		hands[i] = append(hands[i], p)
	}
	for i, hand := range hands {
		g := j.start(rt, mkdir(rt, dir, "work"+fmt.Sprint(i)), exec.Limits{})
		g.work(rt, hand)
		path := filepath.Join(dir, "partial"+fmt.Sprint(i))
		g.seal(rt, j.e, path, hand)
		waitFor(rt, g.Done(), "a sealed generation does not end")
		paths = append(paths, path)
	}
	return paths
}

// merged merges partials in a random tree, down to a random number of them.
func (j *job) merged(rt *rapid.T, dir string, paths []string) []string {
	for i := 0; len(paths) > 1 && rapid.IntRange(0, 3).Draw(rt, "merge again") > 0; i++ {
		n := rapid.IntRange(1, len(paths)).Draw(rt, "merged at once")
		paths = rapid.Permutation(paths).Draw(rt, "order of merges")
		out := filepath.Join(dir, "merge"+fmt.Sprint(i))
		p, err := j.prog.Merge(rt.Context(), paths[:n], out)
		if err != nil {
			rt.Fatalf("could not merge: %s", explain(err))
		}
		var units int64
		var canary uint64
		for _, path := range paths[:n] {
			u, c, err := j.e.Finder.Counted(path) // the inputs stay
			if err != nil {
				rt.Fatalf("%v", err)
			}
			units, canary = units+u, canary+c
		}
		u, c, err := j.e.Finder.Counted(out)
		if err != nil || p.Units != units || p.Canary != canary || u != units || c != canary {
			rt.Fatalf("merged is %+v with %d and %x: %v; want %d units and the canary %x", p, u, c, err, units, canary)
		}
		paths = append([]string{out}, paths[n:]...)
	}
	return paths
}

func mkdir(t reporter, dir, name string) string {
	t.Helper()
	out := filepath.Join(dir, name)
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// testSealedEmpty seals generations that have done nothing: what they count is nothing, and it merges.
func testSealedEmpty(t *testing.T, e *env) {
	j := e.job(t, Code{})
	var id uint64
	packets := e.cut(e.Input(t, "a", 100, 0), 100, 100, 0, &id)
	g := j.begin(t, exec.Limits{})
	g.work(t, packets)
	dir := t.TempDir()
	full := g.seal(t, e, filepath.Join(dir, "full"), packets)
	empty := j.begin(t, exec.Limits{}).seal(t, e, filepath.Join(dir, "empty"), nil)
	p, err := j.prog.Merge(t.Context(), []string{empty.Path, full.Path, empty.Path}, filepath.Join(dir, "merged"))
	if err != nil {
		t.Fatal(explain(err))
	}
	e.checkPartial(t, p, p.Path, packets)
	_, alone := j.finish(t, t.TempDir(), []string{full.Path})
	_, both := j.finish(t, t.TempDir(), []string{p.Path})
	if err := e.Same(t, alone, both); err != nil {
		t.Errorf("nothing adds something: %v", err)
	}
	for _, partials := range [][]string{nil, {empty.Path}} {
		if fin, _ := j.finish(t, t.TempDir(), partials); fin.Units != 0 || fin.Canary != 0 {
			t.Errorf("finished over %d empty partials is %+v", len(partials), fin)
		}
	}
}

// testSealedOnce seals a generation twice, and works on with one that has ended.
func testSealedOnce(t *testing.T, e *env) {
	j := e.job(t, Code{})
	g := j.begin(t, exec.Limits{})
	dir := t.TempDir()
	g.seal(t, e, filepath.Join(dir, "partial"), nil)
	if _, err := g.Seal(t.Context(), filepath.Join(dir, "again")); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("sealed again: %v", err)
	}
	if err := g.Lease(exec.Packet{ID: 1, Last: 1}); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("leased after the end: %v", err)
	}
	waitFor(t, g.Done(), "a sealed generation does not end")
	g.Preempt() // of no effect
	g.Kill()
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if len(g.fails) > 0 {
		t.Errorf("a generation that was sealed fails: %v", <-g.fails)
	}
}

// held is a generation that works on the first of two packets of an input, and stands at the entry 60 of 100.
func (e *env) held(t *testing.T) (j *job, g *generation, packets []exec.Packet, letGo func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "go")
	j = e.job(t, Code{How: Hold, At: 1060, Go: file})
	g = j.begin(t, exec.Limits{})
	var id uint64
	packets = e.cut(e.Input(t, "held", 200, 1000), 200, 100, 1000, &id)
	g.lease(t, packets...)
	g.waitMark(t)
	return j, g, packets, func() {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// testTwoPackets leases a third packet.
func testTwoPackets(t *testing.T, e *env) {
	_, g, packets, letGo := e.held(t)
	third := packets[1]
	third.ID = 3
	if err := g.Lease(third); !errors.Is(err, exec.ErrQueueFull) {
		t.Errorf("a third packet: %v", err)
	}
	letGo()
	for i := range 2 {
		if d := g.wait(t); d.ID != packets[i].ID || d.Last != packets[i].Last {
			t.Errorf("done is %+v of %+v", d, packets[i])
		}
	}
	g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
}

// testPreempted cuts a packet that runs, and one that waits, and does the rest.
func testPreempted(t *testing.T, e *env) {
	j, g, packets, letGo := e.held(t)
	g.Preempt()
	letGo()
	first, second := g.wait(t), g.wait(t)
	if first.ID != packets[0].ID || first.Last != 61 || second.ID != packets[1].ID || second.Last != packets[1].First {
		t.Fatalf("done are %+v and %+v; want the first up to 61, the second not at all", first, second)
	}
	rest := []exec.Packet{packets[0], packets[1]}
	rest[0].ID, rest[0].First = 3, 61
	rest[1].ID = 4
	g.lease(t, rest...)
	for range rest {
		if d := g.wait(t); d.ID == 3 && d.Last != 100 || d.ID == 4 && d.Last != 200 {
			t.Errorf("done after a preemption is %+v", d)
		}
	}
	cutOff := packets[0]
	cutOff.Last = 61
	p := g.seal(t, e, filepath.Join(t.TempDir(), "partial"), append(rest, cutOff))
	whole := j.begin(t, exec.Limits{})
	whole.work(t, packets)
	q := whole.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
	_, a := j.finish(t, t.TempDir(), []string{p.Path})
	_, b := j.finish(t, t.TempDir(), []string{q.Path})
	if err := e.Same(t, a, b); err != nil {
		t.Errorf("a preemption changes what is counted: %v", err)
	}
}

// testTried tries good code and bad, on inputs of one entry, of many and of none.
func testTried(t *testing.T, e *env) {
	good := e.job(t, Code{})
	spec := func(j *job) exec.GenSpec { return exec.GenSpec{Job: seed, Input: j.input, Dir: t.TempDir()} }
	for _, n := range []int64{0, 1, 100} {
		if err := good.prog.Try(t.Context(), spec(good), e.Input(t, fmt.Sprint(n), n, 0), e.Part); err != nil {
			t.Errorf("tried on %d entries: %s", n, explain(err))
		}
	}
	bad := e.job(t, Code{How: Throw, At: 0}) // what is tried begins with the unit 0
	file := e.Input(t, "bad", 100, 0)
	f := asFailure(bad.prog.Try(t.Context(), spec(bad), file, e.Part))
	if f == nil || f.Kind != exec.KindException || f.Entry != 0 || f.File != file {
		t.Errorf("tried is bad code: %+v", f)
	}
	f = asFailure(good.prog.Try(t.Context(), spec(good), e.Missing, e.Part))
	if f == nil || f.Kind != exec.KindOpen || f.Host != exec.CauseMissing {
		t.Errorf("tried on what is not there: %+v", f)
	}
}

// testKilled kills a generation that is busy.
func testKilled(t *testing.T, e *env) {
	before := processes()
	_, g, _, _ := e.held(t)
	g.Kill()
	select {
	case <-g.Done():
	default:
		t.Error("a generation that was killed goes on")
	}
	if err := g.Lease(exec.Packet{ID: 3, Last: 1}); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("leased after the end: %v", err)
	}
	if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "x")); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("sealed after the end: %v", err)
	}
	g.Kill() // of no effect
	if len(g.fails)+len(g.done) > 0 {
		t.Error("a generation that was killed reports something")
	}
	e.checkNoGenerations(t, before)
}

// testReleased makes one program ready several times, and releases it while another is at work.
func testReleased(t *testing.T, e *env) {
	a, b := e.job(t, Code{}), e.describe(t, e.rt, Code{})
	if a.prog.Key() != b.prog.Key() {
		t.Errorf("one code goes by the keys %q and %q", a.prog.Key(), b.prog.Key())
	}
	var id uint64
	packets := e.cut(e.Input(t, "a", 100, 0), 100, 30, 0, &id)
	g := a.begin(t, exec.Limits{})
	extra, err := e.rt.Describe(t.Context(), e.request(t, Code{}))
	if err != nil {
		t.Fatal(explain(err))
	}
	extra.Program.Release()
	g.work(t, packets)
	g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
	c := e.job(t, Code{})
	g = c.begin(t, exec.Limits{})
	g.work(t, packets)
	g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
	if err := e.rt.Forget("somebody else"); err != nil {
		t.Errorf("forgot a submitter: %v", err)
	}
}
