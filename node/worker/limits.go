package worker

import (
	"cmp"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Limits is what a node lets children take of its host.
type Limits struct {
	Memory int64       // bytes that a child may use unless its job says otherwise
	Own    exec.Limits // what the node was set to beside Memory; zero values are none, or exec's defaults
}

// Spec is how a generation of a job runs on this node, in the folder dir, with the input in the file at that path. seed
// is of its canaries.
func (l Limits) Spec(desc *tasks.Job, input string, seed uint64, dir string) exec.GenSpec {
	return exec.GenSpec{
		Job: seed, Input: input, Hints: desc.Hints, Dir: dir, Entries: desc.Data.Entries(), Submitter: desc.Submitter,
		Limits: l.For(desc.Limits),
	}
}

// For joins what a job asks for and what this node allows. A job may ask for more memory and time than the node gives
// by default, but for no more of what could harm the node's other users than it has been set to.
func (l Limits) For(job tasks.Limits) exec.Limits {
	return exec.Limits{
		Memory:    cmp.Or(job.Memory, l.Memory),
		Stall:     cmp.Or(job.Stall, l.Own.Stall),
		Open:      cmp.Or(job.Open, l.Own.Open),
		Processes: tighter(job.Processes, l.Own.Processes),
		FileSize:  tighter(job.FileSize, l.Own.FileSize),
		Scratch:   tighter(job.Scratch, l.Own.Scratch),
		EntryCPU:  tighter(job.EntryCPU, l.Own.EntryCPU),
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
