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

// A node that has no part in a job learns of it from other members. About a job that has not ended it believes only the
// job's submitter, and a member that proves that it leads the job. Otherwise any member could answer for the job, and
// receive what is meant for the job's home.

// leadProof is the answer to the request "lead", as msgpack.
type leadProof struct {
	ID        tasks.JobID     `msgpack:"i"`
	Signature store.Signature `msgpack:"b"`
	Proof     *quorum.Mandate `msgpack:"p"`
}

// ServeLead proves to a member that this node leads a job.
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

// errNotLead is the error of a member that describes a job which it has not submitted, and cannot prove to lead.
var errNotLead = errors.New("tells of a job that it neither submitted nor can prove to lead")

// provenLead returns an error if the description st of a job that has not ended is not to be believed, because the
// member at, which gave it, is not the job's submitter and does not prove that it leads the job.
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

// telling is the description of a job by a member that is believed.
type telling struct {
	at tasks.PeerID
	St api.JobStatus
}

// AskMembers asks members for a job, and returns the best description that one of them gives. It returns an error if
// they describe several jobs under the name, of different submitters, since it cannot know which one is meant.
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
	slices.SortFunc(told, func(a, b telling) int {
		return rankOf(b.St) - rankOf(a.St)
	})
	return told[0], nil
}

// rankOf orders descriptions of one job. An end ranks highest, since it comes last and is proven, and a description
// that leaves out what is private ranks below one that does not.
func rankOf(st api.JobStatus) (rank int) {
	if st.State.Final() {
		rank += 2
	}
	if st.Private == "" {
		rank++
	}
	return rank
}
