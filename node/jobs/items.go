package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Items that are appended to an open job are blobs (exec/items.go), of which the ledger has no more than the hash. They
// are as durable as the append itself: the job's submitter gives an append to the engine only when a majority of the
// ledger's replicas has its items on disk, beside the copy of the ledger. Who becomes a replica brings the items that
// there are before it says that it is one, and each replica brings those that it still lacks when it hears of an
// append. Workers fetch them by their hash, from the home, the replicas, or whoever has them.

// itemsAsk is the request "items".
type itemsAsk struct {
	Job    tasks.JobID `json:"job"`
	SHA256 string      `json:"sha256,omitempty"` // of a blob of items that is to be kept; empty: which are there?
	Size   int64       `json:"size,omitempty"`
	Spread bool        `json:"spread,omitempty"` // the job's home is asked, and has the other replicas keep it too
}

// itemsTold is its answer.
type itemsTold struct {
	Kept  bool       `json:"kept,omitempty"`  // it is on disk here; of Spread, with a majority of the replicas
	Blobs []itemBlob `json:"blobs,omitempty"` // all of the job, as far as its ledger here says
}

// itemBlob names a blob of items.
type itemBlob struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// itemsOf are the blobs of items among files but for those that the files have with them.
func itemsOf(files []tasks.File) (blobs []itemBlob) {
	for _, f := range files {
		if f.Items != "" && len(f.Data) == 0 {
			blobs = append(blobs, itemBlob{f.Items, f.Bytes})
		}
	}
	return blobs
}

// packItems makes a blob of items that are to be appended, and has it here for others. depends says that the items name
// units whose results they take: what does not say which would end the job once it is in it.
func (r *programs) packItems(j *Job, items [][]byte, depends bool) (f tasks.File, err error) {
	blob, err := exec.PackItems(items)
	if err == nil && depends {
		var packed *exec.Items
		if packed, err = exec.ReadItems(blob); err == nil {
			_, _, err = packed.Links()
		}
	}
	if err != nil {
		return f, appendFailed(http.StatusBadRequest, err.Error())
	}
	f = tasks.File{Entries: int64(len(items)), Bytes: int64(len(blob)), Depends: depends}
	if len(blob) <= tasks.MaxItemsData {
		f.Items, f.Data = store.HashOf(blob), blob
		return f, nil
	}
	f.Items, err = r.ship(j, blob)
	return f, err
}

// spreadItems returns when a majority of the replicas of a job's ledger has the items among files on disk.
func (r *copies) spreadItems(ctx context.Context, j *Job, id tasks.JobID, files []tasks.File) error {
	began := time.Now()
	for _, b := range itemsOf(files) {
		for {
			kept, err := r.askToSpread(ctx, j, itemsAsk{Job: id, SHA256: b.SHA256, Size: b.Size, Spread: true})
			switch {
			case kept, j.Final(): // of a job that has ended an append can only be repeated
			case ctx.Err() != nil:
				return ctx.Err()
			case time.Since(began) > appendWait:
				return &api.Error{
					Status: http.StatusServiceUnavailable,
					Message: fmt.Sprintf("could not append: too few of the nodes that keep the job's ledger have taken the "+
						"items: %v", err),
					Hint: "nothing was appended; append again with the same number",
				}
			default:
				select {
				case <-ctx.Done():
				case <-time.After(appendAgain):
				}
				continue
			}
			break
		}
	}
	return nil
}

// askToSpread asks the job's home, this node or another, whether items are kept.
func (r *copies) askToSpread(ctx context.Context, j *Job, ask itemsAsk) (kept bool, err error) {
	home := j.homeNow()
	if home == r.net.ID() {
		return r.keepItems(ctx, ask)
	}
	told, err := r.askItems(ctx, home, ask)
	return told.Kept, err
}

func (r *copies) askItems(ctx context.Context, of tasks.PeerID, ask itemsAsk) (told itemsTold, err error) {
	text, err := json.Marshal(ask)
	if err != nil {
		return told, err
	}
	answer, err := r.cluster.Ask(ctx, of, "items", string(text))
	if err == nil {
		err = wire.ReadJSON(answer, members.MostNumbers, &told)
	}
	return told, err
}

// ServeItems answers the request "items". Items are kept for who submitted the job, and for its home.
func (r *copies) ServeItems(ctx context.Context, from tasks.PeerID, arg string) ([]byte, error) {
	var ask itemsAsk
	if err := wire.ReadJSON([]byte(arg), members.MostListed, &ask); err != nil {
		return nil, err
	}
	c := r.ledgers.Of(ask.Job)
	if c == nil {
		return nil, NoJob(ask.Job.Short())
	}
	if ask.SHA256 == "" {
		if !r.net.HasRight(from, p2p.Submitter) && !r.net.HasRight(from, p2p.Worker) {
			return nil, r.cluster.Refusal(c.Name(), c.Job.Submitter, members.ForLook)
		}
		return json.Marshal(itemsTold{Blobs: r.itemsIn(c)})
	}
	if v := r.ledgerView(ask.Job); from != c.Job.Submitter && from != v.Home {
		return nil, r.cluster.Refusal(c.Name(), c.Job.Submitter, members.ForRule)
	}
	kept, err := r.keepItems(ctx, ask)
	if err != nil {
		return nil, err
	}
	return json.Marshal(itemsTold{Kept: kept})
}

