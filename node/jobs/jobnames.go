package jobs

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// Users know a job by its name, and the folder with its result, end, status and parts has the same name. Only one
// submitter can have given a job its name (tasks.NonceOf). No node takes part in a job with a name that its submitter
// cannot have given: the name could be that of another's job, or begin like one, and lists show only the beginning.

// TakesName is the violation of a member that submits a job under a name which it cannot have given.
const TakesName engine.Wrong = "submits a job by a name that it cannot have given"

// These are the errors of a job whose name its submitter cannot have given. With ErrTaken the name is known to be that
// of another job, or one of another member. With ErrNotNamed nobody knows whose it could be.
var (
	ErrTaken    = errors.New("it goes by the name of another job")
	ErrNotNamed = errors.New("it goes by a name that its submitter does not give to jobs: is there an older dtpnode?")
)

// mayBeNamed returns an error if this node must not take part in a job under its name: the submitter cannot have given
// it, or another job is known here under that name. In the first case the submitter is accused.
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

// isAnothers returns an error if the submitter cannot have given a job its name. The error tells which member can have
// given it, if that is one of those that this node has known since it was started.
func (r *descriptions) isAnothers(name string, submitter tasks.PeerID) error {
	nonce, err := hex.DecodeString(name)
	if err != nil || len(nonce) < tasks.NonceSize || tasks.NonceIsOf(nonce, submitter) {
		return nil // only the beginning of the name is known, so nothing can be said of it
	}
	for _, id := range r.cluster.Known() {
		if tasks.NonceIsOf(nonce, id) {
			return fmt.Errorf("%w, which is one of %s", ErrTaken, r.cluster.NameOf(id))
		}
	}
	return ErrNotNamed
}

// keepsFor is Book.KeepsFor, except on a node that is built to lie about names.
func (r *descriptions) keepsFor(name string, id tasks.JobID, submitter tasks.PeerID) error {
	if r.tricks.NamesAny() {
		return nil
	}
	return r.book.KeepsFor(name, id, submitter)
}

// keepsForJob is keepsFor for a job that is known here.
func (r *descriptions) keepsForJob(j *Job) error { return r.keepsFor(j.Name, j.ID(), j.submitter()) }
