package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestHomeThatHoards: a home has partials kept that it makes up, which it neither commits nor lets go. Its replicas
// keep a bounded number of them, and of their bytes, and name it.
func TestHomeThatHoards(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int64
		at    uint64
		most  int64 // blobs that are kept
		bytes int64
	}{
		{"many", 100, 0, ledger.MaxBlobs + spareBlobs, 100 * (ledger.MaxBlobs + spareBlobs)},
		{"large", 1 << 30, 0, spareTimes, spareTimes << 30},
		{"large, and ahead as it says", 1 << 30, 1 << 40, spareTimes, spareTimes << 30},
	} {
		g := newGroup(t, 3)
		for _, h := range g.hosts {
			h.slow = true
		}
		g.submit()
		if !g.run(10*time.Second, func() bool { return g.replicas() == 3 }) {
			t.Fatal("no three replicas")
		}
		home := g.home()
		replica := g.hosts[(home.num()+1)%3]
		v, _ := replica.peer.Ledger(jobID)
		var kept, bytes int64
		ids := map[merge.ID]bool{}
		wrongs, refused := 0, 0
		for i := range uint64(maxPostponed + 2*c.most) {
			p := merge.Partial{
				ID:     merge.ID{Node: home.id, Seq: 1<<32 + i},
				Job:    jobID,
				Cover:  tasks.CoverOf(tasks.R(0, 1)),
				Units:  1,
				Size:   c.size,
				SHA256: "x",
				Holder: home.id,
			}
			m := Message{Job: jobID, Term: v.Term, Keep: &Keep{Partial: &p, Seq: 1<<32 + i, At: c.at}}
			again := Recv{From: home.id, Msg: m}
			for _, e := range slices.Concat(replica.peer.Step(replica.now, again), replica.peer.Step(replica.now, again)) {
				switch e := e.(type) {
				case KeepBlob:
					if !ids[e.Partial.ID] {
						kept, bytes = kept+1, bytes+e.Partial.Size
					}
					ids[e.Partial.ID] = true
				case Send:
					if k := e.Msg.Kept; k != nil && !k.OK && k.Full {
						refused++
					}
				case Violation:
					if e.From != home.id || e.What != Hoards {
						t.Errorf("%s: %+v", c.name, e)
					}
					wrongs++
				}
			}
		}
		if kept == 0 || kept > c.most || bytes > c.bytes || (wrongs == 0) != (c.at > 0) ||
			wrongs != max(0, refused-spareBlobs) {
			t.Errorf(
				"%s: %d blobs of %d bytes are kept, it is named %d times and told %d times",
				c.name,
				kept,
				bytes,
				wrongs,
				refused,
			)
		}
	}
}
