package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/turns"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A node fetches a job's description from a member that claims to lead the job. Several members may claim that, and any
// of them may not answer, or send the description byte by byte. So all of them are asked, and the first complete answer
// is taken: it must be right, since the hash of the description is the job's id.

const (
	maxQuestions    = 4 // how many signatures one member is asked for at the same time; an answer may have megabytes
	maxDescriptions = 2 // how many descriptions are fetched from one member, and decoded, at the same time

	// How long fetching a description may take: a minute, and 16 s for each MB, as for the blob of a partial.
	fetchBase, fetchPerMB = time.Minute, 16 * time.Second
)

// ErrSilent is the error, under errors.Is, of a member that did not answer, or did not send what it was asked for, in
// time.
var ErrSilent = errors.New("it did not answer in time")

// descriptions are those that are being asked for, and the places that members have meanwhile.
type descriptions struct {
	*base
	fetches   *turns.Turns // places for fetching descriptions, by the member that sends them
	questions *turns.Turns // places for asking for signatures, by the member that is asked

	mu    sync.Mutex
	of    map[tasks.JobID]*asked
	heavy map[tasks.JobID]int64 // descriptions for which there was no room, and how many bytes they take; at most maxHeavy
}

func newDescriptions(b *base) *descriptions {
	return &descriptions{
		base:      b,
		fetches:   turns.New(maxDescriptions),
		questions: turns.New(maxQuestions),
		of:        map[tasks.JobID]*asked{},
		heavy:     map[tasks.JobID]int64{},
	}
}

// weighs is how many bytes of memory a description takes, as far as is known, and at least bytes.
func (r *descriptions) weighs(id tasks.JobID, bytes int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(bytes, r.heavy[id])
}

// noRoom remembers a description for which there was no room, so that it is not fetched again only to find that out.
func (r *descriptions) noRoom(id tasks.JobID, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.heavy) >= maxHeavy {
		clear(r.heavy)
	}
	r.heavy[id] = bytes
}

// asked is one of them.
type asked struct {
	ctx    context.Context // ends when the description is here
	cancel context.CancelFunc
	first  chan struct{} // held while one member sends the description; after a while others may send it, too
	users  int
}

// join notes that one more member is being asked for a description. The caller calls leave.
func (r *descriptions) join(ctx context.Context, id tasks.JobID) (q *asked, leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q = r.of[id]
	if q == nil || q.ctx.Err() != nil {
		q = &asked{first: make(chan struct{}, 1)}
		q.ctx, q.cancel = context.WithCancel(ctx)
		r.of[id] = q
	}
	q.users++
	return q, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if q.users--; q.users > 0 {
			return
		}
		if q.cancel(); r.of[id] == q {
			delete(r.of, id)
		}
	}
}

// turn waits until no other member is sending the description, or the one that is has taken too long.
func (q *asked) turn(most time.Duration) (done func()) {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case q.first <- struct{}{}:
		return func() { <-q.first }
	case <-late.C:
	case <-q.ctx.Done():
	}
	return func() {}
}

// weightOf estimates how much memory a description will take, from its encoded body b and before it is decoded: the
// bytes of the body, which are mostly names, and what files, clusters and other parts take besides.
func weightOf(b []byte) int64 {
	const part, number = 160, 16 // bytes of a file or another struct, and of a number, with what allocations round up to
	structs, others := wire.Lists(b)
	return int64(len(b)) + part*int64(structs) + number*int64(others)
}

// maxHeavy bounds the descriptions that are remembered as too large.
const maxHeavy = 1024

// room reserves memory for the description of a job, within the bound of its signer. It returns an error if there is no
// room.
func (r *descriptions) room(id tasks.JobID, b store.Signature, bytes int64) (err error) {
	bytes = r.weighs(id, bytes)
	r.loop.Ask(func(p *engine.Peer) { err = p.Room(id, b.Signer, bytes) })
	if !errors.Is(err, engine.ErrHeavy) {
		return err
	}
	r.noRoom(id, bytes)
	return fmt.Errorf("could not take part in job %s of %s: its description finds %w", id.Short(),
		r.cluster.NameOf(b.Signer), err)
}

