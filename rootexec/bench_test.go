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
