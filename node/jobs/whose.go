package jobs

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
)

// LedOwner finds a job that this node describes to others, and its submitter. Like the next two functions it finds the
// job that a member's request is about, so that the member's rights to it can be checked.
func (r *teller) LedOwner(name string) (*Job, tasks.PeerID, error) {
	j, err := r.book.Told(name)
	if err != nil {
		return nil, "", err
	}
	return j, j.submitter(), nil
}

// KnownOwner finds a job that this node has any part in, and its submitter. If the name fits jobs of several submitters
// the submitter is empty, so that only members that may see all jobs are served.
func (r *teller) KnownOwner(name string) (*Job, tasks.PeerID, error) {
	found := r.book.Find(name)
	if len(found) == 0 {
		return nil, "", NoJob(name)
	}
	owner := found[0].submitter()
	for _, j := range found[1:] {
		if j.submitter() != owner {
			owner = ""
		}
	}
	return found[0], owner, nil
}

// KeptOwner finds a job by its whole name, and its submitter. The job is nil if this node has no more of it than a copy
// of the ledger.
func (r *teller) KeptOwner(name string) (*Job, tasks.PeerID, error) {
	nonce, err := hex.DecodeString(name)
	if err != nil || len(nonce) != tasks.NonceSize {
		return nil, "", fmt.Errorf("%q is no name of a job", name)
	}
	j := r.book.Named(name)
	var owner tasks.PeerID
	for _, c := range r.ledgers.All() {
		if c.Name() == name {
			owner = c.Job.Submitter
		}
	}
	switch {
	case j != nil:
		return j, j.submitter(), nil
	case owner != "":
		return nil, owner, nil
	}
	return nil, "", NoJob(name)
}

// NoJob is the error of a job that is not known here.
func NoJob(name string) *api.Error {
	return &api.Error{
		Status:  http.StatusNotFound,
		Message: fmt.Sprintf("no job %q here", name),
		Hint:    "dtpnode ps lists the jobs",
	}
}

// granted is Lookup for a job to which this node's user must have access.
func (r *teller) granted(
	ctx context.Context, name string, a members.Access,
) (j *Job, at tasks.PeerID, st api.JobStatus, err error) {
	if j, at, st, err = r.Lookup(ctx, name); err == nil {
		err = r.cluster.Permit(st, a)
	}
	return j, at, st, err
}
