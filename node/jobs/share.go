package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// While a job is watched, its home asks each node that works for it for its share: what the node's generations have of
// the named objects between two packets, and what is in partials that are not committed yet. The node merges that into
// small pieces, each with its cover, so that no unit is counted twice where a piece is committed meanwhile.

// Bounds of watching.
const (
	shotWait   = 400 * time.Millisecond // how long a generation may take to come to the end of a packet
	viewWait   = 30 * time.Second       // how long a merge of named objects may take
	badWait    = 5 * time.Second        // after a round that failed for what a node has made, which is then left out
	watchIdle  = 15 * time.Second       // what nobody asks for any more is dropped after that
	maxWatches = 8                      // things watched at once, on a node as home, and as one that works
	maxPieces  = 16                     // pieces of one node
	maxLate    = 1 << 16                // processes of one
	maxMerged  = 64                     // blobs in one call of a viewer, which has them all open
	mostObject = 8 << 20                // bytes of one object
	// watchCost is how many times as long as a round of merging the time between two is, for each slot of the node and
	// everything that is watched there: a round takes one processor, of as many as there are slots, and so all of them
	// take less than a hundredth of what jobs have.
	watchCost = 100
)

// shareAsk is the request "share" of a job's home.
type shareAsk struct {
	Job   string   `json:"job"`
	Names []string `json:"names"`
}

func (a shareAsk) key() string { return a.Job + "\x00" + strings.Join(a.Names, "\x00") }

// shareTold is the answer.
type shareTold struct {
	Pieces []sharePiece `msgpack:"p"`
	Late   int          `msgpack:"l"`

	from tasks.PeerID
}

// sharePiece is a blob of named objects that count these units.
type sharePiece struct {
	Cover  tasks.Cover `msgpack:"c"`
	SHA256 string      `msgpack:"s"`
	Size   int64       `msgpack:"b"`
	Left   []string    `msgpack:"l"`
}

// looking makes snapshots of one set of names of one job: the pieces of this node, or at the home the whole. The folder
// and the process are made when they are needed first, and are gone when nobody has asked for watchIdle.
type looking struct {
	ask    shareAsk
	dir    string
	viewer exec.Viewer

	mu     sync.Mutex // held while a round is made
	made   int        // rounds
	next   time.Time  // when the next round may begin
	share  shareTold
	pieces map[merge.ID]sharePiece // of partials, which do not change

	used time.Time // guarded by lookings.mu
}

// lookings are all of a node.
type lookings struct {
	mu sync.Mutex
	of map[string]*looking
}

// get finds or begins what is asked for.
func (l *lookings) get(key string, ask shareAsk) (found *looking, fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found = l.of[key]
	if found == nil {
		if len(l.of) >= maxWatches {
			return nil, false, &api.Error{
				Status:  http.StatusServiceUnavailable,
				Message: fmt.Sprintf("%d other sets of objects are watched here already", maxWatches),
				Hint:    "watch the same names as others do, or wait until they have ended",
			}
		}
		found, fresh = &looking{ask: ask, pieces: map[merge.ID]sharePiece{}}, true
		l.of[key] = found
	}
	found.used = time.Now()
	return found, fresh, nil
}

// forget drops what nobody has asked for since watchIdle, or in any case if its job is over.
func (l *lookings) forget(key string, over bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.of[key]
	if w == nil || !over && time.Since(w.used) < watchIdle {
		return false
	}
	delete(l.of, key)
	return true
}

// open makes the folder and the process of what is watched. The caller holds w.mu.
func (r *collector) open(w *looking, j *Job) (err error) {
	if w.dir == "" {
		if w.dir, err = os.MkdirTemp(r.cfg.ScratchDir, "watch-"); err != nil {
			return fmt.Errorf("could not make a folder for what is watched: %w", err)
		}
	}
	if w.viewer != nil {
		return nil
	}
	return r.use(r.ctx, j, func(p exec.Program, desc *tasks.Job) (err error) {
		v, ok := p.(exec.Viewable)
		if !ok {
			return &api.Error{
				Status:  http.StatusConflict,
				Message: "jobs of this kind cannot be watched",
				Hint:    "dtpnode status shows how far it is",
			}
		}
		w.viewer, err = v.View(r.ctx)
		return err
	})
}

