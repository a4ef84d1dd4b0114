package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// Results is what a node keeps of jobs that have ended, and of those that its own user waits for. Each job has a folder
// that is named like the job:
//
//	status.json  a Status
//	result.out   the output, under the name that api.ResultFile says
//	end          how the job ended, with the proof of that (ends.go)
//	fetched      is there if the job's user has the output; its time says since when
//	delivered    is there if this node wrote the output where its user wants it
//	parts/       what a partial result was made of (parts.go)
//	terminate/   the folder in which the job's end ran, if another node's user submitted it
//
// All methods may be called from any goroutine, those for one and the same job as well, but for RemoveJob.
type Results struct {
	Dir     string // of the jobs' folders
	EndsDir string // of proofs of ends that outlive the jobs' folders; made when it is needed
	Blobs   *Blobs
	Log     *slog.Logger

	ends sync.Mutex // held while an end is compared with the one that is there, and written
}

// Names in a job's folder.
const (
	statusFile    = "status.json"
	endFile       = "end"
	fetchedFile   = "fetched"
	deliveredFile = "delivered"
	partsFolder   = "parts"
	awayFolder    = "terminate"
)

// Status is a job's status as it is kept on disk, and what its user is still owed.
type Status struct {
	api.JobStatus
	Ours bool   `json:"ours,omitempty"` // submitted here
	Owed string `json:"owed,omitempty"` // where this node is to write the output; empty for nowhere
	// Dir and Env are where a job that was submitted here begins and ends, after a restart too.
	Dir string   `json:"dir,omitempty"`
	Env []string `json:"env,omitempty"`
}

// FolderOf is the folder of the job with that name.
func (r *Results) FolderOf(name string) string { return filepath.Join(r.Dir, name) }

// Path is where the output of the job with that name is kept.
func (r *Results) Path(name string) string { return filepath.Join(r.FolderOf(name), api.ResultFile) }

// Has reports whether the output of a job is here.
func (r *Results) Has(name string) bool { return SizeOf(r.Path(name)) >= 0 }

// AwayFolder is where a job's end runs that another node's user submitted: beside its result, so that what it writes is
// kept as long.
func (r *Results) AwayFolder(name string) string { return filepath.Join(r.FolderOf(name), awayFolder) }

// Share lets other members fetch a job's output by the hash that its ledger tells. It is not compared with that here:
// who fetches it does.
func (r *Results) Share(name, hash string) { r.Blobs.Add(hash, r.Path(name)) }

// SetAside puts a damaged output out of the way, for people to look at.
func (r *Results) SetAside(name, hash string) error {
	path := r.Path(name)
	r.Blobs.Forget(hash, path)
	return os.Rename(path, path+damagedMark)
}

// FetchedAt is when a job's user has got its output last, as far as this node knows; zero if it has not.
func (r *Results) FetchedAt(name string) time.Time {
	info, err := os.Stat(filepath.Join(r.FolderOf(name), fetchedFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// NoteFetched notes that a job's user has its output, from now on.
func (r *Results) NoteFetched(name string) {
	if err := os.WriteFile(filepath.Join(r.FolderOf(name), fetchedFile), nil, 0o600); err != nil {
		r.Log.Warn("could not note that a result was fetched", "job", api.Short(name), "reason", err)
	}
}

// Delivered reports whether this node wrote a job's output where its user wants it. Nobody else's word is taken for
// that.
func (r *Results) Delivered(name string) bool {
	return SizeOf(filepath.Join(r.FolderOf(name), deliveredFile)) >= 0
}

// NoteDelivered notes that this node wrote a job's output where its user wants it.
func (r *Results) NoteDelivered(name string) error {
	return durable.Write(filepath.Join(r.FolderOf(name), deliveredFile), nil)
}

// SaveStatus keeps a job's status for after a restart; durably where its user is owed an output.
func (r *Results) SaveStatus(name string, s Status) error {
	b, err := json.Marshal(s)
	path := filepath.Join(r.FolderOf(name), statusFile)
	if err == nil {
		err = durable.Write(path, b)
	}
	if err == nil && s.Owed != "" {
		err = errors.Join(durable.Sync(path), durable.Sync(r.FolderOf(name)), durable.Sync(r.Dir))
	}
	return err
}

// Status reads what is kept of the job with that name: nothing, without an error, where there is neither a status nor
// an output. A status that cannot be read is a *Damage.
func (r *Results) Status(name string) (Status, error) {
	s, err := readStatus(r.FolderOf(name))
	if err != nil {
		return s, statusDamage(r.FolderOf(name), err)
	}
	return s, nil
}

// SavedAt is since when a job's status stands as it does, for how long the job is to be kept.
func (r *Results) SavedAt(name string, a *Ages) time.Time {
	return a.Since(filepath.Join(r.FolderOf(name), statusFile))
}

// Names are the jobs of which something is kept, in no order that means anything.
func (r *Results) Names() (names []string) {
	dirs, _ := os.ReadDir(r.Dir)
	for _, e := range dirs {
		names = append(names, e.Name())
	}
	return names
}

func readStatus(dir string) (s Status, err error) {
	b, err := os.ReadFile(filepath.Join(dir, statusFile))
	if errors.Is(err, fs.ErrNotExist) && SizeOf(filepath.Join(dir, api.ResultFile)) < 0 {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.ID != filepath.Base(dir) {
		err = fmt.Errorf("it is of job %q", s.ID)
	}
	return s, err
}

// RemoveJob removes all that is kept of a job but the proof of its end.
func (r *Results) RemoveJob(name string) {
	dir := r.FolderOf(name)
	r.Blobs.ForgetFolder(dir)
	r.RemoveParts(name)
	r.keepEnd(name)
	if err := os.RemoveAll(dir); err != nil {
		r.Log.Warn("could not remove an old job", "job", api.Short(name), "reason", err)
	}
}

// RemoveOutput removes a job's output, and what it was made of if that was kept, and leaves the rest.
func (r *Results) RemoveOutput(name string) {
	r.RemoveParts(name)
	r.Blobs.ForgetFolder(r.FolderOf(name))
	if err := durable.RemoveIfThere(r.Path(name)); err != nil {
		r.Log.Warn("could not remove a result that was fetched", "job", api.Short(name), "reason", err)
	}
}

// TakenBack is what was kept of the end of a job that was taken back.
type TakenBack struct {
	Name   string // the job's
	Status Status // zero if it could not be read
	Folder string // where it lies now
}

// TakeBack puts all aside that is here of ends of the job with that id, since its ledger was recovered, by the word of
// by, from a copy that has no end.
func (r *Results) TakeBack(id tasks.JobID, by quorum.Link, asides *Asides) (out []TakenBack) {
	for _, file := range r.pastEnds() {
		if e, err := readEnd(file); err == nil && e.ID == id {
			_ = os.Remove(file)
		}
	}
	files, _ := filepath.Glob(filepath.Join(r.Dir, "*", endFile))
	for _, file := range files {
		if e, err := readEnd(file); err != nil || e.ID != id {
			continue
		}
		dir := filepath.Dir(file)
		t := TakenBack{Name: filepath.Base(dir)}
		if s, err := readStatus(dir); err == nil {
			t.Status = s
		}
		var err error
		if t.Folder, err = asides.PutEnd(dir, t.Name, by); err != nil {
			r.Log.Error("could not put the end of a job aside", "dir", dir, "reason", err)
		}
		out = append(out, t)
	}
	return out
}
