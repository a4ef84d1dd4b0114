package node

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

// checkJob checks a description's name, its signature and the signer's right.
func (d *Daemon) checkJob(id tasks.JobID, body []byte, b store.Signature) (*tasks.Job, error) {
	if err := d.maySubmit(id, b); err != nil {
		return nil, err
	}
	return b.OpenJob(id, body)
}

// sharedJob is checkJob for a job whose description may be here already, which is then not decoded once more.
func (d *Daemon) sharedJob(id tasks.JobID, body []byte, b store.Signature) (desc *tasks.Job, err error) {
	d.ask(func(p *engine.Peer) { desc = p.Description(id) })
	if desc == nil || desc.Submitter != b.Signer {
		return d.checkJob(id, body, b)
	}
	if err := d.maySubmit(id, b); err != nil {
		return nil, err
	}
	return desc, b.CheckBody(id, body)
}

// maySubmit says why a job is not one of a member that may submit, if so.
func (d *Daemon) maySubmit(id tasks.JobID, b store.Signature) error {
	if err := b.Check(id); err != nil {
		return err
	}
	if !d.net.HasRight(b.Signer, p2p.Submitter) {
		return fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), b.Signer)
	}
	return nil
}

// serveSignature tells what is to be known of a job before its description is fetched.
func (d *Daemon) serveSignature(id tasks.JobID) ([]byte, error) {
	if c := d.ledgers.Of(id); c != nil {
		return wire.Marshal(&c.Signature)
	}
	j := d.book.ByID(id)
	if j == nil || !j.submittedHere {
		return nil, errors.New("no such job here")
	}
	b, err := d.signatureOf(j)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&b)
}

// signatureOf is the signature of the description of a job that was submitted here.
func (d *Daemon) signatureOf(j *job) (store.Signature, error) {
	if j == nil {
		return store.Signature{}, errOver
	}
	id := j.known()
	if c := d.ledgers.Of(id); c != nil {
		return c.Signature, nil
	}
	size := d.blobs.Size(string(id))
	if size < 0 {
		return store.Signature{}, errOver
	}
	return store.Signature{Signer: d.net.ID(), Size: size, Sig: d.net.Sign(store.SignedText(id, size))}, nil
}

// askSignature asks another member for the signature of a job's description, and checks that the job is one of a member
// that may submit. The error is under errSilent if it does not answer in time.
func (d *Daemon) askSignature(ctx context.Context, id tasks.JobID, from tasks.PeerID) (b store.Signature, err error) {
	done, err := d.descriptions.questions.Take(ctx, from)
	if err != nil {
		return b, err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.SignatureWait, errSilent)
	defer cancel()
	answer, err := d.net.Request(ctx, from, "signature", []byte(id))
	if err != nil {
		return b, fmt.Errorf("could not ask for the signature of job %s: %w", id.Short(), err)
	}
	if err := wire.Unmarshal(answer, &b); err != nil {
		return b, err
	}
	return b, d.maySubmit(id, b)
}

// askOf is the part of a request that goes into the signed description.
func askOf(j *job) tasks.Ask {
	j.mu.Lock()
	defer j.mu.Unlock()
	ask := tasks.Ask{Title: j.req.Title, Params: j.params, Output: j.req.Output, Most: max(j.req.N, 0)}
	if j.req.StaysOpen {
		ask.Part = j.req.Part
	}
	return ask
}

// requestOf is what is known of a request on nodes that it was not made on. Whether this node acts on the output's
// path is another matter: see owed.
func requestOf(desc *tasks.Job) api.JobRequest {
	return api.JobRequest{Kind: desc.Work.Kind, Title: desc.Ask.Title, Output: desc.Ask.Output}
}
