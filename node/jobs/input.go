package jobs

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// What Begin makes for every generation is in the job's description if it is little, and else a blob that goes with the
// description to each node that works for the job or keeps its ledger. On each node it is one file in the folder of
// what jobs ship, for all generations of the job.

// begin runs Begin on the submitting side, and puts what it has made into the description.
func (r *Room) begin(j *Job, desc *tasks.Job) (err error) {
	defer needsOf(desc)
	path, err := r.startSession(j)
	if err != nil || path == "" {
		return err
	}
	defer os.Remove(path)
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.Size() > tasks.MaxInput:
		err = tooMuchInput(info.Size())
	case info.Size() <= tasks.MaxInline:
		desc.Input, err = os.ReadFile(path)
	default:
		ship := tasks.Ship{Name: tasks.InputShip, Keep: true}
		err = r.shipFile(j, exec.Blob{Name: ship.Name, File: path}, &ship)
		desc.Begun = ship
	}
	if err != nil {
		return fmt.Errorf("could not hand on what Begin has made: %w", err)
	}
	return r.placeInput(j.ctx, j, desc)
}

// needsOf adds to the needs of a job's work what its input and its files ask of a node besides.
func needsOf(desc *tasks.Job) {
	needs := slices.Clone(desc.Work.Needs)
	if (len(desc.Input) > 0 || desc.Begun.Name != "") && !slices.Contains(needs, exec.NeedsInputFile) {
		needs = append(needs, exec.NeedsInputFile)
	}
	if desc.Data.Whole && !slices.Contains(needs, exec.NeedsWholeFiles) {
		needs = append(needs, exec.NeedsWholeFiles)
	}
	desc.Work.Needs = needs
}

// loadInput has what Begin has made on this node's disk, for a job whose description is known.
func (r *programs) loadInput(ctx context.Context, j *Job) error {
	if _, desc := j.Prepared(); desc != nil {
		return r.placeInput(ctx, j, desc)
	}
	return nil
}

func (r *programs) placeInput(ctx context.Context, j *Job, desc *tasks.Job) (err error) {
	path := ""
	switch {
	case desc.Begun.Name != "":
		path, err = r.fetchShipFile(ctx, j, desc.Begun)
	case len(desc.Input) > 0:
		var hash string
		if hash, err = r.ship(j, desc.Input); err == nil {
			path = r.blobs.ShipPath(hash)
		}
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s.Input = path
	return nil
}

// inputPath is the path of what Begin has made, for generations on this node; empty for nothing.
func (j *Job) inputPath() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Input
}

// inputFor is inputPath for a job with that description. It is an error if there should be something and is not: code
// that does not look would count other things than it was told to.
func (j *Job) inputFor(desc *tasks.Job) (string, error) {
	path := j.inputPath()
	if path == "" && desc != nil && (len(desc.Input) > 0 || desc.Begun.Name != "") {
		return "", &exec.Failure{
			Kind: exec.KindDisk, Op: "start", Entry: -1, Msg: "what Begin has made is not on this node; please report this",
		}
	}
	return path, nil
}

// whole says why no file of a job may be divided that is being prepared to be submitted here; empty if files may be.
func (j *Job) whole() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Whole
}

// wholeNote tells the user that files are not divided, which may take longer.
func wholeNote(why string) string {
	return "each file is read by one process, in order (" + why + "): no more processes work than there are files"
}

// hasItems reports whether units are in no files.
func hasItems(files []tasks.File) bool {
	return slices.ContainsFunc(files, func(f tasks.File) bool { return f.URL == "" })
}
