package store

import (
	"fmt"

	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// MaxDescription bounds the encoded description of a job, in bytes: it is mostly the names of the job's files.
const MaxDescription = 256 << 20

// Signature is what a node tells of a job's description before that is fetched: who signed it, and how large it is. It
// is the answer to the request "signature", and the head of the journal of the job's ledger. Whatever else is said of a
// job stands in the description.
type Signature struct {
	Signer tasks.PeerID `msgpack:"s"`
	Size   int64        `msgpack:"z"` // of the description, in bytes
	Sig    []byte       `msgpack:"g"` // of SignedText, by Signer
}

// SignedText is what a submitter signs: the job's name, which is the hash of its description, and the size of that in
// bytes.
func SignedText(id tasks.JobID, size int64) []byte {
	return fmt.Appendf(nil, "job %s %d", id, size)
}

// Check returns an error if a description must not even be fetched, because its signature is not valid or because it is
// too large.
func (s Signature) Check(id tasks.JobID) error {
	if s.Size <= 0 || s.Size > MaxDescription {
		return fmt.Errorf("could not accept job %s: its description has %d bytes, the limit is %d", id.Short(), s.Size,
			MaxDescription)
	}
	if err := p2p.Verify(s.Signer, SignedText(id, s.Size), s.Sig); err != nil {
		return fmt.Errorf("could not accept job %s: %w", id.Short(), err)
	}
	return nil
}

// CheckBody returns an error if body is not the encoded description that was signed.
func (s Signature) CheckBody(id tasks.JobID, body []byte) error {
	if err := s.Check(id); err != nil {
		return err
	}
	if tasks.NameOf(body) != id || int64(len(body)) != s.Size {
		return fmt.Errorf("could not accept job %s: its description has another hash", id.Short())
	}
	return nil
}

// OpenJob decodes a description, which must be the one that was signed. It does not check whether the signer may
// submit.
func (s Signature) OpenJob(id tasks.JobID, body []byte) (*tasks.Job, error) {
	if err := s.CheckBody(id, body); err != nil {
		return nil, err
	}
	var desc tasks.Job
	if err := wire.Unmarshal(body, &desc); err != nil {
		return nil, err
	}
	if err := desc.Check(); err != nil {
		return nil, err
	}
	if desc.Submitter != s.Signer || len(desc.Nonce) != tasks.NonceSize {
		return nil, fmt.Errorf("%w: signed by %s in the name of %s", tasks.ErrJob, s.Signer, desc.Submitter)
	}
	return &desc, nil
}
