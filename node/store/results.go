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
//	taken        is there if the job's user has been told the values of all units while the job ran
//	delivered    is there if this node wrote the output where its user wants it
//	parts/       what a partial result was made of (parts.go)
//	terminate/   the folder in which the job's end ran, if another node's user submitted it
//
// All methods may be called from any goroutine. RemoveJob must not be called together with others for the same job.
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
	takenFile     = "taken"
	deliveredFile = "delivered"
	partsFolder   = "parts"
	awayFolder    = "terminate"
)

// Status is a job's status as it is kept on disk, and what its user is still owed.
type Status struct {
	api.JobStatus
	Ours bool   `json:"ours,omitempty"` // submitted here
	Owed string `json:"owed,omitempty"` // path to which this node must still write the output; empty if it owes none
	// Dir and Env are the folder and the environment for Begin and Terminate of a job that was submitted here.
	Dir string   `json:"dir,omitempty"`
	Env []string `json:"env,omitempty"`
	// OutputDir is the folder that the user has named for files that the program writes beside its output.
	OutputDir string `json:"output_dir,omitempty"`
	// Spares are paths that no such file takes the place of, besides those of the job's files.
	Spares []string `json:"spares,omitempty"`
}

// FolderOf is the folder of the job with that name.
func (r *Results) FolderOf(name string) string { return filepath.Join(r.Dir, name) }

// Path is where the output of the job with that name is kept.
func (r *Results) Path(name string) string { return filepath.Join(r.FolderOf(name), api.ResultFile) }

// Has reports whether the output of a job is here.
func (r *Results) Has(name string) bool { return SizeOf(r.Path(name)) >= 0 }

// AwayFolder is the folder in which Terminate runs for a job that was submitted on another node. It is beside the job's
// result, so that what Terminate writes there is kept as long.
func (r *Results) AwayFolder(name string) string { return filepath.Join(r.FolderOf(name), awayFolder) }

// Share lets other members fetch a job's output by the hash that is in the job's ledger. Share does not compare the
// file with the hash; whoever fetches it does.
func (r *Results) Share(name, hash string) { r.Blobs.Add(hash, r.Path(name)) }

// SetAside renames a damaged output, so that it is not used, and a person can look at it.
func (r *Results) SetAside(name, hash string) error {
	path := r.Path(name)
	r.Blobs.Forget(hash, path)
	return os.Rename(path, path+damagedMark)
}

// FetchedAt is when a job's user last fetched the output, as far as this node knows; zero if never.
func (r *Results) FetchedAt(name string) time.Time {
	info, err := os.Stat(filepath.Join(r.FolderOf(name), fetchedFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// NoteFetched notes that a job's user has fetched the output now.
func (r *Results) NoteFetched(name string) {
	if err := os.WriteFile(filepath.Join(r.FolderOf(name), fetchedFile), nil, 0o600); err != nil {
		r.Log.Warn("could not note that a result was fetched", "job", api.Short(name), "reason", err)
	}
}

// Taken reports whether a job's user has been told the values of all units while the job ran, as far as this node
// knows.
func (r *Results) Taken(name string) bool {
	return SizeOf(filepath.Join(r.FolderOf(name), takenFile)) >= 0
}

// NoteTaken notes that a job's user has been told the values of all units.
func (r *Results) NoteTaken(name string) {
	if err := os.WriteFile(filepath.Join(r.FolderOf(name), takenFile), nil, 0o600); err != nil {
		r.Log.Warn("could not note that a job's values were told", "job", api.Short(name), "reason", err)
	}
}

// Delivered reports whether this node has written a job's output to the path that the user wants. Only this node can
// know that, so the word of others does not count.
func (r *Results) Delivered(name string) bool {
	return SizeOf(filepath.Join(r.FolderOf(name), deliveredFile)) >= 0
}

// NoteDelivered notes that this node has written a job's output to the path that the user wants.
func (r *Results) NoteDelivered(name string) error {
	return durable.Write(filepath.Join(r.FolderOf(name), deliveredFile), nil)
}

// SaveStatus writes a job's status to disk, for after a restart. It is durable if the job's user is owed an output.
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

// Status reads the status of a job. It returns an empty one, without an error, if there is neither a status nor an
// output. The error is a *Damage if the status cannot be read.
func (r *Results) Status(name string) (Status, error) {
	s, err := readStatus(r.FolderOf(name))
	if err != nil {
		return s, statusDamage(r.FolderOf(name), err)
	}
	return s, nil
}

// SavedAt is when a job's status was written last, from which on the job is kept.
func (r *Results) SavedAt(name string, a *Ages) time.Time {
	return a.Since(filepath.Join(r.FolderOf(name), statusFile))
}

// Names are the names of the jobs of which something is kept, in no particular order.
func (r *Results) Names() (names []string) {
	dirs, _ := os.ReadDir(r.Dir)
	for _, e := range dirs {
		names = append(names, e.Name())
	}
	return names
}

// Restore removes what earlier lives left unfinished in the jobs' folders. Nothing may be written there before.
func (r *Results) Restore() {
	for _, name := range r.Names() {
		removeAll(r.FolderOf(name), durable.TempPrefix+"*")
	}
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

// RemoveJob removes all that is kept of a job except for the proof of its end.
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

// TakeBack puts aside all that is kept here of the end of a job, since the job's ledger was recovered from a copy that
// has no end. by is the signed recovery.
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
