package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A job's home makes what is watched of it: the named objects of what is committed, which are merged once and kept, and
// the shares of the nodes that work for it. A snapshot is made when somebody asks, and not while nobody does.

const (
	maxShares = 64              // nodes that are asked for a share in one round
	shareWait = 2 * time.Second // how long they may take
)

// feed is what a home makes of one set of names of one job.
type feed struct {
	*looking
	job  *Job
	base struct { // the named objects of what is committed
		cover tasks.Cover
		path  string
		left  []string
	}
	have map[string]string // paths of pieces of other nodes, by their hashes
	// barred are nodes whose pieces crash what merges them, or cannot be read: they are left out from then on.
	barred map[tasks.PeerID]bool
	shown  []string // files of the last snapshots, the newest last

	mu   sync.Mutex // guards what follows
	last api.Snapshot
	path string        // of the file of last
	news chan struct{} // closed when there is another one
	err  error         // why there is none
	due  time.Time     // when the next one is begun; zero while one is made
	took time.Duration // of the merges for the last one
}

// feeds are those of a node, by their keys.
type feeds struct {
	mu sync.Mutex
	of map[string]*feed
}

// feedOf finds or begins what makes snapshots of a job that is led here.
func (r *collector) feedOf(j *Job, names []string) (*feed, error) {
	ask := shareAsk{Job: j.Name, Names: slices.Sorted(slices.Values(names))}
	key := "feed\x00" + ask.key()
	r.feeds.mu.Lock()
	defer r.feeds.mu.Unlock()
	w, fresh, err := r.lookings.get(key, ask)
	if err != nil || !fresh {
		return r.feeds.of[key], err
	}
	f := &feed{looking: w, job: j, have: map[string]string{}, barred: map[tasks.PeerID]bool{}, news: make(chan struct{})}
	r.feeds.of[key] = f
	r.spawn(func() { r.feed(key, f) })
	return f, nil
}

// feedNow is what makes snapshots of a job here; nil if there is none.
func (r *collector) feedNow(j *Job, names []string) *feed {
	ask := shareAsk{Job: j.Name, Names: slices.Sorted(slices.Values(names))}
	r.feeds.mu.Lock()
	defer r.feeds.mu.Unlock()
	return r.feeds.of["feed\x00"+ask.key()]
}

// waits says why there is no new snapshot yet, in words that stay the same while that does.
func (f *feed) waits() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.due.IsZero() {
		return "it is being made: processes are asked for what they have, and that is merged, which takes long where hosts " +
			"have much to do"
	}
	switch { // the last round made none, and so took no time that would say anything
	case errors.Is(f.err, ErrOver):
		return "nothing of the job is there yet that could be shown"
	case f.err != nil:
		return fmt.Sprintf("it could not be made, and is tried again: %v", f.err)
	}
	return fmt.Sprintf("the last one took %v to merge, so that the next is begun at %s: watching may take a hundredth of "+
		"the processors", f.took.Round(time.Millisecond), f.due.Format(time.TimeOnly))
}

// waiting notes when the next snapshot is begun, and how long the last one took; a zero time says that it is begun.
func (f *feed) waiting(until time.Time, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.due = until; !until.IsZero() {
		f.took = took
	}
}

// feed makes snapshots until nobody asks for them any more, or the job is over.
func (r *collector) feed(key string, f *feed) {
	over := false
	for {
		r.feeds.mu.Lock()
		gone := r.lookings.forget(key, over)
		if gone {
			delete(r.feeds.of, key)
		}
		r.feeds.mu.Unlock()
		if gone {
			r.close(f.looking)
			f.tell(api.Snapshot{}, "", ErrOver)
			return
		}
		wait := r.round(f)
		select {
		case <-time.After(wait):
		case <-f.job.Done:
			over = true
		case <-r.ctx.Done():
			over = true
		}
	}
}

// tell hands a snapshot, or why there is none, to those who wait.
func (f *feed) tell(s api.Snapshot, path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.last, f.path = s, path
	}
	f.err = err
	close(f.news)
	f.news = make(chan struct{})
}

