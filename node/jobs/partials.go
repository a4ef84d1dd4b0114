package jobs

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What is committed of a job that runs, waits or cannot be finished is handed out as a bundle of files. If this node
// has the job's runtime they have the format of the job's output, and are merged into one if that is possible.
// Otherwise they are the blobs as they are kept.

// collector collects what is committed of jobs, for this node's user and for members.
type collector struct {
	*base
	*programs
	*copies
	*teller

	handouts handouts // of committed partials, to members
	lookings lookings // what is watched of jobs here
	feeds    feeds    // those of jobs that are led here
}

func newCollector(b *base, p *programs, c *copies, t *teller) *collector {
	return &collector{base: b, programs: p, copies: c, teller: t, handouts: handouts{of: map[tasks.PeerID]*handout{}},
		lookings: lookings{of: map[string]*looking{}}, feeds: feeds{of: map[string]*feed{}}}
}

// manifestName is the last file of a bundle.
const manifestName = "manifest.json"

// bundle is a job's committed partials on their way to the user, in a folder of their own.
type bundle struct {
	dir   string
	view  engine.LedgerView
	parts []string // hard links to the kept blobs, which may be freed meanwhile
	api.Manifest
}

// Partials makes a bundle of a job: here if this node has a copy of the job's ledger, else on a member that has one.
func (r *collector) Partials(ctx context.Context, name string) (*bundle, error) {
	_, _, st, err := r.granted(ctx, name, members.ForLook)
	if err != nil {
		return nil, err
	}
	if st.State.Final() {
		return nil, EndedAlready(st)
	}
	j := r.copyNamed(st.ID)
	if j == nil {
		return r.remotePartials(ctx, st)
	}
	return r.bundle(ctx, j, st)
}

// copyNamed is the job with a name, if this node has a copy of its ledger; otherwise nil.
func (r *collector) copyNamed(name string) *Job {
	for _, j := range r.book.Find(name) {
		if r.ledgers.Of(j.ID()) != nil {
			return j
		}
	}
	return nil
}

