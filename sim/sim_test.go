package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
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

func seeds(t *testing.T, def int) int {
	if s := os.Getenv("DTPNODE_SEEDS"); s != "" {
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
		t.Errorf("seed %d: %v (after %v)\n\treplay: %s\n\tshrunk: %s\n\t        %v", cfg.Seed, err, res.Makespan, Command(cfg), Command(small), why)
	}
	return res
}

// TestExactlyOnce ends every seed with exactly one count of every unit, and sees to it that every fault
// that the seeds are to show has happened. It runs without the race detector, which finds nothing in a
// program of one goroutine and makes it ten times slower.
func TestExactlyOnce(t *testing.T) {
	if raceEnabled {
		goTest(t, "-run", "^TestExactlyOnce$", ".")
		return
	}
	n := seeds(t, 1000)
	results := make([]Result, n)
	var wg sync.WaitGroup
	for part := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := part; s < n; s += runtime.GOMAXPROCS(0) {
				results[s] = checkSeed(t, Hostile(uint64(s)))
			}
		})
	}
	wg.Wait()
	if n >= 100 {
		everyFault(t, results)
	}
	var makespan time.Duration
	for _, r := range results {
		makespan = max(makespan, r.Makespan)
	}
	t.Logf("longest makespan %v", makespan)
}

// everyFault fails for any counter of faults or repairs that is 0 over all runs.
func everyFault(t *testing.T, results []Result) {
	sum := map[string]int64{}
	for _, r := range results {
		for _, v := range []reflect.Value{reflect.ValueOf(r.Faults), reflect.ValueOf(r.Counts)} {
			for i := range v.NumField() {
				sum[v.Type().Field(i).Name] += v.Field(i).Int()
			}
		}
	}
	t.Log(sum)
	for name, n := range sum {
		if n == 0 {
			t.Errorf("no run had %s", name)
		}
	}
}

// goTest runs tests of this package in another process, built anew, and returns what they print.
func goTest(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-count=1", "-v", "-timeout", "25m"}, args...)...)
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

// TestSameSeedSameTrace replays seeds.
func TestSameSeedSameTrace(t *testing.T) {
	for s := uint64(5); s < 9; s++ {
		if raceEnabled && s > 5 {
			break // one is enough where each takes ten times longer
		}
		a, b := Run(Hostile(s)), Run(Hostile(s))
		if a.Hash != b.Hash || a.Makespan != b.Makespan {
			t.Errorf("seed %d: traces %x after %v and %x after %v", s, a.Hash, a.Makespan, b.Hash, b.Makespan)
		}
	}
}

// ideal is the makespan of a run whose slots are all busy all the time.
func ideal(c Config, r Result) time.Duration {
	return time.Duration(float64(c.Units) * float64(c.UnitTime) / (r.Speed * float64(c.Slots)))
}

// TestCleanRunIsFast holds a run without faults against the ideal.
func TestCleanRunIsFast(t *testing.T) {
	for _, deal := range []bool{true, false} {
		c := Config{Seed: 1, Nodes: 50, Slots: 2, Units: 1_000_000, Files: 20, UnitTime: time.Millisecond,
			Latency: time.Millisecond, Deal: deal}
		res := checkSeed(t, c)
		if best := ideal(c, res); res.Makespan > best*115/100 || res.Rerun > 0 {
			t.Errorf("deal %v: %v, ideal %v, rerun %.3f", deal, res.Makespan, best, res.Rerun)
		}
		t.Logf("deal %v: makespan %v, ideal %v, steals %d, messages %d", deal, res.Makespan, ideal(c, res), res.Steals, res.Messages)
	}
}

// TestSlowNodeCostsLittle has one node of four five times slower than the others: its work must end up
// elsewhere.
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

// TestLeaverLosesNothing lets nodes leave politely: no unit runs twice for that.
func TestLeaverLosesNothing(t *testing.T) {
	for s := range uint64(20) {
		c := Config{Seed: s, Nodes: 12, Slots: 2, Units: 150_000, Files: 8, UnitTime: time.Millisecond,
			Latency: time.Millisecond, Leaves: 4, Calm: 4 * time.Second, Deal: s%2 == 0}
		if res := checkSeed(t, c); res.Rerun > 0 || res.Faults.Leaves == 0 {
			t.Errorf("seed %d: %d nodes left, rerun %.3f", s, res.Faults.Leaves, res.Rerun)
		}
	}
}