// after waits for a snapshot that is newer than seq, no longer than ctx; fresh is false if there is none yet.
func (f *feed) after(ctx context.Context, seq int64) (s api.Snapshot, path string, fresh bool, err error) {
	for {
		f.mu.Lock()
		s, path, news := f.last, f.path, f.news
		err = f.err
		f.mu.Unlock()
		if s.Seq > seq {
			return s, path, true, nil
		}
		if err != nil {
			return s, path, false, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return s, path, false, nil
		}
	}
}

// round makes one snapshot, and returns when to make the next.
func (r *collector) round(f *feed) time.Duration {
	began := time.Now()
	f.looking.mu.Lock()
	defer f.looking.mu.Unlock()
	f.made++
	f.waiting(time.Time{}, 0)
	s, path, took, err := r.snapshotOf(f)
	if err != nil {
		r.log.Debug("could not make what is watched of a job", "job", api.Short(f.job.Name), "reason", err)
	}
	f.tell(s, path, err)
	if err == nil {
		r.keepShown(f, path)
	}
	wait := max(r.pause(took)-time.Since(began), 100*time.Millisecond)
	if err != nil && fromBlob(err) {
		wait = badWait
	}
	f.waiting(time.Now().Add(wait), took)
	return wait
}

// keepShown keeps the files of two snapshots, since somebody may be reading the last one when there is a new one.
func (r *collector) keepShown(f *feed, path string) {
	for f.shown = append(f.shown, path); len(f.shown) > 2; f.shown = f.shown[1:] {
		r.blobs.ForgetPath(f.shown[0])
		_ = os.Remove(f.shown[0])
	}
}

// snapshotOf makes a snapshot. took is how long its merges took, which is what it costs.
func (r *collector) snapshotOf(f *feed) (s api.Snapshot, path string, took time.Duration, err error) {
	if err := r.open(f.looking, f.job); err != nil {
		return s, "", 0, err
	}
	began := time.Now()
	if err := r.rebase(f); err != nil {
		return s, "", time.Since(began), err
	}
	took = time.Since(began)
	s = api.Snapshot{Seq: int64(f.made), At: time.Now(), Committed: f.base.cover.Len(), Left: slices.Clone(f.base.left)}
	cover, inputs := f.base.cover, nonEmptyPaths(f.base.path)
	_, desc := f.job.Prepared()
	shares := r.shares(f, &s)
	for _, told := range shares {
		s.Late += told.Late
		for _, p := range told.Pieces {
			if p.Cover.Intersects(cover) { // it was committed meanwhile
				continue
			}
			cover, inputs = cover.Union(p.Cover), append(inputs, f.have[p.SHA256])
			s.Left = append(s.Left, p.Left...)
		}
	}
	began = time.Now()
	path = filepath.Join(f.dir, fmt.Sprintf("shown-%d", f.made))
	shown, err := r.viewed(f.looking, path, inputs, exec.Viewer.Show)
	took += time.Since(began)
	if err == nil && shown.Units != cover.Len() {
		err = fmt.Errorf("what is watched counts %d units, and not %d: %w", shown.Units, cover.Len(), errMiscounted)
	}
	if err != nil && fromBlob(err) {
		r.bar(f, shares)
	}
	if err == nil {
		s.SHA256, err = store.HashFile(path)
	}
	if s.Bytes = store.SizeOf(path); err == nil && s.Bytes > api.MaxSnapshot {
		err = fmt.Errorf("the named objects take %d bytes, more than %d: name fewer", s.Bytes, api.MaxSnapshot)
	}
	if err != nil {
		_ = os.Remove(path)
		return s, "", took, err
	}
	s.Units, s.Of = cover.Len(), desc.Want.Len()
	s.Left = append(s.Left, shown.Left...)
	f.depict(&s, shown.Pictures)
	r.blobs.Add(s.SHA256, path)
	return s, path, took, nil
}

func nonEmptyPaths(path string) []string {
	if path == "" {
		return nil
	}
	return []string{path}
}

