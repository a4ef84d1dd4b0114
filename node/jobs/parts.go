package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What a partial result was made of, or one with values of single units, outlives the job's ledger on the nodes that
// had a copy of that, for as long as the result: the committed partials, as outputs were before the job's end ran, and
// the job's description, sources and items. `dtpnode retry` submits a job that begins with them (retry.go), and
// `dtpnode units` reads them (units.go). They lie beside the result, in the folder parts, each under its hash, as files
// of the ledger's folder under another name: keeping them costs no copy.

// keepParts keeps what a job's result was made of, unless it takes more bytes than the limit KeepBytes, which also
// bounds partials that are not committed.
func (r *copies) keepParts(name string, c *store.Copy, made store.MadeOf) {
	var size int64
	for _, p := range made.Parts {
		size += p.Size
	}
	if size > r.cfg.KeepBytes {
		r.log.Warn("what a result was made of is not kept for a retry, or for its units: it is too large",
			"job", api.Short(name), "bytes", size, "limit", r.cfg.KeepBytes)
		return
	}
	if err := r.results.KeepParts(name, c, made); err != nil {
		r.log.Warn("could not keep what a result was made of; it cannot be retried, or its units told, with this node alone",
			"job", api.Short(name), "reason", err)
	}
}

// checkParts returns an error if the partials that the member at keeps, or this node if at is empty, are not proven to
// be what a job's result was made of. The proof is their hash in the signed end. Ends that older versions wrote have no
// such hash. For them this node trusts itself, and the submitter, whose job it is.
func checkParts(at tasks.PeerID, f *store.MadeOf, st api.JobStatus) error {
	switch {
	case st.PartsSHA256 == "" && at != "" && at != st.Submitter:
		return errors.New("nothing that was signed at the job's end, by an older dtpnode, says which partial results it " +
			"was made of, so they are taken from the submitter's own node alone")
	case st.PartsSHA256 != "" && f.Sum() != st.PartsSHA256:
		return errors.New("these are not the partial results of which the job's end, as it was signed, was made")
	}
	return nil
}

// handle is the answer to the request "parts": the blob to be fetched, which has the encoded store.MadeOf.
type handle struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// ServeParts answers the request "parts" of another member about a job.
func (r *copies) ServeParts(name string) ([]byte, error) {
	index, err := r.results.PartsIndex(name)
	if err != nil {
		return nil, fmt.Errorf("nothing is kept here of job %s", api.Short(name))
	}
	return json.Marshal(handle{SHA256: store.HashOf(index), Size: int64(len(index))})
}

// foundParts is what is kept of a job's partials, and by which member.
type foundParts struct {
	store.MadeOf
	desc *tasks.Job
	at   tasks.PeerID // empty for this node
}

// FindParts looks for what is kept of a job that has ended: here, with the member that tells of it, and with all
// others.
func (r *copies) FindParts(ctx context.Context, at tasks.PeerID, st api.JobStatus) (*foundParts, error) {
	index, err := r.results.PartsIndex(st.ID)
	if err == nil {
		f, err := r.openParts(ctx, "", index, st)
		if err == nil {
			return f, nil
		}
		r.log.Warn("could not read what is kept of a job here; asking others", "job", api.Short(st.ID), "reason", err)
	}
	var refused error // why the last answer was not used; nil if none was refused
	asked := map[tasks.PeerID]bool{"": true}
	for _, id := range append([]tasks.PeerID{at}, r.cluster.Up()...) {
		if asked[id] {
			continue
		}
		asked[id] = true
		index, err := r.fetchIndex(ctx, id, st.ID)
		if err != nil {
			continue
		}
		f, err := r.openParts(ctx, id, index, st)
		if err == nil {
			return f, nil
		}
		refused = fmt.Errorf("%s: %w", r.cluster.Called([]tasks.PeerID{id})[0], err)
		r.log.Warn("could not use what a member keeps of a job", "job", api.Short(st.ID), "node", id, "reason", err)
	}
	if refused != nil {
		refused = fmt.Errorf("; what was told of it was refused: %w", refused)
	}
	return nil, &NotKept{refused}
}