// bundle collects what this node's copy of a ledger has committed.
func (r *collector) bundle(ctx context.Context, j *Job, st api.JobStatus) (*bundle, error) {
	c := r.ledgers.Of(j.ID())
	if c == nil {
		return nil, ErrOver
	}
	desc := r.book.Whole(c.ID, c.Job)
	b := &bundle{Manifest: api.Manifest{
		ID: st.ID, Title: st.Title, State: st.State, Node: r.net.Name(), Units: desc.Want.Len(),
	}}
	ok := false
	r.loop.Ask(func(p *engine.Peer) { b.view, ok = p.Ledger(c.ID) })
	if !ok {
		return nil, ErrOver
	}
	var err error
	if b.dir, err = os.MkdirTemp(c.Dir, "handout-"); err != nil {
		return nil, fmt.Errorf("could not collect what is committed: %w", err)
	}
	if err = r.link(b, c); err == nil {
		b.Missing = append(badFiles(desc, r.cluster.Names()), missing(desc, b.view.Lost, r.cluster.Names())...)
		r.convert(ctx, b, j, desc)
		err = b.weigh()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	return b, nil
}

// link makes hard links to the committed blobs, so that they stay until the bundle is sent, and fetches those that only
// other nodes keep.
func (r *collector) link(b *bundle, c *store.Copy) error {
	desc := r.book.Whole(c.ID, c.Job)
	for i, p := range b.view.Parts {
		path, err := r.ledgers.Keep(p, b.view.Replicas)
		if err != nil {
			return err
		}
		to := filepath.Join(b.dir, fmt.Sprintf("part-%04d.blob", i+1))
		if err := os.Link(path, to); err != nil {
			return fmt.Errorf("could not collect what is committed: %w", err)
		}
		b.parts = append(b.parts, to)
		b.Committed += p.Units
		b.Parts = append(b.Parts, api.Part{Name: filepath.Base(to), Units: p.Units, Entries: entriesOf(desc, p.Cover)})
	}
	b.Format = api.FormatBlob
	return nil
}

// entriesOf converts a cover of units to ranges of entries in files.
func entriesOf(desc *tasks.Job, cover tasks.Cover) (out []api.EntryRanges) {
	for _, r := range cover {
		for !r.Empty() {
			i, first := desc.Data.Locate(r.First)
			units := desc.Data.Units(i)
			last := min(r.Last, units.Last)
			if n := len(out); n == 0 || out[n-1].File != desc.Data.Files[i].URL {
				out = append(out, api.EntryRanges{File: desc.Data.Files[i].URL})
			}
			e := &out[len(out)-1]
			e.Ranges = append(e.Ranges, [2]int64{first, last - units.First})
			r.First = last
		}
	}
	return out
}

// convert makes files of the output's format from the blobs: a merged one or, if merging fails, one for each blob.
func (r *collector) convert(ctx context.Context, b *bundle, j *Job, desc *tasks.Job) {
	if len(b.parts) == 0 {
		b.Note = "nothing is committed yet"
		return
	}
	save := func(blobs []string, path string) error {
		return r.use(ctx, j, func(p exec.Program, _ *tasks.Job) error {
			_, err := p.Save(ctx, blobs, path)
			return err
		})
	}
	if _, _, err := r.programOf(ctx, j, nil); err != nil {
		b.Note = "these are files as dtpnode keeps them, since this node cannot run the job's code: " + err.Error()
		return
	}
	suffix := r.runtimes.Suffix(desc.Work.Kind)
	merged := filepath.Join(b.dir, "merged"+suffix)
	err := save(b.parts, merged)
	if err == nil {
		var cover tasks.Cover
		for _, p := range b.view.Parts {
			cover = cover.Union(p.Cover)
		}
		part := api.Part{Name: filepath.Base(merged), Units: b.Committed, Entries: entriesOf(desc, cover)}
		var parts []api.Part
		if parts, err = takeApart(b.dir, part); err == nil {
			b.Parts, b.Format, b.Merged = parts, api.FormatOutput, true
			return
		}
	}
	why := err.Error()
	var parts []api.Part
	for i, blob := range b.parts {
		path := filepath.Join(b.dir, fmt.Sprintf("part-%04d%s", i+1, suffix))
		if err := save([]string{blob}, path); err != nil {
			b.Note = "these are files as dtpnode keeps them, since others could not be made here: " + err.Error()
			for k := range b.Parts {
				b.Parts[k].Name = filepath.Base(b.parts[k])
			}
			return
		}
		part := b.Parts[i]
		part.Name = filepath.Base(path)
		more, err := takeApart(b.dir, part)
		if err != nil {
			b.Note = "a part is left out: " + err.Error()
			continue
		}
		parts = append(parts, more...)
	}
	b.Parts = parts
	b.Format, b.Note = api.FormatOutput, "they are not merged, since that failed: "+why
}

// weigh fills in sizes and hashes.
func (b *bundle) weigh() error {
	for i := range b.Parts {
		p := &b.Parts[i]
		path := filepath.Join(b.dir, p.Name)
		sum, err := store.HashFile(path)
		if err != nil {
			return fmt.Errorf("could not read what is committed: %w", err)
		}
		p.SHA256, p.Bytes = sum, store.SizeOf(path)
	}
	return nil
}

// Send writes a bundle as a tar, the manifest last.
func (b *bundle) Send(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, p := range b.Parts {
		if err := sendFile(t, p, filepath.Join(b.dir, p.Name)); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(b.Manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{
		Name:    manifestName,
		Mode:    0o644,
		Size:    int64(len(text)),
		ModTime: time.Now(),
	}); err != nil {
		return err
	}
	if _, err := t.Write(text); err != nil {
		return err
	}
	return t.Close()
}

// Close removes the bundle.
func (b *bundle) Close() error { return os.RemoveAll(b.dir) }

func sendFile(t *tar.Writer, p api.Part, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.WriteHeader(&tar.Header{Name: p.Name, Mode: 0o644, Size: p.Bytes, ModTime: time.Now()}); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, p.Bytes)
	return err
}

// handoutKept is how long a bundle that was made for another member is kept for it to fetch.
const handoutKept = 10 * time.Minute

// maxHandouts bounds the bundles that are made or kept for other members, of which each has one at a time.
const maxHandouts = 8

// handout is a bundle for another member, which repeats its request until the bundle is made.
type handout struct {
	key  string
	ctx  context.Context // ends when the bundle is to be removed
	drop context.CancelFunc
	done chan struct{} // closed when b or err is set
	b    *bundle
	err  error
}

// handedOut is the answer to the request "partials". It has no manifest before the bundle is made.
type handedOut struct {
	Manifest *api.Manifest `json:"manifest,omitempty"`
}

// The argument of the request "partials" is a job's name, followed by a random mark by which a repetition is known.
const nameLen, markLen = 32, 8

// HandoutOwner finds the job of a request "partials", and its submitter.
func (r *collector) HandoutOwner(key string) (*Job, tasks.PeerID, error) {
	return r.KeptOwner(key[:min(nameLen, len(key))])
}

// SharePartials answers the request "partials": it has a bundle made for another member, and served once it is. A
// request with another mark replaces the member's earlier one.
func (r *collector) SharePartials(from tasks.PeerID, key string) ([]byte, error) {
	if len(key) != nameLen+markLen {
		return nil, errors.New("no name of a job and mark of a request")
	}
	h, err := r.handoutFor(from, key)
	if err != nil {
		return nil, err
	}
	select {
	case <-h.done:
	default:
		return json.Marshal(handedOut{})
	}
	if h.err != nil {
		return nil, h.err
	}
	return json.Marshal(handedOut{Manifest: &h.b.Manifest})
}

// handouts are all handouts that are being made or kept, by the members that asked for them.
type handouts struct {
	mu sync.Mutex
	of map[tasks.PeerID]*handout
}

// forget removes a handout, unless its member has asked for another one since.
func (h *handouts) forget(from tasks.PeerID, gone *handout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[from] == gone {
		delete(h.of, from)
	}
}

// handoutFor returns the handout that a member has asked for, and begins to make it if the request is new.
func (r *collector) handoutFor(from tasks.PeerID, key string) (*handout, error) {
	all := &r.handouts
	all.mu.Lock()
	defer all.mu.Unlock()
	old := all.of[from]
	switch {
	case old != nil && old.key == key:
		return old, nil
	case old != nil:
		old.drop()
	case len(all.of) >= maxHandouts:
		return nil, &api.Error{
			Status:  http.StatusServiceUnavailable,
			Message: "this node hands partials out to others already",
			Hint:    "try again in a few minutes, or on another member",
		}
	}
	h := &handout{key: key, done: make(chan struct{})}
	h.ctx, h.drop = context.WithCancel(r.ctx)
	all.of[from] = h
	r.spawn(func() { r.makeHandout(from, h) })
	return h, nil
}

func (r *collector) makeHandout(from tasks.PeerID, h *handout) {
	defer h.drop()
	j := r.copyNamed(h.key[:nameLen])
	if j == nil {
		h.err = &api.Error{Status: 404, Message: "no copy of the job's ledger here"}
	} else if st := r.StatusOf(j); st.State.Final() {
		h.err = ErrOver
	} else {
		st.ID = j.Name
		h.b, h.err = r.bundle(h.ctx, j, st)
	}
	if h.err == nil {
		for _, p := range h.b.Parts {
			r.blobs.Add(p.SHA256, filepath.Join(h.b.dir, p.Name))
		}
	}
	close(h.done)
	select {
	case <-time.After(handoutKept):
	case <-h.ctx.Done():
	}
	r.handouts.forget(from, h)
	if h.b != nil {
		r.blobs.ForgetFolder(h.b.dir)
		_ = os.RemoveAll(h.b.dir)
	}
}

// remotePartials has a bundle made by the job's home, and brings it here.
func (r *collector) remotePartials(ctx context.Context, st api.JobStatus) (*bundle, error) {
	mark := make([]byte, 4)
	if _, err := rand.Read(mark); err != nil {
		return nil, err
	}
	var answer handedOut
	for answer.Manifest == nil {
		text, err := r.cluster.Ask(ctx, st.Home, "partials", st.ID+hex.EncodeToString(mark))
		if err == nil {
			err = wire.ReadJSON(text, members.MostNumbers, &answer)
		}
		if err != nil {
			return nil, fmt.Errorf("could not have %s hand out what is committed: %w", st.HomeName, err)
		}
		if answer.Manifest == nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	dir, err := os.MkdirTemp(r.cfg.ScratchDir, "handout-")
	if err != nil {
		return nil, fmt.Errorf("could not fetch what is committed: %w", err)
	}
	b := &bundle{dir: dir, Manifest: *answer.Manifest}
	for _, p := range b.Parts {
		if err = r.fetchPart(ctx, st.Home, p, dir); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return b, nil
}

func (r *collector) fetchPart(ctx context.Context, from tasks.PeerID, p api.Part, dir string) error {
	if !filepath.IsLocal(p.Name) || filepath.Base(p.Name) != p.Name || p.Name == manifestName {
		return fmt.Errorf("could not fetch what is committed: %q is no name of a file", p.Name)
	}
	err := durable.Place(filepath.Join(dir, p.Name), func(f *os.File) error {
		_, err := r.net.Fetch(ctx, from, p.SHA256, min(p.Bytes, merge.MaxSize), f)
		return err
	})
	if err != nil {
		return fmt.Errorf("could not fetch what is committed: %w", err)
	}
	return nil
}
