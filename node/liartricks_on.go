//go:build liars

package node

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Roles of liars that tell one lie, which needs what random lies do not have: blobs that are whole and false, or
// messages that hold in all but one number.
const (
	roleDrip  = "drip"  // it gives its partials byte by byte
	roleForge = "forge" // it puts itself above the others unasked, and makes up what they give it to merge
	roleSize  = "size"  // it says that its partials, which are true, are as large as can be
	roleBlink = "blink" // it claims all units, and for one report now and then none
	roleSees  = "sees"  // it says that it sees all files
	roleName  = "name"  // it submits its jobs by the name of another's
	// rolePoison is a worker whose partials of ROOT count what they should, and whose objects are none: which of the ways
	// of poisons it takes is its seed.
	rolePoison = "poison"
)

const (
	dripPause  = 3 * time.Second
	blinkEvery = 4 * time.Second
	trickPause = 300 * time.Millisecond
)

// tricky reports whether the liar has such a role.
func (l *lying) tricky() bool {
	return slices.Contains([]string{roleDrip, roleForge, roleSize, roleBlink, roleSees, roleName, rolePoison}, l.role)
}

// trick is what becomes of a true message. The caller holds l.mu.
func (l *lying) trick(m engine.Message) engine.Message {
	switch {
	case m.Offer != nil && l.role == rolePoison:
		o := l.poison(*m.Offer)
		m.Offer = &o
	case m.Offer != nil && l.role == roleSize:
		o := *m.Offer
		o.Size = 1 << 62
		m.Offer = &o
	case m.Report != nil && l.role == roleSees:
		r := *m.Report
		r.Unseen, r.Presumed = nil, nil
		m.Report = &r
	case m.Report != nil && l.role == roleBlink && l.desc != nil && m.Job == l.scene.Job:
		r := *m.Report
		r.Held, r.Also, r.Left = tasks.CoverOf(l.desc.Want), nil, time.Hour
		if now := time.Now(); now.Sub(l.blinked) > blinkEvery {
			r.Held, r.Left, l.blinked = nil, 0, now
		}
		m.Report = &r
	}
	return m
}

// poisoned is a partial that this node offers, with other objects in it. The caller holds l.mu.
func (t tricks) poisoned(p merge.Partial) merge.Partial {
	body, err := os.ReadFile(t.d.blobs.Partial(p.Job, p.ID))
	if err != nil {
		return p
	}
	seed, _ := strconv.Atoi(os.Getenv(envLiar))
	body = poison(body, seed)
	p.SHA256, p.Size = store.HashOf(body), int64(len(body))
	path := filepath.Join(t.d.cfg.StateDir, "poisoned-"+p.SHA256)
	if durable.Write(path, body) == nil {
		t.d.blobs.Add(p.SHA256, path)
	}
	return p
}

// Named is what this node's user names a job.
func (t tricks) Named(nonce []byte) []byte {
	l := &t.d.lying
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.role == roleName && l.desc != nil {
		return slices.Clone(l.desc.Nonce)
	}
	return nonce
}

// NamesAny reports whether this node minds no names of jobs: it must have part in its own.
func (t tricks) NamesAny() bool { return t.d.lying.role == roleName }

// trickOften finds the job, and has others give this node their partials if it is to make them up.
func (d *Daemon) trickOften() {
	l := &d.lying
	for d.sleeps(trickPause) {
		id, _, desc := d.targets()
		if desc == nil {
			continue
		}
		l.mu.Lock()
		if !l.began {
			d.log.Warn(lieLogged, "role", l.role, "job", id)
		}
		l.began, l.desc, l.scene.Job = true, desc, id
		l.mu.Unlock()
		if l.role != roleForge {
			continue
		}
		for _, to := range d.cluster.Up() {
			l.mu.Lock()
			l.seq++
			first := desc.Want.First + int64(l.rng.Uint64N(uint64(desc.Want.Len())))
			g := &steal.Grant{
				ID:     1<<50 + l.seq,
				Job:    id,
				Ranges: tasks.CoverOf(tasks.R(first, first+1)),
				Left:   time.Hour,
				Dealt:  true,
				Above:  d.net.ID(),
			}
			l.mu.Unlock()
			d.tell(to, engine.Message{Steal: &steal.Message{Grant: g}})
		}
	}
}

