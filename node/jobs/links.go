package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// Items may name units whose results they take (tasks.File, Depends). Whoever leads the job reads that out of the blobs
// of items, which are on its disk as on those of all that have a copy of the ledger. What cannot be read just now is
// asked for again.

// ReadLinks tells the engine what the units of an append depend on.
func (r *copies) ReadLinks(e engine.ReadLinks) {
	links, err := r.linksOf(e)
	if err != nil {
		r.log.Debug("could not read what items depend on; it is tried again", "job", e.ID.Short(), "reason", err)
		return
	}
	r.loop.Post(engine.Links{ID: e.ID, Links: links})
}

// linksOf reads what the units of an append depend on. A blob that does not tell is no error, but a flaw of the append.
func (r *copies) linksOf(e engine.ReadLinks) (links ledger.Links, err error) {
	links = ledger.Links{Seq: e.Append.Seq, First: []uint32{0}}
	for _, f := range e.Append.Files {
		first, on := make([]uint32, f.Entries+1), []int64(nil)
		if f.Depends {
			items, err := r.openItems(e.ID, f)
			if err != nil {
				return links, err
			}
			if first, on, err = items.Links(); err == nil && items.Len() != f.Entries {
				err = fmt.Errorf("%w: it has %d items, and is appended as %d", exec.ErrItems, items.Len(), f.Entries)
			}
			_ = items.Close() // it was only read
			if err != nil {
				links.Flaw = err.Error()
				return links, nil
			}
		}
		base := uint32(len(links.On))
		for _, end := range first[1:] {
			links.First = append(links.First, base+end)
		}
		links.On = append(links.On, on...)
	}
	return links, nil
}

// openItems opens a blob of items of a job whose ledger has a copy here.
func (r *copies) openItems(id tasks.JobID, f tasks.File) (*exec.Items, error) {
	if len(f.Data) > 0 {
		return exec.ReadItems(f.Data)
	}
	c := r.ledgers.Of(id)
	if c == nil {
		return nil, NoJob(id.Short())
	}
	ctx, cancel := context.WithTimeout(r.ctx, itemsWait)
	defer cancel()
	if kept, err := r.keepItemsHere(ctx, c, c.Job.Submitter, itemBlob{f.Items, f.Bytes}); !kept {
		return nil, fmt.Errorf("the items are not here yet: %w", errors.Join(err, ctx.Err()))
	}
	return exec.OpenItems(c.ShipPath(f.Items))
}
