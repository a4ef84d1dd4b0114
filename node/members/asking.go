package members

import (
	"context"
	"time"

	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// AskWait bounds a question to another daemon.
const AskWait = 3 * time.Second

// Bounds of what an answer of another member in JSON may hold (wire.ReadJSON).
const (
	MostValues  = 1 << 16 // objects, and elements of all lists, in one answer: more than an honest one has room for,
	MostMissing = 1 << 18 // also where it describes one job, of which as many files may be missing,
	MostNumbers = 1 << 20 // or is mostly of numbers, or of names
	MostListed  = 1 << 12 // elements of a list of jobs
)

// Ask asks a member and waits for its answer no longer than AskWait.
func (c *Cluster) Ask(ctx context.Context, id tasks.PeerID, kind, arg string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, AskWait)
	defer cancel()
	return c.net.Request(ctx, id, kind, []byte(arg))
}

// Planners are the members that may be asked to plan for a job with these needs.
func (c *Cluster) Planners(needs []string) (out []p2p.Member) {
	for _, m := range c.net.Members() {
		works := m.Up && !m.Self && m.Slots > 0 && c.net.HasRight(m.ID, p2p.Worker)
		if works && runtimes.Meet(runtimes.Announced(m.Meta), needs) {
			out = append(out, m)
		}
	}
	return out
}