// tell sends a message past what said makes of it.
func (d *Daemon) tell(to tasks.PeerID, m engine.Message) {
	if b, err := wire.Marshal(&m); err == nil {
		_ = d.net.Send(to, b) // it is told again
	}
}

// takes reports whether the protocol of this node is not to know of a message, since the liar answers it. l.mu is held.
func (d *Daemon) takes(from tasks.PeerID, m engine.Message) bool {
	l := &d.lying
	if m.Gather == nil || l.role != roleForge {
		return false
	}
	g := *m.Gather
	if l.forged == nil {
		l.forged = map[merge.ID]bool{}
	}
	again := l.forged[g.ID]
	l.forged[g.ID] = true
	l.seq++
	p := merge.Partial{
		ID:     merge.ID{Node: d.net.ID(), Seq: 1<<50 + l.seq},
		Job:    m.Job,
		Cover:  g.Cover,
		Units:  g.Units,
		Canary: g.Canary,
		Holder: d.net.ID(),
		Kids:   []merge.ID{g.ID},
	}
	d.spawn(func() {
		d.tell(from, engine.Message{Job: m.Job, Gathered: &engine.Gathered{ID: g.ID, Word: merge.Noted}})
		if !again {
			d.forgeMerge(p)
		}
	})
	return true
}

// forgeMerge offers a merge that counts all that it should, in the wrong bin.
func (d *Daemon) forgeMerge(p merge.Partial) {
	bins := make([]int64, 997)
	bins[0] = p.Units
	body, err := json.Marshal(map[string]any{"units": p.Units, "canary": p.Canary, "bins": bins})
	if err != nil {
		return
	}
	p.SHA256, p.Size = store.HashOf(body), int64(len(body))
	path := filepath.Join(d.cfg.StateDir, "forged-"+p.SHA256)
	if durable.Write(path, body) != nil {
		return
	}
	d.blobs.Add(p.SHA256, path)
	for range 20 {
		var home tasks.PeerID
		d.loop.Ask(func(e *engine.Peer) { home = e.Jobs()[p.Job] })
		if home != "" {
			d.tell(home, engine.Message{Job: p.Job, Offer: &p})
		}
		if !d.sleeps(trickPause) {
			return
		}
	}
}

// blobStore is where others fetch blobs.
func (d *Daemon) blobStore() p2p.BlobStore { return dripping{d} }

// dripping is the store of a liar, which gives partials byte by byte if that is its role.
type dripping struct{ d *Daemon }

// Open is blobs.Open.
func (s dripping) Open(hash string) (io.ReadSeekCloser, int64, error) {
	f, size, err := s.d.blobs.Open(hash)
	l := &s.d.lying
	l.mu.Lock()
	drip := l.role == roleDrip
	l.mu.Unlock()
	dir := filepath.Join(s.d.blobs.Dir())
	partial := slices.ContainsFunc(s.d.blobs.Paths(hash), func(path string) bool {
		return strings.HasPrefix(path, dir) && !strings.HasPrefix(path, filepath.Join(dir, "ship"))
	})
	if err != nil || !drip || !partial {
		return f, size, err
	}
	return &drops{f, s.d}, size, nil
}

// drops is a blob that comes byte by byte.
type drops struct {
	io.ReadSeekCloser
	d *Daemon
}

func (b *drops) Read(p []byte) (int, error) {
	if !b.d.sleeps(dripPause) {
		return 0, io.ErrUnexpectedEOF
	}
	return b.ReadSeekCloser.Read(p[:min(len(p), 1)])
}
