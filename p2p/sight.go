package p2p

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// What a node says when it stops, as the reason of its last frame. By these words others tell a member that has left
// from one that is lost.
const (
	leaves = "this node leaves"
	closes = "this node closes"
)

// sight is what this node saw of a member last.
type sight struct {
	at   time.Time // when it was last up here; at first, when it was first heard of
	left bool      // it went on its own word
	met  bool      // it was up here
}

// parted notes how a link ended. Under n.mu.
func (n *Node) parted(l *link) {
	if _, in := n.roster.members[l.id]; !in || n.links[l.id] != nil {
		return
	}
	n.seen[l.id] = sight{at: time.Now(), left: l.bye.Load(), met: true}
	n.unsaved = true
	if n.problems[l.id] == "" && !l.bye.Load() {
		n.problems[l.id] = "the link ended: " + bounded(l.why)
	}
}

// saveSights writes down, at the end of this node's run, who was seen when.
func (n *Node) saveSights() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.departed {
		return // there is nothing to come back to
	}
	if err := n.save(); err != nil {
		n.log.Warn("could not write down which members were seen when", "err", err)
	}
}

// spoke notes what a member is, and the newest protocol number that it speaks, where that is none of this node's.
func (n *Node) spoke(id peer.ID, theirs speaks, info Info) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spoken[id], n.infos[id], n.foreign[id] = theirs.Protocol, info, true
}

// recall takes what was known of members out of the membership file.
func (n *Node) recall(old *saved) {
	for _, s := range old.Seen {
		n.seen[must(s.Peer)] = sight{at: time.Unix(s.Unix, 0), left: s.Left, met: !s.Unmet}
	}
	for _, s := range old.Gone {
		n.gone[must(s.Peer)] = time.Unix(s.Unix, 0)
	}
	n.expelled = old.Out
}

// remember is its reverse.
func (n *Node) remember(s *saved) {
	for id, at := range n.seen {
		s.Seen = append(s.Seen, savedSeen{Peer: id.String(), Unix: at.at.Unix(), Left: at.left, Unmet: !at.met})
	}
	for id, at := range n.gone {
		s.Gone = append(s.Gone, savedSeen{Peer: id.String(), Unix: at.Unix()})
	}
	s.Out = n.expelled
}

// dialError is why no connection to a member came about.
type dialError struct {
	addrs []ma.Multiaddr // that were to be tried
	limit time.Duration
	err   error
}

func (e *dialError) Error() string { return e.err.Error() }

func (e *dialError) Unwrap() error { return e.err }

// describeDial says which addresses of a member were tried, and what came of each.
func describeDial(err error) string {
	var mine *dialError
	if !errors.As(err, &mine) {
		return bounded("could not connect: " + err.Error())
	}
	var theirs *swarm.DialError
	var tried []string
	if errors.As(err, &theirs) {
		for _, t := range theirs.DialErrors {
			tried = append(tried, hostPort(t.Address)+": "+cause(t.Cause, mine.limit))
		}
	}
	if len(tried) == 0 && len(mine.addrs) > 0 {
		tried = []string{strings.Join(texts(mine.addrs), ", ") + ": " + cause(err, mine.limit)}
	}
	if len(tried) == 0 {
		return "could not connect: it has told no address"
	}
	slices.Sort(tried) // the same words each time
	return bounded("could not connect to " + strings.Join(tried, "; "))
}

// cause is an error of a connection without the address, which stands before it.
func cause(err error, limit time.Duration) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", limit)
	case errors.As(err, &op) && op.Timeout():
		return fmt.Sprintf("no answer within %s", limit)
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// maxProblem bounds what is kept of why a member cannot be reached: all its addresses, and what came of each.
const maxProblem = 2 << 10

func bounded(s string) string {
	if len(s) > maxProblem {
		s = strings.ToValidUTF8(s[:maxProblem], "") + "…"
	}
	return s
}

// lastIssuer is the issuer of the claim nearest to the founder that a roster makes about a peer, empty if none does.
func (r *roster) lastIssuer(id peer.ID) peer.ID {
	said := slices.Clone(r.claims[id])
	slices.SortFunc(said, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.issuer, b.issuer))
	})
	if len(said) == 0 {
		return ""
	}
	return said[0].issuer
}