// NotKept says that nobody who can be reached keeps what a job's result was made of.
type NotKept struct {
	refused error // what somebody told of it, nil if nobody did
}

func (e *NotKept) Error() string {
	message := "no member that can be reached keeps what its result was made of any more"
	if e.refused != nil {
		message += e.refused.Error()
	}
	return message
}

func (e *NotKept) Unwrap() error { return e.refused }

func (r *copies) fetchIndex(ctx context.Context, from tasks.PeerID, name string) ([]byte, error) {
	answer, err := r.cluster.Ask(ctx, from, "parts", name)
	if err != nil {
		return nil, err
	}
	var h handle
	if err := wire.ReadJSON(answer, members.MostValues, &h); err != nil || h.Size <= 0 || h.Size > store.MaxPartsIndex {
		return nil, fmt.Errorf("could not read what %s keeps: %w", from, errors.Join(err, errors.New("impossible size")))
	}
	return r.fetchWhole(ctx, from, h.SHA256, h.Size)
}

// openParts checks what is kept of a job: its description is the one that the job's submitter signed, so that no member
// can have others run another code in its name; and the partials are those of which the job's end, as it is proven, was
// made, so that none can have others believe another result.
func (r *copies) openParts(ctx context.Context, at tasks.PeerID, index []byte, st api.JobStatus) (*foundParts, error) {
	f := &foundParts{at: at}
	if err := wire.UnmarshalWithin(index, store.MaxPartsMemory, &f.MadeOf); err != nil {
		return nil, err
	}
	if err := f.Signature.Check(f.Job); err != nil {
		return nil, err
	}
	if err := checkParts(at, &f.MadeOf, st); err != nil {
		return nil, err
	}
	body, err := r.fetchWhole(ctx, at, string(f.Job), f.Signature.Size)
	if err != nil {
		return nil, err
	}
	if f.desc, err = r.CheckJob(f.Job, body, f.Signature); err != nil {
		return nil, err
	}
	if store.NameOf(f.desc) != st.ID || f.desc.Submitter != st.Submitter {
		return nil, fmt.Errorf("it is of another job, %s", f.Job.Short())
	}
	if err := r.grownSince(f, st); err != nil {
		return nil, err
	}
	_, err = merge.Recommit(f.Parts, f.desc.Want)
	return f, err
}

// grownSince completes the description of an open job by all its appends. They must be signed by the job's submitter,
// and be as many as the job's end says.
func (r *copies) grownSince(f *foundParts, st api.JobStatus) error {
	if !f.desc.Open {
		return nil
	}
	if uint64(len(f.Grown)) != st.Appends {
		return fmt.Errorf("%d appends are kept, and the job has grown by %d", len(f.Grown), st.Appends)
	}
	desc := *f.desc
	data := desc.Data.Clone()
	var sum tasks.AppendSum
	for i := range f.Grown {
		a := &f.Grown[i]
		sum = a.Sum(sum)
		if a.Seq != uint64(i+1) || a.Check() != nil {
			return fmt.Errorf("append %d is none that a job can have", i+1)
		}
		if err := data.Append(a.Files); err != nil {
			return err
		}
	}
	if n := len(f.Grown); n > 0 {
		last := f.Grown[n-1]
		if p2p.Verify(desc.Submitter, tasks.AppendText(f.Job, last.Seq, sum), last.Sig) != nil {
			return errors.New("what was appended is not signed by the job's submitter")
		}
	}
	desc.Data, desc.Want, desc.Open = *data, data.Space(), false
	f.desc = &desc
	return nil
}

// hasValues reports whether the partials of a job keep values of single units, so that they must be kept beside the
// result.
func (r *copies) hasValues(kind string, id tasks.JobID, parts []merge.Partial) bool {
	if len(parts) == 0 || !r.runtimes.HasValues(kind) {
		return false
	}
	return r.runtimes.Values(r.ctx, kind, r.ledgers.KeptPath(id, parts[0]), nil, nil) == nil
}
