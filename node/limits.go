package node

import (
	"cmp"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// genSpec is how a generation of a job runs on this node, in the folder dir. seed is of its canaries.
func (d *Daemon) genSpec(desc *tasks.Job, seed uint64, dir string) exec.GenSpec {
	return exec.GenSpec{Job: seed, Input: desc.Input, Dir: dir, Limits: d.limitsFor(desc.Limits)}
}

// limitsFor joins what a job asks for and what this node allows. A job may ask for more memory and time than the
// node gives by default, but for no more of what could harm the node's other users than it has been set to.
func (d *Daemon) limitsFor(l tasks.Limits) exec.Limits {
	own := d.cfg.Limits
	return exec.Limits{
		Memory:    cmp.Or(l.Memory, d.cfg.Memory),
		Stall:     cmp.Or(l.Stall, own.Stall),
		Open:      cmp.Or(l.Open, own.Open),
		Processes: tighter(l.Processes, own.Processes),
		FileSize:  tighter(l.FileSize, own.FileSize),
		Scratch:   tighter(l.Scratch, own.Scratch),
		EntryCPU:  tighter(l.EntryCPU, own.EntryCPU),
	}
}

// tighter is the smaller of two limits, of which zero is none.
func tighter[T cmp.Ordered](a, b T) T {
	var none T
	if a == none || (b != none && b < a) {
		return b
	}
	return a
}