// depict puts pictures into a snapshot, and finds names that nothing has.
func (f *feed) depict(s *api.Snapshot, pictures []exec.Picture) {
	s.Objects, s.Absent = []api.Picture{}, []string{}
	for _, p := range pictures {
		s.Objects = append(s.Objects, api.Picture{
			Name: p.Name, Class: p.Class, Title: p.Title, Entries: p.Entries, Text: p.Text, Mean: p.Mean, RMS: p.RMS,
			Under: p.Under, Over: p.Over, X: api.Axis(p.X), Y: api.Axis(p.Y), Values: p.Values,
		})
	}
	clipPictures(s)
	s.Left = append([]string{}, distinct(s.Left)...)
	for _, name := range f.ask.Names {
		has := func(p api.Picture) bool { return p.Name == name }
		if !strings.ContainsAny(name, "*?[") && !slices.ContainsFunc(s.Objects, has) && !slices.Contains(s.Left, name) {
			s.Absent = append(s.Absent, name)
		}
	}
}

// distinct sorts names, and leaves each in it once.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// rebase merges into the base what was committed since the last round. If something of the base is no longer committed,
// or was folded with what is not in it, the base is made anew.
func (r *collector) rebase(f *feed) error {
	c := r.ledgers.Of(f.job.ID())
	var v engine.LedgerView
	ok := false
	r.loop.Ask(func(p *engine.Peer) { v, ok = p.Ledger(f.job.ID()) })
	if c == nil || !ok {
		return ErrOver
	}
	cover, inputs, left := f.base.cover, nonEmptyPaths(f.base.path), f.base.left
	var added tasks.Cover
	whole := v.Committed.Covers(cover)
	for _, p := range v.Parts {
		whole = whole && (cover.Covers(p.Cover) || !cover.Intersects(p.Cover))
	}
	if !whole {
		cover, inputs, left = nil, nil, nil
	}
	for _, p := range v.Parts {
		if cover.Covers(p.Cover) {
			continue
		}
		path, err := r.ledgers.Keep(p, v.Replicas)
		if err != nil {
			return err
		}
		inputs, added = append(inputs, path), added.Union(p.Cover)
	}
	if added.Empty() && whole {
		return nil
	}
	piece, err := r.pieceOf(f.looking, fmt.Sprintf("base-%d", f.made), inputs, sharePiece{Cover: cover.Union(added)})
	if err != nil {
		if fromBlob(err) {
			r.spawn(func() { r.searchAll(f.job) })
		}
		return err
	}
	if f.base.path != "" {
		r.blobs.ForgetPath(f.base.path)
		_ = os.Remove(f.base.path)
	}
	f.base.path, f.base.cover = filepath.Join(f.dir, fmt.Sprintf("base-%d", f.made)), piece.Cover
	f.base.left = distinct(slices.Concat(left, piece.Left)) // a name may be left out of each partial
	return nil
}

// shares asks the nodes that work for a job, and brings their pieces here.
func (r *collector) shares(f *feed, s *api.Snapshot) []shareTold {
	var nodes []tasks.PeerID
	for _, n := range r.StatusOf(f.job).Nodes {
		if n.Up && n.Slots > 0 && !f.barred[n.ID] {
			nodes = append(nodes, n.ID)
		}
	}
	if !slices.Contains(nodes, r.net.ID()) {
		nodes = append(nodes, r.net.ID())
	}
	s.OfNodes = len(nodes) + len(f.barred)
	first := f.made * maxShares // of many, others are asked each time
	var asked []tasks.PeerID
	for i := range min(len(nodes), maxShares) {
		asked = append(asked, nodes[(first+i)%len(nodes)])
	}
	ctx, cancel := context.WithTimeout(r.ctx, shareWait)
	defer cancel()
	told := make([]*shareTold, len(asked))
	var mu sync.Mutex // guards f.have
	var g errgroup.Group
	g.SetLimit(16)
	for i, id := range asked {
		g.Go(func() error {
			t, err := r.askShare(ctx, f, id, &mu)
			if err != nil {
				r.log.Debug("a node has not told its share of what is watched", "node", id, "reason", err)
				return nil
			}
			told[i] = &t
			return nil
		})
	}
	_ = g.Wait()
	var out []shareTold
	used := map[string]bool{}
	for _, t := range told {
		if t == nil {
			continue
		}
		out = append(out, *t)
		for _, p := range t.Pieces {
			used[p.SHA256] = true
		}
	}
	s.Nodes = len(out)
	for hash, path := range f.have {
		if !used[hash] {
			delete(f.have, hash)
			if filepath.Dir(path) == f.dir {
				_ = os.Remove(path)
			}
		}
	}
	return out
}

