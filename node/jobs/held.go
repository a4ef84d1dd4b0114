package jobs

import (
	"cmp"
	"slices"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// Held is what a job holds on this node: processes and blobs. Release gives all of it back and sets Freed; nothing may
// be held for the job after that.
type Held struct {
	Program exec.Program // nil until it is ready here
	CodeKey string       // key of the program's code, under which the book remembers rate and packed code
	Session exec.Session // nil until Begin is run here
	// Work, Params and Items are known while the job is being prepared to be submitted here; its description has them
	// later. Work is what the program is made from, and Items is how many items the job runs over if it has no files.
	Work     tasks.Work
	Params   []tasks.Param
	Items    int64
	LeadOnly bool               // the program only merges: this node takes no part in the job that it leads
	Whole    string             // why no file is divided, known while the job is being prepared here
	Input    string             // path of what Begin has made, for generations here; empty for nothing
	Ships    map[string]func()  // by hash of a blob that is kept here for the job: what gives the blob back
	Freed    bool               // Release was called
	Refused  map[string]refusal // by URL
}

// refusal notes that a file here was not the one that was planned, and the state that it was in.
type refusal struct {
	file   string // the file itself, or one of a friend that is read beside it
	key    plan.FileKey
	reason string
}

// refuse notes that a file of the job, or one that is read beside it, is not on this host the one that was planned. It
// is tried again only when that has changed.
func (j *Job) refuse(file string, f *exec.Failure) {
	if f.Host != exec.CauseDiffers {
		return
	}
	of := cmp.Or(f.File, file)
	key, _, _ := plan.KeyOf(of, "") // the key is empty for a URL, and for a file that has gone meanwhile
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Refused == nil {
		j.s.Refused = map[string]refusal{}
	}
	j.s.Refused[file] = refusal{of, key, f.Msg}
}

// refuses reports whether a file was refused and has not changed since, and the reason.
func (j *Job) refuses(file string) (reason string, yes bool) {
	j.mu.Lock()
	r, known := j.s.Refused[file]
	j.mu.Unlock()
	if !known {
		return "", false
	}
	now, _, _ := plan.KeyOf(r.file, "")
	return r.reason, now == r.key
}

// Prepared is the job's program, nil until it is ready here, and its description, nil until it is known.
func (j *Job) Prepared() (exec.Program, *tasks.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Program, j.s.Desc
}

// ownWork is the work of a job that is being prepared here to be submitted. For any other job it is empty.
func (j *Job) ownWork() tasks.Work {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Work
}

// released reports whether Release was called.
func (j *Job) released() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Freed
}

// holds keeps a blob here for the job. let gives the blob back: it is called once, by Release, or at once if the job
// holds the blob already or may hold nothing any more.
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

// isHolding reports whether the job keeps a blob here.
func (j *Job) isHolding(hash string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Ships[hash] != nil
}

// Release gives back all that the job holds here: program, session and shipped blobs. Later calls do nothing.
func (j *Job) Release() {
	j.cancel()
	j.mu.Lock()
	j.lighten()
	j.dropItems()
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

// lighten drops the list of files from the description of a job that is over, to save memory. It keeps the list if the
// job was submitted here or this node describes it to others, since that may name files. The caller holds mu.
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

// dropItems drops items that were appended from the description of a job that is over, to save memory: a job takes
// thousands of appends, and none of them names a file that its users are told of. As many units stay. What can be run
// again is in the ledger, and with the result on disk. The caller holds mu.
func (j *Job) dropItems() {
	if j.s.Desc == nil || !j.s.Desc.Open || !j.s.Status.State.Final() ||
		len(j.s.Lost)+len(j.s.View.Lost)+len(j.s.View.Failing) > 0 {
		return
	}
	var files []tasks.File
	for _, f := range j.s.Desc.Data.Files {
		if f.URL != "" {
			files = append(files, f)
			continue
		}
		if n := len(files); n == 0 || files[n-1].URL != "" {
			files = append(files, tasks.File{})
		}
		files[len(files)-1].Entries += f.Entries
	}
	data, err := tasks.NewDataset(files)
	if err != nil {
		return
	}
	light := *j.s.Desc
	data.Whole = light.Data.Whole
	light.Data = *data
	j.s.Desc = &light
}
