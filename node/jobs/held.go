package jobs

import (
	"slices"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// Held is what a job holds on this node. Once it is freed all of it is let go of, and nothing is held from then on.
type Held struct {
	Program exec.Program // nil until it is ready here
	CodeKey string       // of the program, by which what is remembered of its code is found
	Session exec.Session // nil until Begin is run here
	Work    tasks.Work   // what the program is made from, of a job that is being prepared here to be submitted
	Params  []tasks.Param
	Items   int64             // over which such a job runs if it has no files
	Ships   map[string]func() // by hash, what lets go of a blob that is here for the job
	Freed   bool              // what it held here is released
	Refused map[string]refusal
}

// refusal is a file that had other entries here than were planned, as it was then.
type refusal struct {
	key    plan.FileKey
	reason string
}

// refuse notes that a file is not the one that was planned; it is tried again only when it has changed.
func (j *Job) refuse(f *exec.Failure) {
	if f.Host != exec.CauseDiffers {
		return
	}
	key, _, _ := plan.KeyOf(f.File, "") // of a URL, or a file that has gone meanwhile, it is empty
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Refused == nil {
		j.s.Refused = map[string]refusal{}
	}
	j.s.Refused[f.File] = refusal{key, f.Msg}
}

// refuses reports whether a file is as it was when it was refused, and why it was.
func (j *Job) refuses(file string) (reason string, yes bool) {
	j.mu.Lock()
	r, known := j.s.Refused[file]
	j.mu.Unlock()
	if !known {
		return "", false
	}
	now, _, _ := plan.KeyOf(file, "")
	return r.reason, now == r.key
}

// Prepared is the job's program, nil until it is ready here, and its description, nil until it is known.
func (j *Job) Prepared() (exec.Program, *tasks.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Program, j.s.Desc
}

// ownWork is the work of a job that is being prepared here to be submitted; none of any other.
func (j *Job) ownWork() tasks.Work {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Work
}

// released reports whether what the job held here is released.
func (j *Job) released() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Freed
}

// holds notes that a blob is here for the job until let is called, which happens once.
func (j *Job) holds(hash string, let func()) {
	j.mu.Lock()
	needless := j.s.Freed || j.s.Ships[hash] != nil
	if !needless {
		if j.s.Ships == nil {
			j.s.Ships = map[string]func(){}
		}
		j.s.Ships[hash] = let
	}
	j.mu.Unlock()
	if needless {
		let()
	}
}

// Release frees what the job holds: of its runtime, and of what is shipped for it.
func (j *Job) Release() {
	j.cancel()
	j.mu.Lock()
	j.lighten()
	program, session, ships, again := j.s.Program, j.s.Session, j.s.Ships, j.s.Freed
	j.s.Freed = true
	j.s.Program, j.s.Session, j.s.Ships = nil, nil, nil
	j.mu.Unlock()
	if again {
		return
	}
	for _, let := range ships {
		let()
	}
	if session != nil {
		session.Close()
	}
	if program != nil {
		program.Release()
	}
}

// lighten lets go of the list of files of a job that is over, was not submitted here and is not told of by this node:
// what is still told of it needs none. The caller holds mu.
func (j *Job) lighten() {
	const many = 256
	if j.s.Desc == nil || j.s.Led || j.s.SubmittedHere || len(j.s.Lost)+len(j.s.View.Lost)+len(j.s.View.Failing) > 0 {
		return
	}
	none, err := tasks.NewDataset(nil)
	if err != nil {
		return
	}
	light := *j.s.Desc
	light.Data, light.Input, light.Bad = *none, nil, slices.Clone(light.Bad[:min(len(light.Bad), many)])
	j.s.Desc = &light
}
