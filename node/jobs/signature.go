package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// CheckJob decodes a description, after it has checked its name and signature, and that the signer may submit jobs.
func (r *descriptions) CheckJob(id tasks.JobID, body []byte, b store.Signature) (*tasks.Job, error) {
	if err := r.MaySubmit(id, b); err != nil {
		return nil, err
	}
	return b.OpenJob(id, body)
}

// sharedJob is CheckJob, except that it returns the description that is in memory already, if there is one.
func (r *descriptions) sharedJob(id tasks.JobID, body []byte, b store.Signature) (desc *tasks.Job, err error) {
	r.loop.Ask(func(p *engine.Peer) { desc = p.Description(id) })
	if desc == nil || desc.Submitter != b.Signer {
		return r.CheckJob(id, body, b)
	}
	if err := r.MaySubmit(id, b); err != nil {
		return nil, err
	}
	return desc, b.CheckBody(id, body)
}

// MaySubmit returns an error if the signature of a job is not that of a member that may submit.
func (r *descriptions) MaySubmit(id tasks.JobID, b store.Signature) error {
	if err := b.Check(id); err != nil {
		return err
	}
	if !r.net.HasRight(b.Signer, p2p.Submitter) {
		return fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), b.Signer)
	}
	return nil
}

// ServeSignature answers a member that asks for the signature of a job's description, which it checks before it fetches
// the description.
func (r *descriptions) ServeSignature(id tasks.JobID) ([]byte, error) {
	if c := r.ledgers.Of(id); c != nil {
		return wire.Marshal(&c.Signature)
	}
	j := r.book.ByID(id)
	if j == nil || !j.s.SubmittedHere {
		return nil, errors.New("no such job here")
	}
	b, err := r.signatureOf(j)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&b)
}

// signatureOf returns the signature of a job's description: that of the copy of the ledger or, without one, a new one
// by this node, on which the job then was submitted.
func (r *descriptions) signatureOf(j *Job) (store.Signature, error) {
	if j == nil {
		return store.Signature{}, ErrOver
	}
	id := j.ID()
	if c := r.ledgers.Of(id); c != nil {
		return c.Signature, nil
	}
	size := r.blobs.Size(string(id))
	if size < 0 {
		return store.Signature{}, ErrOver
	}
	return store.Signature{Signer: r.net.ID(), Size: size, Sig: r.net.Sign(store.SignedText(id, size))}, nil
}

// askSignature asks another member for the signature of a job's description, and checks that the job is one of a member
// that may submit. The error is under ErrSilent if it does not answer in time.
func (r *descriptions) askSignature(
	ctx context.Context, id tasks.JobID, from tasks.PeerID,
) (b store.Signature, err error) {
	done, err := r.questions.Take(ctx, from)
	if err != nil {
		return b, err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.SignatureWait, ErrSilent)
	defer cancel()
	answer, err := r.net.Request(ctx, from, "signature", []byte(id))
	if err != nil {
		return b, fmt.Errorf("could not ask for the signature of job %s: %w", id.Short(), err)
	}
	if err := wire.Unmarshal(answer, &b); err != nil {
		return b, err
	}
	return b, r.MaySubmit(id, b)
}

// askOf is the part of a request that goes into the signed description.
func askOf(j *Job) tasks.Ask {
	j.mu.Lock()
	defer j.mu.Unlock()
	ask := tasks.Ask{Title: j.s.Req.Title, Params: j.s.Params, Output: j.s.Req.Output,
		OutputDir: j.s.Req.OutputDir, Most: max(j.s.Req.N, 0)}
	if j.s.Req.StaysOpen {
		ask.Part, ask.Abandon = j.s.Req.Part, durationOf(j.s.Req.Abandon)
	}
	return ask
}

// requestOf is what nodes on which a job was not submitted know of the request for it. They never write to the path of
// the output (see Owed).
func requestOf(desc *tasks.Job) api.JobRequest {
	return api.JobRequest{Kind: desc.Work.Kind, Title: desc.Ask.Title, Output: desc.Ask.Output,
		OutputDir: desc.Ask.OutputDir}
}
