package rootexec

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// benchEntries makes a file of clusters of 100,000 entries, as the demo's data have.
const (
	benchEntries = 1_000_000
	benchCluster = 100_000
)

func benchFile(b *testing.B) string {
	return makeData(b, "bench.root", benchEntries, 0, "cluster", fmt.Sprint(benchCluster))
}

// BenchmarkBuildChild is the first build, which every newcomer waits for.
func BenchmarkBuildChild(b *testing.B) {
	cache, err := testCache()
	if err != nil {
		b.Fatal(err)
	}
	root, err := Find(b.Context(), FindOptions{Prefix: os.Getenv("DTPNODE_ROOT"), Cache: cache})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := BuildChild(b.Context(), root, b.TempDir(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFork is a generation that only begins and is killed.
func BenchmarkFork(b *testing.B) {
	s := load(b, "Hists")
	for b.Loop() {
		g, err := s.Start(b.Context(), exec.GenSpec{Dir: b.TempDir()}, Told{}, newRecorder())
		if err != nil {
			b.Fatal(err)
		}
		g.Kill()
	}
}

// BenchmarkSnapshots reports the CPU time of what is watched of a job, in each process that has a part in it: of a
// snapshot in a generation, of merging two of them, and of writing and describing the whole at the home.
func BenchmarkSnapshots(b *testing.B) {
	file, s, dir := makeData(b, "shots.root", 1000, 0), load(b, "Hists"), b.TempDir()
	r := newRecorder()
	g, err := s.Start(b.Context(), exec.GenSpec{Dir: b.TempDir()}, Told{}, r)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Kill()
	if err := g.Lease(exec.Packet{ID: 1, File: file, Part: "T", Last: 1000}); err != nil {
		b.Fatal(err)
	}
	r.wait(b)
	v, err := s.View(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	shot, picked := filepath.Join(dir, "shot"), filepath.Join(dir, "picked")
	names := []string{"hx", "hother", "h2", "prof", "count"}
	ask := func(path string) exec.SnapshotAsk { return exec.SnapshotAsk{Names: names, Most: 1 << 20, Path: path} }
	measure := func(pid int, unit string, do func()) {
		do()
		const rounds = 200
		before := cpuOf(b, pid)
		for range rounds {
			do()
		}
		b.ReportMetric((cpuOf(b, pid)-before)*1000/rounds, unit)
	}
	view := v.(viewer)
	for b.Loop() {
		measure(g.PID(), "ms-CPU/snapshot", func() {
			done := make(chan struct{})
			if err := g.Snapshot(ask(shot), func(exec.Snapshot, error) { close(done) }); err != nil {
				b.Fatal(err)
			}
			<-done
		})
		measure(view.p.PID(), "ms-CPU/pick", func() {
			if _, err := v.Pick(b.Context(), []string{shot, shot}, ask(picked)); err != nil {
				b.Fatal(err)
			}
		})
		measure(view.p.PID(), "ms-CPU/show", func() {
			if _, err := v.Show(b.Context(), []string{picked, picked}, ask(filepath.Join(dir, "s.root"))); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// cpuOf is the CPU time in seconds that a process has used.
func cpuOf(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	var ns float64
	if err == nil {
		_, err = fmt.Sscan(string(text), &ns)
	}
	if err != nil {
		b.Fatal(err)
	}
	return ns / 1e9
}

// BenchmarkPackets runs a generation over a file and reports what the first packet costs more than the
// others, and what a packet of 1,000 entries costs beyond its entries.
func BenchmarkPackets(b *testing.B) {
	file, s := benchFile(b), load(b, "Hists")
	for b.Loop() {
		big := timePackets(b, s, file, benchCluster)
		small := timePackets(b, s, file, 1000)
		var all, smallAll time.Duration
		for _, d := range big[1:] {
			all += d.Elapsed
		}
		for _, d := range small {
			smallAll += d.Elapsed
		}
		perBig := all / time.Duration(len(big)-1)
		b.ReportMetric(ms(big[0].Elapsed), "first-ms")
		b.ReportMetric(ms(perBig), "later-ms")
		b.ReportMetric(ms((smallAll-all-big[0].Elapsed)/time.Duration(len(small)-len(big))), "packet-ms")
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// timePackets runs one generation over the whole file.
func timePackets(b *testing.B, s *Selector, file string, step int64) []exec.Done {
	r := newRecorder()
	g, err := s.Start(b.Context(), exec.GenSpec{Dir: b.TempDir()}, Told{}, r)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Kill()
	var id uint64
	var out []exec.Done
	packets := cut(file, benchEntries, step, 0, &id)
	for i, p := range packets {
		if i >= child.QueueDepth {
			out = append(out, r.wait(b))
		}
		if err := g.Lease(p); err != nil {
			b.Fatal(err)
		}
	}
	for len(out) < len(packets) {
		out = append(out, r.wait(b))
	}
	if _, err := g.Seal(b.Context(), filepath.Join(b.TempDir(), "p")); err != nil {
		b.Fatal(err)
	}
	return out
}

var took = regexp.MustCompile(`reference took ([0-9.]+)`)

// BenchmarkAgainstChain compares a generation over a whole file, in packets of one cluster, with
// TChain::Process over it, turn by turn.
func BenchmarkAgainstChain(b *testing.B) {
	for _, class := range []string{"Hists", "HistsOld"} {
		b.Run(class, func(b *testing.B) {
			file, s := benchFile(b), load(b, class)
			var ours, theirs time.Duration
			for b.Loop() {
				for _, d := range timePackets(b, s, file, benchCluster) {
					ours += d.Elapsed
				}
				_, out := mustBegin(b, "Reference", map[string]string{"files": file, "class": class})
				m := took.FindStringSubmatch(out)
				if m == nil {
					b.Fatal(out)
				}
				sec, err := strconv.ParseFloat(m[1], 64)
				if err != nil {
					b.Fatal(err)
				}
				theirs += time.Duration(sec * float64(time.Second))
			}
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "chain-ratio")
			b.ReportMetric(float64(b.N)*benchEntries/ours.Seconds()/1e6, "Mentries/s")
		})
	}
}
