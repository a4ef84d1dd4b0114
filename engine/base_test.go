package engine

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// baseOf are outputs of an earlier job, in so many partials: of the units that are no multiple of 100, so that in each
// hundred one is left to run.
func baseOf(parts int) (out []merge.Partial) {
	for i := range parts {
		p := merge.Partial{ID: merge.ID{Node: "n0", Seq: uint64(i + 1)}, Canary: uint64(i)}
		for at := int64(i) * 100; at < units; at += int64(parts) * 100 {
			p.Cover = p.Cover.Union(tasks.CoverOf(tasks.R(at+1, at+100)))
		}
		p.Units = p.Cover.Len()
		out = append(out, p)
	}
	return out
}

// TestBaseIsNotRun submits a job that has outputs of most units already: these are committed as they are, the others
// run, and nothing else does. Outputs that cannot be are not believed, and all units run.
func TestBaseIsNotRun(t *testing.T) {
	overlapping := baseOf(2)
	overlapping[1].Cover = overlapping[1].Cover.Union(overlapping[0].Cover)
	overlapping[1].Units = overlapping[1].Cover.Len()
	beyond := baseOf(1)
	beyond[0].Cover, beyond[0].Units = tasks.CoverOf(tasks.R(0, units+1)), units+1
	miscounted := baseOf(1)
	miscounted[0].Units--
	for name, tc := range map[string]struct {
		base []merge.Partial
		ran  int64
	}{
		"none":        {nil, units},
		"one":         {baseOf(1), units / 100},
		"ten":         {baseOf(10), units / 100},
		"overlapping": {overlapping, units},
		"beyond":      {beyond, units},
		"miscounted":  {miscounted, units},
		"all": {[]merge.Partial{{
			ID:    merge.ID{Node: "n0", Seq: 1},
			Cover: tasks.CoverOf(tasks.R(0, units)),
			Units: units,
		}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 4)
			g.hosts[0].step(Submit{ID: jobID, Job: groupJob(g), Base: tc.base})
			if !g.run(time.Minute, g.endedSomewhere) {
				t.Fatal("the job did not end")
			}
			if ran := g.allRan(); ran != tc.ran {
				t.Errorf("%d units ran, want %d", ran, tc.ran)
			}
		})
	}
}