// ledgerView is how this node's copy of a ledger stands, zero if it has none.
func (r *copies) ledgerView(id tasks.JobID) (v engine.LedgerView) {
	r.loop.Ask(func(p *engine.Peer) { v, _ = p.Ledger(id) })
	return v
}

// itemsIn are all blobs of items of a job, as this node's copy of its ledger says.
func (r *copies) itemsIn(c *store.Copy) []itemBlob {
	var g engine.GrowthView
	r.loop.Ask(func(p *engine.Peer) { g, _ = p.Growth(c.ID) })
	blobs := itemsOf(c.Job.Data.Files)
	for _, a := range g.Grown {
		blobs = append(blobs, itemsOf(a.Files)...)
	}
	return blobs
}

// keepItems has items on disk with this node's copy of the ledger and, if it is to spread them, with a majority of all;
// false if that takes longer than a request may, and goes on.
func (r *copies) keepItems(ctx context.Context, ask itemsAsk) (bool, error) {
	c := r.ledgers.Of(ask.Job)
	if c == nil {
		return false, NoJob(ask.Job.Short())
	}
	v := r.ledgerView(ask.Job)
	const atOnce = 2 * time.Second // less than a request may take
	ctx, cancel := context.WithTimeout(ctx, atOnce)
	defer cancel()
	if kept, err := r.keepItemsHere(ctx, c, c.Job.Submitter, itemBlob{ask.SHA256, ask.Size}); !kept || !ask.Spread {
		return kept, err
	}
	if v.Home != r.net.ID() || v.Changing || !v.Complete {
		return false, errors.New("the nodes that keep the job's ledger are just being chosen")
	}
	type answer struct {
		kept bool
		err  error
	}
	answers, keepers := make(chan answer, len(v.Replicas)), 0
	asked := itemsAsk{Job: ask.Job, SHA256: ask.SHA256, Size: ask.Size}
	for _, id := range v.Replicas {
		r.spawn(func() {
			if id == r.net.ID() {
				answers <- answer{kept: true}
				return
			}
			told, err := r.askItems(ctx, id, asked)
			answers <- answer{told.Kept, err}
		})
	}
	var errs error
	for range v.Replicas {
		a := <-answers
		if a.kept {
			keepers++
		}
		errs = errors.Join(errs, a.err)
		if keepers > len(v.Replicas)/2 {
			return true, nil
		}
	}
	return false, errs
}

// keepItemsHere has items on disk with a copy of a ledger; false if that takes longer than ctx, and goes on.
func (r *copies) keepItemsHere(ctx context.Context, c *store.Copy, from tasks.PeerID, b itemBlob) (bool, error) {
	if !tasks.JobID(b.SHA256).Valid() || b.Size <= 0 || b.Size > tasks.MaxItems {
		return false, fmt.Errorf("no items have the hash %q and %d bytes", b.SHA256, b.Size)
	}
	path := c.ShipPath(b.SHA256)
	if r.blobs.Has(b.SHA256, path) {
		return true, nil
	}
	if !c.RoomForItems(b.SHA256, b.Size) {
		return false, fmt.Errorf("the items of job %s take more than %d bytes", api.Short(c.Name()), int64(tasks.MaxAllItems))
	}
	done := r.itemsComing.DoChan(path, func() (any, error) {
		defer c.Hold()()
		_, err := r.bring(b.SHA256, c.ID, from, b.Size, path)
		return nil, err
	})
	select {
	case got := <-done:
		return got.Err == nil, got.Err
	case <-ctx.Done():
		return false, nil
	}
}

// bringItems brings the items here that a job has so far, for a new copy of its ledger: from tells which there are.
func (r *copies) bringItems(c *store.Copy, from tasks.PeerID) error {
	blobs := itemsOf(c.Job.Data.Files)
	if c.Job.Open && from != "" {
		told, err := r.askItems(r.ctx, from, itemsAsk{Job: c.ID})
		if err != nil {
			return fmt.Errorf("could not ask for the items of job %s: %w", c.ID.Short(), err)
		}
		blobs = append(blobs, told.Blobs...)
	}
	for _, b := range blobs {
		if kept, err := r.keepItemsHere(r.ctx, c, from, b); !kept {
			return fmt.Errorf("could not bring the items of job %s: %w", c.ID.Short(), errors.Join(err, r.ctx.Err()))
		}
	}
	return nil
}

