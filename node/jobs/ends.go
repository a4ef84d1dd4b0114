package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// The end of a job is proven by a seal that a majority of its ledger's voters signed (engine.Ended). This node keeps
// the proof beside the result, and shows it to members that ask. It believes in an end only with such a proof, or on
// the word of the job's submitter, which can harm nobody but itself by a lie about its own job.

// maxEnd bounds an encoded endProof: a status, and a seal with its chain.
const maxEnd = ledger.MaxStatus + 512<<10

// EndProof is the answer to the request "end", as msgpack. It lacks the result if the member that asks has no right to
// see the job.
type EndProof struct {
	End       engine.Remember `msgpack:"e"`
	Submitter tasks.PeerID    `msgpack:"s"`
}

// ServeEnd shows a member the proof of a job's end.
func (r *teller) ServeEnd(from tasks.PeerID, name string) ([]byte, error) {
	j, err := r.book.Told(name)
	if err != nil {
		return nil, err
	}
	p := EndProof{Submitter: j.submitter()}
	if p.End, err = r.results.End(j.Name); err != nil || p.End.Ended.Seal == nil {
		return nil, fmt.Errorf("the end of job %s is not proven yet", api.Short(j.Name))
	}
	if !r.cluster.May(from, p.Submitter, members.ForLook) {
		p.End.Ended.Result = nil
	}
	return wire.Marshal(&p)
}

// errUnproven is the error of a member that reports the end of a job and cannot prove it.
var errUnproven = errors.New("tells of a job's end that it cannot prove")

// provenEnd asks a member to prove the end of a job that it has reported in st, and returns what is proven of that. The
// proof must agree with what this node knows of the job.
func (r *teller) provenEnd(ctx context.Context, at tasks.PeerID, name string, st api.JobStatus) (api.JobStatus, error) {
	known := jobIdentity{name: name, submitter: st.Submitter}
	if found := r.book.Find(name); len(found) == 1 {
		known.id = found[0].ID()
		if owner := found[0].submitter(); owner != "" {
			known.submitter = owner
		}
	}
	if at == known.submitter && r.net.HasRight(at, p2p.Submitter) {
		return st, nil
	}
	known.whole = r.cluster.May(r.net.ID(), known.submitter, members.ForLook)
	b, err := r.cluster.Ask(ctx, at, "end", name)
	if err != nil {
		return st, fmt.Errorf("%w: %w", errUnproven, err)
	}
	var p EndProof
	if len(b) > maxEnd || wire.Unmarshal(b, &p) != nil {
		return st, errUnproven
	}
	told := st
	err = r.CheckFor(at, p.End.ID, p.Submitter, func(t quorum.Trust) (err error) {
		told, err = known.check(t, st, p)
		return err
	})
	return told, err
}

// jobIdentity is what is known of a job whose end is to be proven.
type jobIdentity struct {
	name      string      // the name, or the beginning of it that the user gave
	id        tasks.JobID // empty if it is not known here
	submitter tasks.PeerID
	whole     bool // this node may see the whole job, so an honest member shows it the result
}

// check returns the part of a member's report st that its proof p shows to be true. The error is under errUnproven if
// the proof is not valid, or is of another job.
func (known jobIdentity) check(t quorum.Trust, st api.JobStatus, p EndProof) (api.JobStatus, error) {
	e := &p.End.Ended
	switch {
	case p.Submitter != known.submitter || known.submitter == "" || (known.id != "" && p.End.ID != known.id):
		return st, fmt.Errorf("%w: it is another job's", errUnproven)
	case e.Result != nil && len(e.Result.Status) > ledger.MaxStatus:
		return st, errUnproven
	}
	if err := engine.CheckEnd(t, e); err != nil {
		return st, fmt.Errorf("%w: %w", errUnproven, err)
	}
	if e.Result == nil { // this node is told that the job is over, and nothing else
		if st.Private == "" || known.whole {
			return st, errUnproven
		}
		st.SHA256 = "" // nobody has signed the hash that the member reports
		return st, nil
	}
	var signed api.JobStatus
	if err := json.Unmarshal(e.Result.Status, &signed); err != nil || !signed.State.Final() ||
		!strings.HasPrefix(signed.ID, known.name) {
		return st, fmt.Errorf("%w: it is another job's", errUnproven)
	}
	signed.Submitter, signed.SubmitterName, signed.SHA256 = p.Submitter, st.SubmitterName, e.Result.SHA256
	// These three change after the end, so that no signature can cover them.
	signed.Output, signed.OutputError, signed.Kept = st.Output, st.OutputError, st.Kept
	return signed, nil
}