// close removes what open has made.
func (r *collector) close(w *looking) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.closeViewer(w)
	if w.dir != "" {
		r.blobs.ForgetFolder(w.dir)
		_ = os.RemoveAll(w.dir)
	}
}

func (r *collector) closeViewer(w *looking) {
	if w.viewer != nil {
		w.viewer.Close()
		w.viewer = nil
	}
}

// pause is how long after a round that took a time the next may begin: the more is watched here, the longer, so that
// all together costs as little as one alone would.
func (r *collector) pause(took time.Duration) time.Duration {
	r.lookings.mu.Lock()
	all := len(r.lookings.of)
	r.lookings.mu.Unlock()
	return max(api.WatchEvery, watchCost*took*time.Duration(max(all, 1))/time.Duration(max(r.cfg.Slots, 1)))
}

// ServeShare answers the request "share" of a job's home, or of a member that may see the job.
func (r *collector) ServeShare(ctx context.Context, from tasks.PeerID, text string) ([]byte, error) {
	var ask shareAsk
	if err := wire.ReadJSON([]byte(text), members.MostListed, &ask); err != nil {
		return nil, err
	}
	if err := (api.WatchRequest{Names: ask.Names}).Check(); err != nil {
		return nil, err
	}
	j := r.book.Named(ask.Job)
	if j == nil || j.ID() == "" {
		return nil, NoJob(ask.Job)
	}
	home := tasks.PeerID("")
	r.loop.Ask(func(p *engine.Peer) { home = p.Home(j.ID()) })
	if from != home && !r.cluster.May(from, j.submitter(), members.ForLook) {
		return nil, r.cluster.Refusal(ask.Job, j.submitter(), members.ForLook)
	}
	told, err := r.shareOf(ctx, j, ask)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&told)
}

