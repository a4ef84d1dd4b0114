package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Where a node has no part in a job, members tell it of that. What they tell of a job that has not ended is believed of
// its submitter, and of whoever proves that it leads it: else any member could answer for the job, and take what is
// meant for its home.

// leadProof answers the request "lead", as msgpack.
type leadProof struct {
	ID        tasks.JobID     `msgpack:"i"`
	Signature store.Signature `msgpack:"b"`
	Proof     *quorum.Mandate `msgpack:"p"`
}

// ServeLead shows a member that this node leads a job.
func (r *teller) ServeLead(name string) ([]byte, error) {
	j, err := r.book.Told(name)
	if err != nil {
		return nil, err
	}
	p := leadProof{ID: j.ID()}
	if p.ID == "" {
		return nil, errors.New("the job has not begun")
	}
	if p.Signature, err = r.signatureOf(j); err != nil {
		return nil, err
	}
	r.loop.Ask(func(peer *engine.Peer) { p.Proof = peer.Mandate(p.ID) })
	if p.Proof == nil {
		return nil, fmt.Errorf("who leads job %s is not proven yet", api.Short(j.Name))
	}
	return wire.Marshal(&p)
}

// errNotLead is the error of a member that tells of a job that it neither submitted nor leads.
var errNotLead = errors.New("tells of a job that it neither submitted nor can prove to lead")

// provenLead says why a member is not believed that tells of a job which has not ended.
func (r *teller) provenLead(ctx context.Context, at tasks.PeerID, name string, st api.JobStatus) error {
	owner := st.Submitter
	if found := r.book.Find(name); len(found) == 1 {
		if known := found[0].submitter(); known != "" && known != owner {
			return fmt.Errorf("%w: it is another's job", errNotLead)
		}
	}
	switch {
	case !r.net.HasRight(owner, p2p.Submitter):
		return fmt.Errorf("%w: %q may submit no jobs", errNotLead, owner)
	case at == owner:
		return nil
	}
	b, err := r.cluster.Ask(ctx, at, "lead", name)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotLead, err)
	}
	var p leadProof
	if err := wire.Unmarshal(b, &p); err != nil || p.Proof == nil {
		return errNotLead
	}
	if err := r.MaySubmit(p.ID, p.Signature); err != nil || p.Signature.Signer != owner || p.Proof.LeaderPeer() != at {
		return fmt.Errorf("%w: %w", errNotLead, errors.Join(err, quorum.ErrUnproven))
	}
	err = r.CheckFor(at, p.ID, owner, func(t quorum.Trust) error { return quorum.CheckMandate(t, *p.Proof) })
	if err != nil && !errors.Is(err, engine.ErrTooMuch) {
		return fmt.Errorf("%w: %w", errNotLead, err)
	}
	return err
}

// telling is what a member that is believed tells of a job.
type telling struct {
	at tasks.PeerID
	St api.JobStatus
}

// AskMembers asks members for a job, and returns what one of them tells. Where several tell of jobs of that name which
// different members have submitted, none is taken for the one that is meant.
func (r *teller) AskMembers(ctx context.Context, ids []tasks.PeerID, name string) (t telling, err error) {
	var mu sync.Mutex
	var told []telling
	var g errgroup.Group
	g.SetLimit(16)
	for _, id := range ids {
		g.Go(func() error {
			if st, err := r.RemoteStatus(ctx, id, name); err == nil {
				mu.Lock()
				told = append(told, telling{id, st})
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait()
	if len(told) == 0 {
		return t, NoJob(name)
	}
	if i := slices.IndexFunc(told, func(o telling) bool { return o.St.Submitter != told[0].St.Submitter }); i > 0 {
		names := r.cluster.Names()
		return t, &api.Error{Status: http.StatusConflict,
			Message: fmt.Sprintf("%s tells of a job %s of %s, and %s of one of %s", names[told[0].at].Name, name,
				names[told[0].St.Submitter].Name,
				names[told[i].at].Name, names[told[i].St.Submitter].Name),
			Hint: "one of them is not what it seems: ask on the host that submitted the job"}
	}
	slices.SortFunc(told, func(a, b telling) int { // one that has ended has proven that; a private word says less
		return rankOf(b.St) - rankOf(a.St)
	})
	return told[0], nil
}

// rankOf orders what members tell of one job: the more is said, and the later it is, the higher.
func rankOf(st api.JobStatus) (rank int) {
	if st.State.Final() {
		rank += 2
	}
	if st.Private == "" {
		rank++
	}
	return rank
}
