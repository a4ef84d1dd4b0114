package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// This node's user watches a job on whichever node it is led: that node is asked again and again, and makes snapshots
// for as long as it is asked.

// watchAsk is the request "watch" of a member that may see the job. After is the number of the last snapshot that it
// has; the answer is empty while there is none that is newer.
type watchAsk struct {
	shareAsk
	After int64 `json:"after"`
}

// WatchOwner finds the job of a request "watch", and its submitter.
func (r *collector) WatchOwner(text string) (*Job, tasks.PeerID, error) {
	var ask watchAsk
	if err := wire.ReadJSON([]byte(text), members.MostListed, &ask); err != nil {
		return nil, "", err
	}
	return r.LedOwner(ask.Job)
}

// ServeWatch answers the request "watch" about a job that is led here, for a member that may see it. What is not there
// yet is waited for, for a second.
func (r *collector) ServeWatch(ctx context.Context, j *Job, text string) ([]byte, error) {
	var ask watchAsk
	if err := wire.ReadJSON([]byte(text), members.MostListed, &ask); err != nil {
		return nil, err
	}
	if err := (api.WatchRequest{Names: ask.Names}).Check(); err != nil {
		return nil, err
	}
	s, _, fresh, err := r.newest(ctx, j, ask.Names, ask.After)
	if err != nil || !fresh {
		return nil, err
	}
	return json.Marshal(s)
}

// newest is a snapshot that is newer than one.
func (r *collector) newest(
	ctx context.Context, j *Job, names []string, after int64,
) (s api.Snapshot, path string, fresh bool, err error) {
	f, err := r.feedOf(j, names)
	if err != nil {
		return s, "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, api.WatchEvery)
	defer cancel()
	return f.after(ctx, after)
}

// Watch sends snapshots of named objects of a job until it has ended.
func (r *collector) Watch(
	ctx context.Context, name string, req api.WatchRequest, send func(api.WatchEvent) error,
) error {
	if err := req.Check(); err != nil {
		return err
	}
	w := watcher{r: r, name: name, req: req, send: send, sent: time.Now()}
	failing := time.Time{}
	for {
		over, err := w.look(ctx)
		switch {
		case over || ctx.Err() != nil:
			return nil
		case err == nil:
			failing = time.Time{}
		case definiteWatch(err) || !failing.IsZero() && time.Since(failing) > homeWait:
			return w.fail(err)
		case failing.IsZero():
			failing = time.Now()
		}
		if w.late(err) != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.pause()):
		}
	}
}

// definiteWatch tells an error that stays from one that may pass, as while another node takes the lead.
func definiteWatch(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status != http.StatusServiceUnavailable && e.Status != 0
}

// watcher is one stream of snapshots.
type watcher struct {
	r    *collector
	name string
	req  api.WatchRequest
	send func(api.WatchEvent) error
	home tasks.PeerID // whose snapshots seq counts
	seq  int64
	sent time.Time // when the last snapshot was sent, or at first when it was asked for
	told bool      // something was sent

	feed  *feed        // that makes the snapshots, if it is on this node
	state api.JobState // of the job, as it was seen last
	said  string       // why the next snapshot is late, as it was said last
}

// pause is how long to wait before the next look.
func (w *watcher) pause() time.Duration {
	if !w.told {
		return eventEvery
	}
	return max(time.Until(w.sent.Add(max(w.req.Every, api.WatchEvery))), eventEvery)
}

// lateAfter is how long after its time a snapshot is late.
const lateAfter = 4 * time.Second

// late says once what a snapshot waits for that should have come; err is why there can be none for now. Its own error
// is that of a reader who is gone.
func (w *watcher) late(err error) error {
	if time.Since(w.sent) < max(w.req.Every, api.WatchEvery)+lateAfter {
		return nil
	}
	why := w.waits(err)
	if why == w.said {
		return nil
	}
	w.said = why
	return w.send(api.WatchEvent{Waits: why})
}

// waits is what a snapshot waits for.
func (w *watcher) waits(err error) string {
	switch {
	case err != nil:
		return err.Error()
	case w.state != api.Running && w.state != "":
		return "the job " + w.state.Stands()
	case w.feed != nil:
		return w.feed.waits()
	}
	return "the node that leads the job has no new one: it makes them as rarely as it must for watching to take less " +
		"than two hundredths of the processors"
}

// fail tells the reader why no more comes, in the way that it can be told.
func (w *watcher) fail(err error) error {
	if w.told {
		_ = w.send(api.WatchEvent{Failed: api.AsError(err)})
	}
	return err
}

