package members

import (
	"cmp"
	"slices"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// AllUp reports whether all members are up, so that no one who is away can know what the others do not.
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

// NoteNames remembers the present names of members, for the time after their membership.
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
	for id := range c.called { // if there are too many, any former members are forgotten
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

// Names are the members, with the names under which users are told of them.
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

// NamesOf are the names of ids, in the order of these. The name of a member that is not in names is its id.
func NamesOf(ids []tasks.PeerID, names map[tasks.PeerID]Name) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = cmp.Or(names[id].Name, id)
	}
	return out
}

// Called are the names of members, in the order of ids.
func (c *Cluster) Called(ids []tasks.PeerID) []string { return NamesOf(ids, c.Names()) }

// Known are all present members, including this node, and former ones that it has known since it was started.
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