// NoteHeavy adds a note to a job if its description, or those of all running jobs of this node's user together, take
// more memory than other nodes have for them.
func (r *descriptions) NoteHeavy(j *Job, weight int64) {
	others, n := int64(0), 0
	for _, o := range r.book.AllTold() {
		o.mu.Lock()
		if o != j && o.s.SubmittedHere && !o.s.Status.State.Final() {
			others, n = others+o.s.Weight, n+1
		}
		o.mu.Unlock()
	}
	j.mu.Lock()
	j.s.Weight = weight
	j.mu.Unlock()
	most := int64(engine.MaxDescribed)
	switch {
	case weight > most:
		j.note(fmt.Sprintf("the list of its files takes %d MB of memory, and other nodes have %d MB for one member's: "+
			"only this one works for the job; split it, or merge files, so that others do", weight>>20, most>>20))
	case weight+others > most:
		j.note(fmt.Sprintf("the lists of files of %d running jobs submitted here take %d MB of memory, and other nodes "+
			"have %d MB "+
			"for them: they take part in this job when others have ended", n+1, (weight+others)>>20, most>>20))
	}
}

// AskDescription asks a member that claims to lead a job for the job's description, and hands it to the engine.
func (r *descriptions) AskDescription(e engine.Describe) {
	if e.Submitter != r.net.ID() && !r.takesPartIn(e.Submitter) { // this node will do nothing for the job
		r.loop.Post(engine.NotDescribed{ID: e.ID, From: e.From})
		return
	}
	desc, err := r.Description(r.ctx, e.ID, e.From)
	if err == nil {
		r.loop.Post(engine.Described{ID: e.ID, From: e.From, Job: desc})
		return
	}
	if !errors.Is(err, errDescribed) {
		r.log.Warn("could not get the description of a job; others that lead it are asked too", "job", e.ID.Short(),
			"from", r.cluster.NameOf(e.From), "reason", err)
	}
	r.loop.Post(engine.NotDescribed{
		ID:     e.ID,
		From:   e.From,
		Silent: errors.Is(err, ErrSilent) || errors.Is(err, p2p.ErrSlow),
	})
}

// errDescribed is the error of a fetch that was ended because another member has sent the description first.
var errDescribed = errors.New("another member has handed it out")

// Description fetches the description of a job from a member that claims to lead it. The error is errDescribed if
// another member was faster.
func (r *descriptions) Description(ctx context.Context, id tasks.JobID, from tasks.PeerID) (*tasks.Job, error) {
	q, leave := r.join(ctx, id)
	defer leave()
	desc, err := r.fetchJob(q, id, from)
	switch {
	case err == nil:
		q.cancel()
	case q.ctx.Err() != nil:
		err = errors.Join(errDescribed, err)
	}
	return desc, err
}

// Asking is how many descriptions are being asked for.
func (r *descriptions) Asking() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.of)
}

// fetchJob reads a description from this node's copy of the ledger, or fetches it from a member. It checks the
// signature first, and fetches nothing that no member with the right to submit has signed. It decodes only a complete
// description.
func (r *descriptions) fetchJob(q *asked, id tasks.JobID, from tasks.PeerID) (*tasks.Job, error) {
	if c := r.ledgers.Of(id); c != nil {
		if err := r.MaySubmit(id, c.Signature); err != nil {
			return nil, err
		}
		return c.Job, nil
	}
	b, err := r.askSignature(q.ctx, id, from)
	if err != nil {
		return nil, err
	}
	if err := r.room(id, b, b.Size); err != nil {
		return nil, err
	}
	defer q.turn(r.cfg.SignatureWait / 4)()
	done, err := r.fetches.Take(q.ctx, from)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(q.ctx, fetchBase+time.Duration(b.Size>>20)*fetchPerMB, ErrSilent)
	defer cancel()
	var body bytes.Buffer // in memory, since a host with a full disk must also get this far, to report that to the home
	if _, err := r.net.Fetch(ctx, from, string(id), b.Size, &body); err != nil {
		return nil, fmt.Errorf("could not fetch job %s: %w", id.Short(), err)
	}
	if err := r.room(id, b, weightOf(body.Bytes())); err != nil {
		return nil, err
	}
	desc, err := r.CheckJob(id, body.Bytes(), b)
	if err == nil {
		err = r.mayBeNamed(id, desc)
	}
	return desc, err
}