// itemsGrown brings the items that this node's copy of a ledger lacks, as it was not asked before they were appended;
// called by the loop alone.
func (r *copies) itemsGrown(e engine.Grown) {
	c := r.ledgers.Of(e.ID)
	if c == nil {
		return
	}
	var lacking []itemBlob
	for _, a := range e.Appends {
		for _, b := range itemsOf(a.Files) {
			if !r.blobs.Has(b.SHA256, c.ShipPath(b.SHA256)) {
				lacking = append(lacking, b)
			}
		}
	}
	if len(lacking) == 0 {
		return
	}
	if r.itemsLacking.add(c, lacking) {
		r.spawn(func() { r.bringLacking(c) })
	}
}

// lackingItems are the blobs of items that copies of ledgers lack. One goroutine for each copy brings them: a submitter
// may append as many blobs as fit into a job, of which nobody has any.
type lackingItems struct {
	mu sync.Mutex
	of map[*store.Copy][]itemBlob // an entry exactly while a goroutine brings them
}

// add notes blobs that a copy lacks. It reports whether the caller is to have them brought: nobody does so yet.
func (l *lackingItems) add(c *store.Copy, blobs []itemBlob) (begin bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[*store.Copy][]itemBlob{}
	}
	known, brought := l.of[c]
	l.of[c] = append(known, blobs...)
	return !brought
}

// take returns what a copy lacks, to be brought, and notes none of it any more.
func (l *lackingItems) take(c *store.Copy) []itemBlob {
	l.mu.Lock()
	defer l.mu.Unlock()
	blobs := l.of[c]
	l.of[c] = nil
	return blobs
}

// done notes that the goroutine of a copy ends, unless something is lacking; whatever is lacking is forgotten if the
// copy is given up.
func (l *lackingItems) done(c *store.Copy, givenUp bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.of[c]) > 0 && !givenUp {
		return false
	}
	delete(l.of, c)
	return true
}

// bringLacking brings the blobs of items that a copy of a ledger lacks, for as long as the copy counts. Those that
// cannot be had are tried again after the others.
func (r *copies) bringLacking(c *store.Copy) {
	const pause = 5 * time.Second // between two attempts
	for warned := false; ; {
		var failed []itemBlob
		for _, b := range r.itemsLacking.take(c) {
			if r.ctx.Err() != nil || r.ledgers.Of(c.ID) != c {
				break
			}
			kept, err := r.keepItemsHere(r.ctx, c, c.Job.Submitter, b)
			if kept {
				continue
			}
			if failed = append(failed, b); !warned {
				r.log.Warn("could not bring items of a job here; it is tried again", "job", c.ID.Short(), "reason", err)
				warned = true
			}
		}
		if len(failed) > 0 {
			r.itemsLacking.add(c, failed)
			select {
			case <-r.ctx.Done():
			case <-time.After(pause):
			}
		}
		if r.itemsLacking.done(c, r.ctx.Err() != nil || r.ledgers.Of(c.ID) != c) {
			return
		}
	}
}

// itemsWait is how long items are asked for that a generation is to run, before it is told that this node cannot get
// them.
const itemsWait = 30 * time.Second

// itemsPath has a blob of items here for generations that its file does not have with it, and returns its path. The
// file stays until the job is released. The same bytes may lie elsewhere, too, where they go without this job: the copy
// of the ledger of another job that has the same items is removed with it, and that of this job when others keep it.
func (r *programs) itemsPath(ctx context.Context, j *Job, f tasks.File) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, itemsWait)
	defer cancel()
	path := r.blobs.ShipPath(f.Items)
	if j.isHolding(f.Items) && r.blobs.Has(f.Items, path) && store.SizeOf(path) == f.Bytes {
		return path, nil
	}
	ship := tasks.Ship{Name: "items", SHA256: f.Items, Size: f.Bytes, Keep: true}
	for {
		_, err := r.shipped(ctx, j, j.ID(), j.homeNow(), ship)
		switch {
		case err == nil && j.isHolding(f.Items):
			return path, nil
		case err == nil:
			return "", ErrOver
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(appendAgain):
		}
	}
}

// takeItems has the items of a job that is retried here for others, for as long as the retry lasts.
func (r *programs) takeItems(ctx context.Context, j *Job, old *foundParts) error {
	for _, b := range itemsOf(old.desc.Data.Files) {
		data, err := r.fetchWhole(ctx, old.at, b.SHA256, b.Size)
		if err == nil {
			_, err = r.ship(j, data)
		}
		if err != nil {
			return fmt.Errorf("could not get the items of job %s: %w", api.Short(store.NameOf(old.desc)), err)
		}
	}
	return nil
}
