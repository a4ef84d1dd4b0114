package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/sim"
)

// BenchmarkMakespan runs one job on clusters of real daemons that sleep instead of computing, and the same job
// in the simulator. It reports both times in seconds, medians of the runs, and their ratio: how far the
// simulator can be believed.
func BenchmarkMakespan(b *testing.B) {
	for _, nodes := range []int{3, 8, 24} {
		c := ownCluster(b, fakeSpecs(b, nodes)...)
		for _, length := range []time.Duration{2 * time.Second, 10 * time.Second} {
			j := paceOf(nodes, length)
			b.Run(fmt.Sprintf("nodes=%d/length=%v", nodes, length), func(b *testing.B) { c.compare(b, j) })
		}
	}
}

// compare runs a job here and in the simulator.
func (c *cluster) compare(b *testing.B, j fakeJob) {
	b.Helper()
	nodes, req := len(c.nodes), j.request(b)
	c.settle(b, c.nodes[0].submit(b, req).ID) // code loaded, rates known
	var real, model []float64
	for i := range b.N {
		real = append(real, c.settle(b, c.nodes[0].submit(b, req).ID))
		model = append(model, simulated(b, nodes, j, uint64(i+1)))
	}
	slices.Sort(real)
	slices.Sort(model)
	r, m := real[len(real)/2], model[len(model)/2]
	b.ReportMetric(r, "s-real")
	b.ReportMetric(m, "s-model")
	b.ReportMetric(m/r, "model/real")
	b.ReportMetric(0, "ns/op")
}

// settle waits for a job and returns how long it worked, in seconds.
func (c *cluster) settle(b *testing.B, id string) float64 {
	b.Helper()
	_, st := c.waitFinal(b, id, commandLimit)
	if st.Committed != st.Units {
		b.Fatalf("the job is %s", st.State)
	}
	return st.Working
}

// simulated is the makespan of the same job on a model of the same cluster, on one host.
func simulated(b *testing.B, nodes int, j fakeJob, seed uint64) float64 {
	b.Helper()
	res := sim.Run(sim.Config{
		Seed:       seed,
		Nodes:      nodes,
		Slots:      1,
		Units:      j.units(),
		Files:      j.files,
		UnitTime:   100 * time.Microsecond,
		Latency:    200 * time.Microsecond,
		Prepare:    50 * time.Millisecond,
		Deal:       true,
		Even:       true,
		Replicas:   3,
		Generation: 30 * time.Second,
	})
	if res.Err != nil {
		b.Fatal(res.Err)
	}
	return res.Makespan.Seconds()
}
