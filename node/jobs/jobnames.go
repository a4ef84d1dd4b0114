package jobs

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// Users know a job by its name, and so do the folders of what is kept of it: result, end, status, parts. A name is one
// that its submitter alone can give (tasks.NonceOf). No node has part in a job that goes by any other: it could be
// another's name, or begin like one, and lists tell jobs apart by that.

// TakesName is what is told of who submits a job under another's name.
const TakesName engine.Wrong = "submits a job by a name that it cannot have given"

// ErrTaken is the error of a job that goes by another's name, errNotNamed that of one by a name that nobody known
// gives.
var (
	ErrTaken    = errors.New("it goes by the name of another job")
	ErrNotNamed = errors.New("it goes by a name that its submitter does not give to jobs: is there an older dtpnode?")
)

// mayBeNamed says why a job may not go by its name here, if so: its submitter cannot have given it, or another job of
// that name is known here.
func (r *descriptions) mayBeNamed(id tasks.JobID, desc *tasks.Job) error {
	if err := r.isAnothers(store.NameOf(desc), desc.Submitter); err != nil && !r.tricks.NamesAny() {
		r.cluster.Violated(desc.Submitter, id, TakesName, err.Error())
		return err
	}
	return r.keepsFor(store.NameOf(desc), id, desc.Submitter)
}

// isNamedBy reports whether a whole name is one that the submitter can have given.
func isNamedBy(name string, submitter tasks.PeerID) bool {
	nonce, err := hex.DecodeString(name)
	return err == nil && tasks.NonceIsOf(nonce, submitter)
}

// isAnothers says so if the submitter cannot have given a job its name, and whose it is, if a member that is known
// here, or was in this life, can.
func (r *descriptions) isAnothers(name string, submitter tasks.PeerID) error {
	nonce, err := hex.DecodeString(name)
	if err != nil || len(nonce) < tasks.NonceSize || tasks.NonceIsOf(nonce, submitter) {
		return nil // of a job that is not described to this node the beginning of the name is known
	}
	for _, id := range r.cluster.Known() {
		if tasks.NonceIsOf(nonce, id) {
			return fmt.Errorf("%w, which is one of %s", ErrTaken, r.cluster.NameOf(id))
		}
	}
	return ErrNotNamed
}

// keepsFor is Book.KeepsFor for this node, if it minds names at all.
func (r *descriptions) keepsFor(name string, id tasks.JobID, submitter tasks.PeerID) error {
	if r.tricks.NamesAny() {
		return nil
	}
	return r.book.KeepsFor(name, id, submitter)
}

// keepsForJob is keepsFor of a job that is known here.
func (r *descriptions) keepsForJob(j *Job) error { return r.keepsFor(j.Name, j.ID(), j.submitter()) }
