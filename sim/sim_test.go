package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	replay = flag.Int64("seed", -1, "seed that TestReplay plays, with its trace")
	config = flag.String("config", "", "configuration that TestReplay plays, as JSON")
)

// TestMain collects garbage less often: a run makes much of it and keeps little.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(600)
	os.Exit(m.Run())
}

func seeds(t *testing.T, def int) int { return setting(t, "DTPNODE_SEEDS", def) }

// setting is a number from the environment.
func setting(t *testing.T, name string, def int) int {
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return def
}

// checkSeed runs a configuration. One that fails is shrunk, and printed as the command that replays it.
func checkSeed(t *testing.T, cfg Config) Result {
	t.Helper()
	res, err := Check(cfg)
	if err != nil {
		small, why := Shrink(cfg, 60)
		t.Errorf("seed %d: %v (after %v)\n\treplay: %s\n\tshrunk: %s\n\t        %v", cfg.Seed, err, res.Makespan,
			Command(cfg), Command(small), why)
	}
	return res
}

// TestExactlyOnce plays seeds with every fault that the protocol promises to survive, and checks that each fault has
// happened. $DTPNODE_SEEDS is how many seeds, $DTPNODE_FIRST the first one, and $DTPNODE_SIM_TIME how long to play
// instead. It runs without the race detector, which finds nothing in a program of one goroutine and makes it ten times
// slower.
func TestExactlyOnce(t *testing.T) {
	if raceEnabled {
		goTest(t, "-run", "^TestExactlyOnce$", ".")
		return
	}
	n, first, until := seeds(t, 25), setting(t, "DTPNODE_FIRST", 0), time.Time{}
	if d := os.Getenv("DTPNODE_SIM_TIME"); d != "" {
		limit, err := time.ParseDuration(d)
		if err != nil {
			t.Fatal(err)
		}
		n, until = math.MaxInt/2, time.Now().Add(limit)
	}
	var mu sync.Mutex
	var all tally
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := int(next.Add(1)) - 1; s < n && (until.IsZero() || time.Now().Before(until)); s = int(next.Add(1)) - 1 {
				res := checkSeed(t, Hostile(uint64(first+s)))
				mu.Lock()
				all.add(res)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Log(&all)
	if all.runs >= 500 { // liars have tests of their own
		for _, fault := range []string{"Defied", "Doubted", "Recoveries", "Returns", "Lies", "Violations", "Shuns"} {
			delete(all.sums, fault)
		}
		all.everyFault(t)
	}
}

// tally sums runs up.
type tally struct {
	runs, homes     int
	again           int64
	refetch         int
	sums            map[string]int64
	longest, latest time.Duration // makespan, and end after the last fault
}

func (a *tally) add(r Result) {
	if a.sums == nil {
		a.sums = map[string]int64{}
	}
	a.runs++
	a.homes += r.Homes
	a.again += r.Again
	a.refetch += r.Refetch
	a.longest, a.latest = max(a.longest, r.Makespan), max(a.latest, r.Makespan-r.Settled)
	for _, v := range []reflect.Value{reflect.ValueOf(r.Faults), reflect.ValueOf(r.Counts)} {
		for i := range v.NumField() {
			a.sums[v.Type().Field(i).Name] += v.Field(i).Int()
		}
	}
}

// String is the tally as a test log shows it.
func (a *tally) String() string {
	return fmt.Sprintf("%d runs, %d homes; longest makespan %v, latest end after the faults %v; %d units were run after "+
		"they were committed, %d blobs were freed that were; %v",
		a.runs, a.homes, a.longest, a.latest, a.again, a.refetch, a.sums)
}

// everyFault fails for any counter of faults or repairs that is 0 over all runs.
func (a *tally) everyFault(t *testing.T) {
	for name, n := range a.sums {
		if n == 0 {
			t.Errorf("no run had %s", name)
		}
	}
}

// TestHomesAndReplicasDie crashes nodes, homes and replicas more than others, and loses nothing else: then no unit
// runs again that was committed, whoever leads.
func TestHomesAndReplicasDie(t *testing.T) {
	homes := 0
	for s := range uint64(60) {
		c := Config{
			Seed:      s,
			Nodes:     12,
			Slots:     2,
			Units:     20_000,
			Files:     8,
			UnitTime:  5 * time.Millisecond,
			Replicas:  3,
			Latency:   time.Millisecond,
			Deal:      s%2 == 0,
			Calm:      6 * time.Second,
			Crashes:   3,
			Wipes:     int(s % 3 / 2),
			PowerCuts: int(s % 5 / 4),
		}
		res := checkSeed(t, c)
		if res.Again > 0 {
			t.Errorf("seed %d: %d units ran again after they were committed", s, res.Again)
		}
		homes += res.Faults.HomeCrashes
	}
	if homes < 20 {
		t.Errorf("only %d homes crashed", homes)
	}
}

// goTest runs tests of this package in another process, built anew, and returns what they print.
func goTest(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go",
		append([]string{"test", "-count=1", "-v", "-timeout", "25m"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go test %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestReplay plays one seed, or one configuration, with its trace: go test ./sim -run TestReplay -v -args -seed 7
func TestReplay(t *testing.T) {
	cfg := Hostile(uint64(*replay))
	switch {
	case *config != "":
		cfg = Config{}
		if err := json.Unmarshal([]byte(*config), &cfg); err != nil {
			t.Fatal(err)
		}
	case *replay < 0:
		t.Skip("no -seed or -config given")
	}
	cfg.Trace = os.Stdout
	res, err := Check(cfg)
	t.Logf("%+v", res)
	if err != nil {
		t.Error(err)
	}
}

// hashes plays a few seeds.
func hashes() (out []string) {
	for s := uint64(4); s < 10; s++ {
		r := Run(Hostile(s))
		out = append(out, fmt.Sprintf("hash %d %x %v", s, r.Hash, r.Makespan))
	}
	return out
}

// TestHashes prints what TestSameSeedSameTrace compares.
func TestHashes(t *testing.T) {
	if os.Getenv("DTPNODE_HASHES") == "" {
		t.Skip("for TestSameSeedSameTrace")
	}
	fmt.Println(strings.Join(hashes(), "\n"))
}

// TestSameSeedSameTrace plays seeds twice at once in this process, and in others with one processor and with
// eight: the traces of all effects are the same.
func TestSameSeedSameTrace(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine each; runs without the race detector")
	}
	var a, b []string
	var wg sync.WaitGroup
	wg.Go(func() { a = hashes() })
	wg.Go(func() { b = hashes() })
	wg.Wait()
	if !slices.Equal(a, b) {
		t.Errorf("two runs in one process differ:\n%v\n%v", a, b)
	}
	for _, procs := range []string{"1", "8"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestHashes$")
		cmd.Env = append(os.Environ(), "DTPNODE_HASHES=1", "GOMAXPROCS="+procs)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(out), strings.Join(a, "\n")) {
			t.Errorf("with GOMAXPROCS=%s:\n%s\nhere:\n%s", procs, out, strings.Join(a, "\n"))
		}
	}
}

// TestShrink makes a run fail by a time limit that it cannot meet, and looks for the smallest configuration that fails
// in this way.
func TestShrink(t *testing.T) {
	c := Hostile(4)
	c.Limit = time.Second // no job ends so soon
	small, why := Shrink(c, 200)
	if why == nil || small.Nodes > 10 || small.Units > 5000 || small.Crashes+small.Partitions+small.Pauses > 0 {
		t.Errorf("shrunk to %s: %v", Command(small), why)
	}
	if _, err := Check(small); err == nil {
		t.Errorf("%s does not fail", Command(small))
	}
}

// TestCommandReplays reads the configuration in a command back.
func TestCommandReplays(t *testing.T) {
	c := Hostile(7)
	if got := Command(c); !strings.HasSuffix(got, "-seed 7") {
		t.Errorf("the command for a seed is %q", got)
	}
	c.Nodes = 5
	_, text, _ := strings.Cut(Command(c), "'")
	var back Config
	if err := json.Unmarshal([]byte(strings.TrimSuffix(text, "'")), &back); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%v\n%+v\n%+v", err, back, c)
	}
}

// ideal is the makespan of a run whose slots are all busy all the time.
func ideal(c Config, r Result) time.Duration {
	return time.Duration(float64(c.Units) * float64(c.UnitTime) / (r.Speed * float64(c.Slots)))
}

// TestCleanRunIsFast compares runs without faults with the ideal. At the end of some, the home waits at most a second
// for reports that explain the last offers; in most it does not.
func TestCleanRunIsFast(t *testing.T) {
	for _, deal := range []bool{true, false} {
		var over []float64
		for seed := range uint64(9) {
			c := Config{Seed: seed + 1, Nodes: 50, Slots: 2, Units: 1_000_000, Files: 20, UnitTime: time.Millisecond,
				Latency: time.Millisecond, Deal: deal}
			res := checkSeed(t, c)
			over = append(over, float64(res.Makespan)/float64(ideal(c, res)))
			if res.Rerun > 0 {
				t.Errorf("seed %d, deal %v: rerun %.3f", c.Seed, deal, res.Rerun)
			}
		}
		slices.Sort(over)
		if median, worst := over[len(over)/2], over[len(over)-1]; median > 1.06 || worst > 1.2 {
			t.Errorf("deal %v: %.3f times the ideal", deal, over)
		}
		t.Logf("deal %v: %.3f times the ideal", deal, over)
	}
}

// TestSlowNodeCostsLittle has one node of four five times slower than the others: its work must be done elsewhere.
func TestSlowNodeCostsLittle(t *testing.T) {
	for s := range uint64(20) {
		c := Config{Seed: s, Nodes: 4, Slots: 1 + int(s%2), Units: 60_000, Files: 8, UnitTime: time.Millisecond,
			Latency: time.Millisecond, Slow: 1, Deal: s%4 < 2}
		res := checkSeed(t, c)
		if best := ideal(c, res); res.Makespan > best*110/100 || res.Rerun > 0 {
			t.Errorf("seed %d: %v, ideal %v, rerun %.3f", s, res.Makespan, best, res.Rerun)
		}
	}
}

// TestLateNodeWorksSoon joins nodes to a running job.
func TestLateNodeWorksSoon(t *testing.T) {
	for s := range uint64(20) {
		c := Config{Seed: s, Nodes: 12, Slots: 2, Units: 200_000, Files: 8, UnitTime: time.Millisecond,
			Latency: time.Millisecond, Late: 4, Calm: 5 * time.Second, Deal: s%2 == 0}
		res := checkSeed(t, c)
		if len(res.ToWork) != c.Late {
			t.Errorf("seed %d: %d of %d late nodes got work", s, len(res.ToWork), c.Late)
		}
		for _, d := range res.ToWork {
			if d > time.Second {
				t.Errorf("seed %d: a late node waited %v for work", s, d)
			}
		}
	}
}

// TestLeaverLosesNothing has nodes that leave after announcing it: no unit runs twice for that.
func TestLeaverLosesNothing(t *testing.T) {
	for s := range uint64(20) {
		c := Config{Seed: s, Nodes: 12, Slots: 2, Units: 150_000, Files: 8, UnitTime: time.Millisecond,
			Latency: time.Millisecond, Leaves: 4, Calm: 4 * time.Second, Deal: s%2 == 0}
		if res := checkSeed(t, c); res.Rerun > 0 || res.Faults.Leaves == 0 {
			t.Errorf("seed %d: %d nodes left, rerun %.3f", s, res.Faults.Leaves, res.Rerun)
		}
	}
}
