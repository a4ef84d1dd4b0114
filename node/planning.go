package node

import (
	"context"

	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// newPlanner is the planner of this node's files, among the members that there are.
func (d *Daemon) newPlanner() *plan.Planner {
	return plan.New(plan.Config{
		Members: planMembers{d},
		Runtime: d.runtimes.Ready,
		Open:    d.cfg.workerLimits().For(tasks.Limits{}).Open,
		Log:     d.log,
	})
}

// planMembers is the cluster as planning sees it (plan.Members).
type planMembers struct{ d *Daemon }

func (m planMembers) ID() tasks.PeerID { return m.d.net.ID() }

func (m planMembers) Names() plan.Names {
	out := plan.Names{}
	for id, n := range m.d.cluster.Names() {
		out[id] = n.Name
	}
	return out
}

func (m planMembers) Planners(needs []string) (out []plan.Member) {
	for _, o := range m.d.cluster.Planners(needs) {
		out = append(out, plan.Member{ID: o.ID, Name: o.Name})
	}
	return out
}

func (m planMembers) Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) ([]byte, error) {
	return m.d.net.Request(ctx, to, kind, payload)
}

func (m planMembers) PlansFor(who tasks.PeerID) bool {
	return m.d.net.HasRight(who, p2p.Submitter) && m.d.net.HasRight(m.d.net.ID(), p2p.Worker) && m.d.cfg.Slots > 0
}