// look sends a snapshot if there is one that was not sent. over says that the job has ended, or that nobody listens.
func (w *watcher) look(ctx context.Context) (over bool, err error) {
	j, at, st, err := w.r.granted(ctx, w.name, members.ForLook)
	if err != nil {
		return false, err
	}
	if st.State.Final() {
		return true, w.send(api.WatchEvent{Over: st.State})
	}
	home := at
	if j != nil {
		home = w.r.net.ID()
	}
	w.state, w.feed = st.State, nil
	if w.home != home {
		w.home, w.seq = home, 0
	}
	var s api.Snapshot
	var read func() ([]byte, error)
	fresh := false
	if j != nil {
		var path string
		s, path, fresh, err = w.r.newest(ctx, j, w.req.Names, w.seq)
		w.feed = w.r.feedNow(j, w.req.Names)
		read = func() ([]byte, error) { return os.ReadFile(path) }
	} else {
		s, fresh, err = w.askHome(ctx, st.ID)
		read = func() ([]byte, error) { return w.fetch(ctx, s) }
	}
	if errors.Is(err, ErrOver) || err == nil && !fresh {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if w.req.File {
		if s.File, err = read(); err != nil {
			return false, err
		}
		if store.HashOf(s.File) != s.SHA256 {
			return false, nil // it has given way to the next one while it was read
		}
	}
	w.seq, w.sent, w.told, w.said = s.Seq, time.Now(), true, ""
	return w.send(api.WatchEvent{Snapshot: &s}) != nil, nil
}

// askHome asks the member that leads the job.
func (w *watcher) askHome(ctx context.Context, id string) (s api.Snapshot, fresh bool, err error) {
	text, err := json.Marshal(watchAsk{shareAsk{Job: id, Names: w.req.Names}, w.seq})
	if err != nil {
		return s, false, err
	}
	answer, err := w.r.cluster.Ask(ctx, w.home, "watch", string(text))
	if err != nil || len(answer) == 0 {
		return s, false, asTold(err)
	}
	if err := wire.ReadJSON(answer, members.MostNumbers, &s); err != nil {
		return s, false, err
	}
	s.File = nil
	if s.Bytes > api.MaxSnapshot || s.Bytes < 0 || !store.IsHash(s.SHA256) {
		return s, false, fmt.Errorf("%s tells a snapshot of %d bytes", w.r.cluster.NameOf(w.home), s.Bytes)
	}
	if !drawable(s) {
		return s, false, fmt.Errorf("%s tells a picture that cannot be drawn", w.r.cluster.NameOf(w.home))
	}
	s.Left, s.Absent = boundedNames(s.Left), boundedNames(s.Absent)
	clipPictures(&s)
	return s, true, nil
}

// drawable reports whether a snapshot holds what an honest home tells: so many objects as names may stand for, each
// with its bins.
func drawable(s api.Snapshot) bool {
	const mostObjects, mostBins = 1 << 13, 1 << 10
	for _, p := range s.Objects {
		if p.X.Bins < 0 || p.Y.Bins < 0 || p.X.Bins > mostBins || p.Y.Bins > mostBins ||
			len(p.Values) != p.X.Bins*max(p.Y.Bins, 1) {
			return false
		}
	}
	return len(s.Objects) <= mostObjects && s.Units >= 0 && s.Of >= s.Units && s.Late >= 0 && s.Nodes >= 0
}

// clipPictures bounds the texts of objects, which come from whoever worked, to what a terminal can show.
func clipPictures(s *api.Snapshot) {
	const most = 1 << 10
	for i := range s.Objects {
		p := &s.Objects[i]
		p.Name, p.Class, p.Title, p.Text = clipText(p.Name, most), clipText(p.Class, most), clipText(p.Title, most),
			clipText(p.Text, most)
	}
}

// asTold gives the error of a member which says that jobs of a kind cannot be watched the status that it had there: no
// other status comes with what a member says, and this error stays.
func asTold(err error) error {
	if err != nil && strings.Contains(err.Error(), "cannot be watched") {
		return &api.Error{Status: http.StatusConflict, Message: err.Error(), Err: err}
	}
	return err
}

func (w *watcher) fetch(ctx context.Context, s api.Snapshot) ([]byte, error) {
	var b bytes.Buffer
	_, err := w.r.net.Fetch(ctx, w.home, s.SHA256, s.Bytes, &b)
	return b.Bytes(), err
}
