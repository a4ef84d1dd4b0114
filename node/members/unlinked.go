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

// No node knows which pairs of members have no link: each knows only whom it cannot reach itself. So when a user wants
// to know, all members are asked. What a member says is shown as its word, and decides nothing.

// Bounds of what is asked and told about links.
const (
	maxLacks    = 32   // members without a link that one member may name
	maxWhy      = 512  // bytes of a reason
	maxPairs    = 4096 // pairs that are shown to the user
	maxVia      = 3    // members named for a pair that do have a link
	linksAtOnce = 64   // members that are asked at the same time
)

// lack is a member to which the one that reports it has no link.
type lack struct {
	ID  tasks.PeerID `json:"id"`
	Why string       `json:"why,omitempty"`
}

// Lacks is the answer of a member that is asked to which others it has no link.
type Lacks struct {
	Lacks []lack         `json:"lacks"`
	More  int            `json:"more,omitempty"` // how many further members were left out of Lacks
	Has   []tasks.PeerID `json:"has,omitempty"`  // those of the members in the question to which it has a link
}

// names reports whether a member is in Lacks.
func (l Lacks) names(id tasks.PeerID) bool {
	return slices.ContainsFunc(l.Lacks, func(o lack) bool { return o.ID == id })
}

// ServeLacks answers a member that asks to whom this node has no link. The question names the members to which the
// asking member has none itself. These come last in the answer, since they are no news to it.
func (c *Cluster) ServeLacks(arg string) ([]byte, error) {
	var after []tasks.PeerID
	if err := json.Unmarshal([]byte(arg), &after); err != nil || len(after) > p2p.MaxPeers {
		return nil, &api.Error{Message: "could not read whose links are asked for", Err: err}
	}
	return json.Marshal(lacksOf(c.net.Members(), after, maxLacks))
}

// lacksOf is the answer of a node that sees these members: to whom it has no link, and to which of after it has one.
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

// shortened is a reason in printable characters, cut to maxWhy bytes.
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

// askLacks asks all members that are up to whom they have no link. silent has those that did not answer, and why.
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

// unlinked combines what members, including this node, say of their links. It returns the pairs of members of which
// both are up, as this node sees or another one says, and at least one has no link to the other. members are the
// members as this node sees them.
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
	for _, m := range members { // in a fixed order, so that equal reports give equal results
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
	via   map[tasks.PeerID][]string // by member to which this node has no link: names of those that have one to it
	up    map[tasks.PeerID]bool     // members that are up as this node sees it
	pairs map[[2]tasks.PeerID]*api.NoLink
	said  map[tasks.PeerID]Lacks
}

func (u *unlinking) isUp(id tasks.PeerID) bool {
	_, member := u.names[id]
	return member && (u.up[id] || len(u.via[id]) > 0)
}

// add notes that a member says that it has no link to another.
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

// end is one side of a pair, without a reason yet. A member that has answered and does not name the other side denies
// that the link is missing.
func (u *unlinking) end(id, other tasks.PeerID) api.NoLinkEnd {
	l, answered := u.said[id]
	return api.NoLinkEnd{ID: id, Name: u.names[id], Self: id == u.self, Denies: answered && l.More == 0 && !l.names(other)}
}
