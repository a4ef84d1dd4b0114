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

// These are the reasons in a stopping node's last frame, by which others distinguish a member that left from one that
// was lost.
const (
	leaves = "this node leaves"
	closes = "this node closes"
)

// sight is when and how this node last saw a member.
type sight struct {
	at   time.Time // when it was last connected; before it ever was, when it was first heard of
	left bool      // it announced that it would leave
	met  bool      // it was ever connected to this node
}

// noteLinkEnd notes how a link ended. n.mu is held.
func (n *Node) noteLinkEnd(l *link) {
	if _, in := n.roster.members[l.id]; !in || n.links[l.id] != nil {
		return
	}
	n.seen[l.id] = sight{at: time.Now(), left: l.bye.Load(), met: true}
	n.unsaved = true
	if n.problems[l.id] == "" && !l.bye.Load() {
		n.problems[l.id] = "the link ended: " + bounded(l.why)
	}
}

// saveSights saves, when this node closes, when members were last seen.
func (n *Node) saveSights() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.departed {
		return // the membership is over, so nothing is saved
	}
	if err := n.save(); err != nil {
		n.log.Warn("could not write down which members were seen when", "err", err)
	}
}

// noteIncompatible notes the info and the newest protocol number of a member that speaks no number in common with this
// node.
func (n *Node) noteIncompatible(id peer.ID, theirs speaks, info Info) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spoken[id], n.infos[id], n.incompatible[id] = theirs.Protocol, info, true
}

// restoreSights reads what was known of members from the membership file.
func (n *Node) restoreSights(old *saved) {
	for _, s := range old.Seen {
		n.seen[must(s.Peer)] = sight{at: time.Unix(s.Unix, 0), left: s.Left, met: !s.Unmet}
	}
	for _, s := range old.Gone {
		n.gone[must(s.Peer)] = time.Unix(s.Unix, 0)
	}
	n.expelled = old.Out
}

// storeSights writes what is known of members into the membership file.
func (n *Node) storeSights(s *saved) {
	for id, at := range n.seen {
		s.Seen = append(s.Seen, savedSeen{Peer: id.String(), Unix: at.at.Unix(), Left: at.left, Unmet: !at.met})
	}
	for id, at := range n.gone {
		s.Gone = append(s.Gone, savedSeen{Peer: id.String(), Unix: at.Unix()})
	}
	s.Out = n.expelled
}

// dialError is why no connection to a member could be made.
type dialError struct {
	addrs []ma.Multiaddr // addresses known for the member
	limit time.Duration
	err   error
}

func (e *dialError) Error() string { return e.err.Error() }

func (e *dialError) Unwrap() error { return e.err }

// describeDial says which addresses of a member were tried, and how each failed.
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
	slices.Sort(tried) // in a fixed order, so that the text stays the same
	return bounded("could not connect to " + strings.Join(tried, "; "))
}

// cause is the text of a connection error without the address, which precedes it in the message.
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

// maxProblem bounds the text that says why a member cannot be reached, with all its addresses.
const maxProblem = 2 << 10

func bounded(s string) string {
	if len(s) > maxProblem {
		s = strings.ToValidUTF8(s[:maxProblem], "") + "…"
	}
	return s
}

// lastIssuer is the issuer nearest to the founder of those that admit a peer, empty if there is none.
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
