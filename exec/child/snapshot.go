package child

import (
	"fmt"

	"github.com/dtpnode/dtpnode/exec"
)

// Snapshot is that of exec.Snapshotter. The process answers when it comes to the request, after the packets that it was
// leased before: a long entry is not interrupted.
func (g *Generation) Snapshot(ask exec.SnapshotAsk, told func(exec.Snapshot, error)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended || g.sealing != nil:
		return exec.ErrEnded
	case len(g.asked) > 0:
		return exec.ErrQueueFull
	}
	g.seq++
	g.asked = map[uint64]func(exec.Snapshot, error){g.seq: told}
	_ = g.p.send(snapshotFrame{ // a child that is dying is reported by run
		Op: "snapshot", ID: g.seq, Names: append([]string{}, ask.Names...), Most: ask.Most, Path: ask.Path,
	})
	return nil
}

// snapped hands on the answer to a snapshot.
func (g *Generation) snapped(r *Reply) {
	g.mu.Lock()
	told := g.asked[r.ID]
	delete(g.asked, r.ID)
	g.mu.Unlock()
	if told == nil {
		return
	}
	var s exec.Snapshot
	if err := r.Decode(&s); err != nil {
		told(exec.Snapshot{}, err)
		return
	}
	if s.Units < 0 {
		told(exec.Snapshot{}, fmt.Errorf("could not write what is there of the output: %s", r.Msg))
		return
	}
	told(s, nil)
}