// askShare is the share of one node, whose pieces are here then. A member's word is not taken for what a piece counts.
func (r *collector) askShare(ctx context.Context, f *feed, id tasks.PeerID, mu *sync.Mutex) (t shareTold, err error) {
	_, desc := f.job.Prepared()
	if id == r.net.ID() {
		if t, err = r.shareOf(ctx, f.job, f.ask); err != nil {
			return t, err
		}
	} else {
		var answer []byte
		if answer, err = r.cluster.Ask(ctx, id, "share", askJSON(f.ask)); err == nil {
			err = wire.Unmarshal(answer, &t)
		}
		if err != nil {
			return t, err
		}
	}
	if len(t.Pieces) > maxPieces || t.Late < 0 || t.Late > maxLate {
		return t, errors.New("it has too many pieces")
	}
	t.from = id
	for i, p := range t.Pieces {
		t.Pieces[i].Left = boundedNames(p.Left)
		if !p.Cover.Valid(desc.Want) || p.Size < 0 || p.Size > api.MaxSnapshot || !store.IsHash(p.SHA256) {
			return t, errors.New("it is none that a node can have")
		}
		mu.Lock()
		_, have := f.have[p.SHA256]
		mu.Unlock()
		if have && id != r.net.ID() {
			continue
		}
		path, err := r.bringPiece(ctx, f, id, p)
		if err != nil {
			return t, err
		}
		mu.Lock()
		f.have[p.SHA256] = path
		mu.Unlock()
	}
	return t, nil
}

// bar finds the nodes whose pieces cannot be merged, which are left out from then on.
func (r *collector) bar(f *feed, shares []shareTold) {
	for _, told := range shares {
		for _, p := range told.Pieces {
			if told.from == r.net.ID() || f.barred[told.from] || r.open(f.looking, f.job) != nil {
				continue
			}
			path := filepath.Join(f.dir, "tried")
			twice := []string{f.have[p.SHA256], f.have[p.SHA256]}
			s, err := r.viewed(f.looking, path, twice, exec.Viewer.Pick)
			_ = os.Remove(path)
			if err == nil && s.Units != 2*p.Cover.Len() {
				err = errMiscounted
			}
			if err != nil && fromBlob(err) {
				f.barred[told.from] = true
				r.log.Warn("what a node tells of what is watched cannot be merged; it is left out", "job", api.Short(f.job.Name),
					"of", r.cluster.NameOf(told.from), "node", told.from, "reason", why(err.Error()))
			}
		}
	}
}

// boundedNames are the first names of a list that another node tells, none longer than may be asked for.
func boundedNames(names []string) []string {
	const most = 100
	out := append([]string{}, names[:min(len(names), most)]...)
	for i, name := range out {
		out[i] = clipText(name, api.MaxWatchName)
	}
	return out
}

// clipText is the beginning of a text, of so many bytes at most.
func clipText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// bringPiece fetches a piece from a node, and counts what is in it.
func (r *collector) bringPiece(ctx context.Context, f *feed, id tasks.PeerID, p sharePiece) (string, error) {
	_, desc := f.job.Prepared()
	if id == r.net.ID() {
		for _, path := range r.blobs.Paths(p.SHA256) {
			return path, nil
		}
		return "", errors.New("a piece of this node is gone")
	}
	path := filepath.Join(f.dir, "piece-"+p.SHA256)
	err := durable.Place(path, func(to *os.File) error {
		_, err := r.net.Fetch(ctx, id, p.SHA256, p.Size, to)
		return err
	})
	if err != nil {
		return "", err
	}
	units, _, err := r.runtimes.Counted(desc.Work.Kind, path)
	if err == nil && units != p.Cover.Len() {
		err = fmt.Errorf("a piece counts %d units, and not %d", units, p.Cover.Len())
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return path, err
}
