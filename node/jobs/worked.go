package jobs

import (
	"context"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/tasks"
)

// worked is a job as its generations see it (worker.Job).
type worked struct {
	of *programs
	j  *Job
}

// worked finds the job with an id for one of its generations; false if the job is not known here.
func (r *programs) worked(id tasks.JobID) (worker.Job, bool) {
	j := r.book.ByID(id)
	return worked{r, j}, j != nil
}

func (w worked) Use(ctx context.Context, do func(exec.Program, *tasks.Job, string) error) error {
	return w.of.use(ctx, w.j, func(p exec.Program, desc *tasks.Job) error {
		input, err := w.j.inputFor(desc)
		if err != nil {
			return err
		}
		return do(p, desc, input)
	})
}

func (w worked) Described() *tasks.Job {
	_, desc := w.j.Prepared()
	return desc
}

func (w worked) Items(ctx context.Context, f tasks.File) (string, error) {
	return w.of.itemsPath(ctx, w.j, f)
}

func (w worked) Early(first int64, values exec.Early) { w.of.tellEarly(w.j, first, values) }

func (w worked) Printed(line string)                  { w.j.Printed(w.of.net.Name(), line) }
func (w worked) Crashed(f *exec.Failure, unit int64)  { w.j.crashed(w.of.net.Name(), f, unit) }
func (w worked) Refused(file string, f *exec.Failure) { w.j.refuse(file, f) }
func (w worked) Apart(names []string)                 { w.j.addApart(names) }
