package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// brief is told of a job's description before that is fetched: who signed it, and how large it is. It is the answer
// to the request "signature", and the head of a journal. Whatever else is said of a job stands in the description.
type brief struct {
	Signer tasks.PeerID `msgpack:"s"`
	Size   int64        `msgpack:"z"` // of the description, in bytes
	Sig    []byte       `msgpack:"g"` // of signedBrief, by Signer
}

// signedBrief is what a submitter signs: the job's name, which is the hash of its description, and the size of that.
func signedBrief(id tasks.JobID, size int64) []byte {
	return fmt.Appendf(nil, "job %s %d", id, size)
}

// check says why a description must not even be fetched, if so: nobody signed it.
func (b brief) check(id tasks.JobID) error {
	if b.Size <= 0 || b.Size > maxJobBytes {
		return fmt.Errorf("could not accept job %s: its description has %d bytes, the limit is %d", id.Short(), b.Size, maxJobBytes)
	}
	if err := p2p.Verify(b.Signer, signedBrief(id, b.Size), b.Sig); err != nil {
		return fmt.Errorf("could not accept job %s: %w", id.Short(), err)
	}
	return nil
}

// checkBody says why a description is not what its signer signed, if so.
func (b brief) checkBody(id tasks.JobID, body []byte) error {
	if err := b.check(id); err != nil {
		return err
	}
	if tasks.NameOf(body) != id || int64(len(body)) != b.Size {
		return fmt.Errorf("could not accept job %s: its description has another hash", id.Short())
	}
	return nil
}

// openJob decodes a description that is what its signer signed. Whether the signer may submit is not asked.
func openJob(id tasks.JobID, body []byte, b brief) (*tasks.Job, error) {
	if err := b.checkBody(id, body); err != nil {
		return nil, err
	}
	var desc tasks.Job
	if err := wire.Unmarshal(body, &desc); err != nil {
		return nil, err
	}
	if err := desc.Check(); err != nil {
		return nil, err
	}
	if desc.Submitter != b.Signer || len(desc.Nonce) != tasks.NonceSize {
		return nil, fmt.Errorf("%w: signed by %s in the name of %s", tasks.ErrJob, b.Signer, desc.Submitter)
	}
	return &desc, nil
}

// checkJob checks a description's name, its signature and the signer's right.
func (d *Daemon) checkJob(id tasks.JobID, body []byte, b brief) (*tasks.Job, error) {
	if err := d.maySubmit(id, b); err != nil {
		return nil, err
	}
	return openJob(id, body, b)
}

// sharedJob is checkJob for a job whose description may be here already, which is then not decoded once more.
func (d *Daemon) sharedJob(id tasks.JobID, body []byte, b brief) (desc *tasks.Job, err error) {
	d.ask(func(p *engine.Peer) { desc = p.Description(id) })
	if desc == nil || desc.Submitter != b.Signer {
		return d.checkJob(id, body, b)
	}
	if err := d.maySubmit(id, b); err != nil {
		return nil, err
	}
	return desc, b.checkBody(id, body)
}

// maySubmit says why a job is not one of a member that may submit, if so.
func (d *Daemon) maySubmit(id tasks.JobID, b brief) error {
	if err := b.check(id); err != nil {
		return err
	}
	if !d.net.HasRight(b.Signer, p2p.Submitter) {
		return fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), b.Signer)
	}
	return nil
}

// serveBrief tells what is to be known of a job before its description is fetched.
func (d *Daemon) serveBrief(id tasks.JobID) ([]byte, error) {
	if c := d.ledgerOf(id); c != nil {
		return wire.Marshal(&c.brief)
	}
	j := d.byID(id)
	if j == nil || !j.mine {
		return nil, errors.New("no such job here")
	}
	b, err := d.briefOf(j)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&b)
}

// briefOf is the brief of a job that was submitted here.
func (d *Daemon) briefOf(j *job) (brief, error) {
	if j == nil {
		return brief{}, errOver
	}
	id := j.known()
	if c := d.ledgerOf(id); c != nil {
		return c.brief, nil
	}
	size := d.blobs.size(string(id))
	if size < 0 {
		return brief{}, errOver
	}
	return brief{Signer: d.net.ID(), Size: size, Sig: d.net.Sign(signedBrief(id, size))}, nil
}

// askBrief asks another member for a job's brief, and checks that the job is one of a member that may submit. The error is
// under errSilent if it does not answer in time.
func (d *Daemon) askBrief(ctx context.Context, id tasks.JobID, from tasks.PeerID) (b brief, err error) {
	done, err := d.questions.take(ctx, from)
	if err != nil {
		return b, err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.BriefWait, errSilent)
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
func askOf(req api.JobRequest) tasks.Ask {
	a := tasks.Ask{Selector: req.Selector, Output: req.Output, Most: max(req.N, 0)}
	for _, name := range slices.Sorted(maps.Keys(req.Params)) {
		a.Params = append(a.Params, tasks.Param{Name: name, Value: req.Params[name]})
	}
	return a
}

// requestOf is what is known of a request on nodes that it was not made on. Whether this node acts on the output's
// path is another matter: see owed.
func requestOf(a tasks.Ask) api.JobRequest {
	req := api.JobRequest{Selector: a.Selector, Output: a.Output, Params: map[string]string{}}
	for _, p := range a.Params {
		req.Params[p.Name] = p.Value
	}
	return req
}
