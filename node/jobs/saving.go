package jobs

import (
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// SaveStatus writes a job's status to disk, for after a restart. It returns only once the status is durable if the
// job's user is owed an output.
func (r *outputs) SaveStatus(j *Job) {
	saved := store.Status{JobStatus: r.StatusOf(j), Owed: r.Owed(j), OutputDir: j.outputDir(), Spares: j.spares()}
	saved.Dir, saved.Env = r.surroundings(j)
	j.mu.Lock()
	saved.Ours = j.own()
	j.mu.Unlock()
	err := r.results.SaveStatus(j.Name, saved)
	if err != nil {
		r.log.Warn("could not save a job's status", "job", api.Short(j.Name), "reason", err)
	}
}

// sparesOf is Job.spares of a job that was submitted here, after a restart from its disk.
func (r *outputs) sparesOf(j *Job) []string {
	if urls := j.spares(); len(urls) > 0 {
		return urls
	}
	saved, err := r.results.Status(j.Name)
	if err != nil || !saved.Ours {
		return nil
	}
	return saved.Spares
}

// surroundings are the folder and the environment in which Begin and Terminate of a job run. They are known only on the
// node on which the job was submitted, after a restart from its disk; on other nodes they are empty.
func (r *outputs) surroundings(j *Job) (dir string, env []string) {
	j.mu.Lock()
	dir, env, own := j.s.Req.Dir, j.s.Req.Env, j.own()
	j.mu.Unlock()
	if dir != "" || !own {
		return dir, env
	}
	saved, err := r.results.Status(j.Name)
	if err != nil || !saved.Ours {
		return "", nil
	}
	return saved.Dir, saved.Env
}
