package members

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Which pairs of members have no link is nobody's knowledge: each knows whom it cannot reach itself. They are asked for
// it when a user looks. What one says of others is its word, and shown as that; it decides nothing.

// Bounds of what members tell of their links, and of how many are asked at once.
const (
	maxLacks    = 32   // members that one names
	maxWhy      = 512  // bytes of a reason
	maxPairs    = 4096 // that are told to the user
	maxVia      = 3    // members that are named as having a link
	linksAtOnce = 64
)

// lack is a member that the one who tells this has no link to.
type lack struct {
	ID  tasks.PeerID `json:"id"`
	Why string       `json:"why,omitempty"`
}

// Lacks answers the question whom a member has no link to.
type Lacks struct {
	Lacks []lack         `json:"lacks"`
	More  int            `json:"more,omitempty"` // that were left out
	Has   []tasks.PeerID `json:"has,omitempty"`  // of those that were asked after: it has a link to them
}

// names reports whether a member is among those that it has no link to.
func (l Lacks) names(id tasks.PeerID) bool {
	return slices.ContainsFunc(l.Lacks, func(o lack) bool { return o.ID == id })
}

// ServeLacks tells a member whom this node has no link to: those at first that the member does not itself ask after,
// for it has no link to them either.
func (c *Cluster) ServeLacks(arg string) ([]byte, error) {
	var after []tasks.PeerID
	if err := json.Unmarshal([]byte(arg), &after); err != nil || len(after) > p2p.MaxPeers {
		return nil, &api.Error{Message: "could not read whose links are asked for", Err: err}
	}
	return json.Marshal(lacksOf(c.net.Members(), after, maxLacks))
}

// lacksOf says whom the member whose view this is has no link to, and of some to whom it has one.
func lacksOf(members []p2p.Member, after []tasks.PeerID, most int) (out Lacks) {
	asked := make(map[tasks.PeerID]bool, len(after))
	for _, id := range after {
		asked[id] = true
	}
	for _, m := range members {
		switch {
		case m.Self:
		case !m.Up:
			out.Lacks = append(out.Lacks, lack{m.ID, shortened(m.Problem)})
		case asked[m.ID]:
			out.Has = append(out.Has, m.ID)
		}
	}
	slices.SortStableFunc(out.Lacks, func(a, b lack) int { return cmp.Compare(order(asked[a.ID]), order(asked[b.ID])) })
	if len(out.Lacks) > most {
		out.Lacks, out.More = out.Lacks[:most], len(out.Lacks)-most
	}
	return out
}

func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

// shortened is what is told, or listened to, of a reason.
func shortened(why string) string {
	why = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, why)
	if len(why) > maxWhy {
		why = strings.ToValidUTF8(why[:maxWhy], "") + "…"
	}
	return why
}

// Links finds out which pairs of the members that are up have no link.
func (c *Cluster) Links(ctx context.Context) api.Links {
	members := c.net.Members()
	if _, out := c.net.Expelled(); out {
		return api.Links{Pairs: []api.NoLink{}}
	}
	mine := lacksOf(members, nil, p2p.MaxPeers)
	said, silent := c.askLacks(ctx, members, mine)
	said[c.net.ID()] = mine
	return unlinked(members, said, silent)
}