// shareOf is this node's share, made anew unless the last one is not old enough.
func (r *collector) shareOf(ctx context.Context, j *Job, ask shareAsk) (shareTold, error) {
	key := "share\x00" + ask.key()
	w, fresh, err := r.lookings.get(key, ask)
	if err != nil {
		return shareTold{}, err
	}
	if fresh {
		r.spawn(func() { r.dropIdle(key, w, j) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.next) {
		return w.share, nil
	}
	err = r.newShare(ctx, w, j)
	return w.share, err
}

// dropIdle waits until nobody asks any more, or the job is over.
func (r *collector) dropIdle(key string, w *looking, j *Job) {
	tick := time.NewTicker(watchIdle / 5)
	defer tick.Stop()
	for over := false; !r.lookings.forget(key, over); {
		select {
		case <-tick.C:
		case <-j.Done:
			over = true
		case <-r.ctx.Done():
			over = true
		}
	}
	r.close(w)
}

// newShare makes the pieces of this node anew. The caller holds w.mu.
func (r *collector) newShare(ctx context.Context, w *looking, j *Job) error {
	if err := r.open(w, j); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, shotWait)
	shots := r.workers.Snapshots(within, j.ID(), exec.SnapshotAsk{Names: w.ask.Names, Most: mostObject})
	cancel()
	var partials []merge.Partial
	r.loop.Ask(func(p *engine.Peer) { partials = p.Uncommitted(j.ID()) })
	began := time.Now()
	defer func() { w.next = time.Now().Add(r.pause(time.Since(began))) }()
	told, err := shareTold{}, error(nil)
	var inputs []string
	running := sharePiece{}
	for _, s := range shots {
		if s.Cover.Empty() || running.Cover.Intersects(s.Cover) {
			continue
		}
		inputs = append(inputs, s.Path)
		running.Cover, running.Left = running.Cover.Union(s.Cover), append(running.Left, s.Left...)
		if s.Late {
			told.Late++
		}
	}
	w.made++
	if len(inputs) > 0 {
		if running, err = r.pieceOf(w, fmt.Sprintf("running-%d", w.made), inputs, running); err == nil {
			told.Pieces = append(told.Pieces, running)
		}
	}
	r.dropRound(w, w.made-2)
	err = errors.Join(err, r.sealedPieces(w, partials, &told))
	w.share = told
	return err
}

// sealedPieces adds a piece for each partial, which is made once.
func (r *collector) sealedPieces(w *looking, partials []merge.Partial, told *shareTold) (err error) {
	known := map[merge.ID]sharePiece{}
	for _, p := range partials[:min(len(partials), maxPieces-1)] {
		piece, ok := w.pieces[p.ID]
		if !ok {
			name := fmt.Sprintf("sealed-%d-%d", w.made, len(known))
			var failed error
			piece, failed = r.pieceOf(w, name, []string{r.blobs.Partial(p.Job, p.ID)}, sharePiece{Cover: p.Cover})
			if failed != nil { // it may have been committed and deleted just now
				err = errors.Join(err, failed)
				continue
			}
		}
		known[p.ID] = piece
		told.Pieces = append(told.Pieces, piece)
	}
	for id, piece := range w.pieces {
		if _, ok := known[id]; !ok {
			for _, path := range r.blobs.Paths(piece.SHA256) {
				if filepath.Dir(path) == w.dir {
					r.blobs.Forget(piece.SHA256, path)
					_ = os.Remove(path)
				}
			}
		}
	}
	w.pieces = known
	return err
}

// pieceOf merges the named objects of inputs, which count the units of piece, into a blob that others may fetch.
func (r *collector) pieceOf(w *looking, name string, inputs []string, piece sharePiece) (sharePiece, error) {
	path := filepath.Join(w.dir, name)
	s, err := r.viewed(w, path, inputs, exec.Viewer.Pick)
	if err == nil && s.Units != piece.Cover.Len() {
		err = fmt.Errorf("what is watched counts %d units, and not %d", s.Units, piece.Cover.Len())
	}
	if err == nil {
		piece.SHA256, err = store.HashFile(path)
	}
	if err != nil {
		_ = os.Remove(path)
		return piece, err
	}
	piece.Size, piece.Left = store.SizeOf(path), append(piece.Left, s.Left...)
	r.blobs.Add(piece.SHA256, path)
	return piece, nil
}

// viewerCall is Pick or Show of a viewer.
type viewerCall func(exec.Viewer, context.Context, []string, exec.SnapshotAsk) (exec.Snapshot, error)

// viewed has the process of what is watched write to path what inputs have. If it crashes, or takes too long, the next
// round begins another.
func (r *collector) viewed(w *looking, path string, inputs []string, do viewerCall) (exec.Snapshot, error) {
	if w.viewer == nil { // it has crashed in this round
		return exec.Snapshot{}, exec.ErrGone
	}
	ctx, cancel := context.WithTimeout(r.ctx, viewWait)
	defer cancel()
	ask := exec.SnapshotAsk{Names: w.ask.Names, Most: mostObject, Path: path}
	s, err := viewedByParts(ctx, w.viewer, inputs, ask, do)
	if err != nil && (ctx.Err() != nil || errors.Is(err, exec.ErrGone) || crashed(err)) {
		r.closeViewer(w)
	}
	return s, err
}

// viewedByParts calls a viewer with no more inputs than it can have open: of more, parts are merged first.
func viewedByParts(
	ctx context.Context, v exec.Viewer, inputs []string, ask exec.SnapshotAsk, do viewerCall,
) (exec.Snapshot, error) {
	var left []string
	for made := 0; len(inputs) > maxMerged; made++ {
		part := ask
		part.Path = fmt.Sprintf("%s-part-%d", ask.Path, made)
		s, err := v.Pick(ctx, inputs[:maxMerged], part)
		defer os.Remove(part.Path)
		if err != nil {
			return s, err
		}
		left, inputs = append(left, s.Left...), append(slices.Clone(inputs[maxMerged:]), part.Path)
	}
	s, err := do(v, ctx, inputs, ask)
	s.Left = append(left, s.Left...)
	return s, err
}

// crashed reports whether a failure has ended the process that it is of.
func crashed(err error) bool {
	var f *exec.Failure
	return errors.As(err, &f) && (f.Kind == exec.KindSignal || f.Kind == exec.KindKilled || f.Kind == exec.KindExit)
}

// dropRound removes the piece of a round that nobody fetches any more.
func (r *collector) dropRound(w *looking, round int) {
	path := filepath.Join(w.dir, fmt.Sprintf("running-%d", round))
	r.blobs.ForgetPath(path)
	_ = os.Remove(path)
}

// askJSON is a request as it is sent.
func askJSON(ask shareAsk) string {
	text, _ := json.Marshal(ask)
	return string(text)
}
