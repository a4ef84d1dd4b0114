package members

import (
	"cmp"
	"slices"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// AllUp reports whether no member is away, who might know what the others do not.
func (c *Cluster) AllUp() bool {
	return !slices.ContainsFunc(c.net.Members(), func(m p2p.Member) bool { return !m.Up && !m.Self })
}

// Up are the other members that have a link to this node.
func (c *Cluster) Up() (ids []tasks.PeerID) {
	for _, m := range c.net.Members() {
		if m.Up && !m.Self {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// NameOf is a member's name, also after it has ceased to be one.
func (c *Cluster) NameOf(id tasks.PeerID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cmp.Or(api.ToldApart(c.called)[id], id)
}

// maxCalled bounds the members whose names are remembered: more than there can be at once, by as many that have gone.
const maxCalled = 2 * p2p.MaxPeers

// NoteNames keeps the names of members for when they are none any more.
func (c *Cluster) NoteNames() {
	members := c.net.Members()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		if m.Name != "" {
			c.called[m.ID] = m.Name
		}
	}
	now := map[tasks.PeerID]bool{}
	for _, m := range members {
		now[m.ID] = true
	}
	for id := range c.called { // those that have gone, whichever
		if len(c.called) <= maxCalled {
			break
		}
		if !now[id] {
			delete(c.called, id)
		}
	}
	for id := range c.codeless {
		if _, known := c.called[id]; !known {
			delete(c.codeless, id)
		}
	}
}

// Name is what a member is called, and what else is said of it in a row.
type Name struct {
	Name  string
	Up    bool
	Slots int
}

// Names are what members are called in all that is said of them.
func (c *Cluster) Names() map[tasks.PeerID]Name {
	out, called := map[tasks.PeerID]Name{}, map[tasks.PeerID]string{}
	for _, m := range c.net.Members() {
		out[m.ID], called[m.ID] = Name{"", m.Up || m.Self, m.Slots}, m.Name
	}
	for id, name := range api.ToldApart(called) {
		m := out[id]
		m.Name = name
		out[id] = m
	}
	return out
}

// NamesOf are names for ids, in their order; who has none is called by its id.
func NamesOf(ids []tasks.PeerID, names map[tasks.PeerID]Name) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = cmp.Or(names[id].Name, id)
	}
	return out
}

// Called are what members are called, in the order of their ids.
func (c *Cluster) Called(ids []tasks.PeerID) []string { return NamesOf(ids, c.Names()) }

// Known are all members that there are and, as far as they are remembered, were in this life of the node, which is
// among them.
func (c *Cluster) Known() []tasks.PeerID {
	ids := []tasks.PeerID{c.net.ID()}
	for _, m := range c.net.Members() {
		ids = append(ids, m.ID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.called {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