// askLacks asks all members that are up whom they have no link to.
func (c *Cluster) askLacks(
	ctx context.Context, members []p2p.Member, mine Lacks,
) (said map[tasks.PeerID]Lacks, silent map[tasks.PeerID]string) {
	ctx, cancel := context.WithTimeout(ctx, AskWait)
	defer cancel()
	after := make([]tasks.PeerID, 0, len(mine.Lacks))
	for _, l := range mine.Lacks {
		after = append(after, l.ID)
	}
	said, silent = map[tasks.PeerID]Lacks{}, map[tasks.PeerID]string{}
	arg, err := json.Marshal(after)
	if err != nil {
		return said, silent
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(linksAtOnce)
	for _, m := range members {
		if !m.Up || m.Self {
			continue
		}
		g.Go(func() error {
			var l Lacks
			b, err := c.Ask(ctx, m.ID, "lacks", string(arg))
			if err == nil {
				err = wire.ReadJSON(b, MostValues, &l)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent[m.ID] = shortened(err.Error())
				return nil
			}
			l.Lacks = l.Lacks[:min(len(l.Lacks), maxLacks)]
			l.Has = l.Has[:min(len(l.Has), p2p.MaxPeers)]
			said[m.ID] = l
			return nil
		})
	}
	_ = g.Wait()
	return said, silent
}

// unlinked puts together what members, this node among them, say of their links: pairs of members that are both up,
// as far as this node or another says, of which one at least has no link to the other. members are this node's view.
func unlinked(members []p2p.Member, said map[tasks.PeerID]Lacks, silent map[tasks.PeerID]string) api.Links {
	u := unlinking{
		names: map[tasks.PeerID]string{},
		via:   map[tasks.PeerID][]string{},
		up:    map[tasks.PeerID]bool{},
		pairs: map[[2]tasks.PeerID]*api.NoLink{},
		said:  said,
	}
	for _, m := range members {
		u.names[m.ID], u.up[m.ID] = m.Name, m.Up || m.Self
		if m.Self {
			u.self = m.ID
		}
	}
	for _, m := range members { // in their order, so that the same is told in the same way
		for _, id := range said[m.ID].Has {
			name, via := cmp.Or(u.names[m.ID], m.ID), u.via[id]
			if _, known := u.names[id]; known && !u.up[id] && !slices.Contains(via, name) && len(via) < maxVia {
				u.via[id] = append(via, name)
			}
		}
	}
	out := api.Links{Pairs: []api.NoLink{}}
	for _, m := range members {
		l, answered := said[m.ID]
		if why, mute := silent[m.ID]; mute {
			out.Silent = append(out.Silent, api.NoLinkEnd{ID: m.ID, Name: m.Name, Says: why})
		}
		for _, o := range l.Lacks {
			if answered && u.isUp(o.ID) && o.ID != m.ID {
				u.add(m.ID, o)
			}
		}
	}
	for _, p := range u.pairs {
		out.Pairs = append(out.Pairs, *p)
	}
	slices.SortFunc(out.Pairs, func(a, b api.NoLink) int {
		return cmp.Or(cmp.Compare(a.A.Name, b.A.Name), cmp.Compare(a.A.ID, b.A.ID), cmp.Compare(a.B.Name, b.B.Name),
			cmp.Compare(a.B.ID, b.B.ID))
	})
	if len(out.Pairs) > maxPairs {
		out.Pairs, out.More = out.Pairs[:maxPairs], len(out.Pairs)-maxPairs
	}
	return out
}

// unlinking is the state of unlinked.
type unlinking struct {
	self  tasks.PeerID
	names map[tasks.PeerID]string
	via   map[tasks.PeerID][]string // members that this node has no link to, and who says that it has one
	up    map[tasks.PeerID]bool     // here
	pairs map[[2]tasks.PeerID]*api.NoLink
	said  map[tasks.PeerID]Lacks
}

func (u *unlinking) isUp(id tasks.PeerID) bool {
	_, member := u.names[id]
	return member && (u.up[id] || len(u.via[id]) > 0)
}

// add takes down that a member says it has no link to another.
func (u *unlinking) add(from tasks.PeerID, to lack) {
	a, b := from, to.ID
	if cmp.Or(cmp.Compare(u.names[a], u.names[b]), cmp.Compare(a, b)) > 0 {
		a, b = b, a
	}
	p := u.pairs[[2]tasks.PeerID{a, b}]
	if p == nil {
		p = &api.NoLink{A: u.end(a, b), B: u.end(b, a), Via: u.via[to.ID]}
		u.pairs[[2]tasks.PeerID{a, b}] = p
	}
	why := cmp.Or(shortened(to.Why), "it is being connected")
	if a == from {
		p.A.Says = why
	} else {
		p.B.Says = why
	}
}

// end is one side of a pair before it says anything: of those that answered, who does not name the other has a link.
func (u *unlinking) end(id, other tasks.PeerID) api.NoLinkEnd {
	l, answered := u.said[id]
	return api.NoLinkEnd{ID: id, Name: u.names[id], Self: id == u.self, Denies: answered && l.More == 0 && !l.names(other)}
}
