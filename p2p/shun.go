package p2p

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// shunning is how a node defends itself against a member that breaks the rules: it closes their link and
// refuses it for a while. It is this node's own decision, tells nobody else anything, and takes no right
// away; Revoke does that.
type shunning struct {
	why   string
	until time.Time
	times int // how often so far, for the next one to be longer
}

// maxShun bounds the time for which one offence shuts a member out.
const maxShun = time.Hour

// errShunned says that this node does not dial a member that it shuns.
var errShunned = errors.New("this node shuns the peer")

// Shun closes the link to a member that has broken the rules and refuses it: for Config.ShunFor at first,
// twice as long each further time, an hour at the most. why is shown by Members and told to the peer. A
// member that kept the rules for a day after the last time begins anew.
func (n *Node) Shun(id PeerID, why string) error {
	p, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("could not shun %q: it is no peer id: %w", clip(id), err)
	}
	why = clip(strings.Map(func(r rune) rune {
		if unprintable(r) {
			return ' '
		}
		return r
	}, why))
	n.mu.Lock()
	if p == n.id || !n.fellow(p) {
		n.mu.Unlock()
		return fmt.Errorf("could not shun %s: %w", id, ErrNotMember)
	}
	now, old := time.Now(), n.shunned[p]
	s := shunning{why: why, times: 1}
	if now.Before(old.until.Add(24 * time.Hour)) {
		s.times += old.times
	}
	s.until = now.Add(min(n.cfg.ShunFor<<min(s.times-1, 20), maxShun))
	n.shunned[p] = s
	text := fmt.Sprintf("shunned until %s: %s", s.until.Format(time.TimeOnly), why)
	n.problems[p] = text
	l := n.links[p]
	if l != nil {
		l.end(text)
	}
	n.mu.Unlock()
	n.log.Warn("shun a member", "peer", id, "reason", why, "until", s.until)
	n.spawn(func() {
		if l != nil {
			<-l.done // it says goodbye first, with the reason
		}
		if !n.trusts(p) {
			_ = n.host.Network().ClosePeer(p)
		}
	})
	return nil
}

// shuns reports whether id is refused now. Under n.mu.
func (n *Node) shuns(id peer.ID) bool {
	s, ok := n.shunned[id]
	return ok && time.Now().Before(s.until)
}

// trusts reports whether id is a member that this node talks to.
func (n *Node) trusts(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fellow(id) && !n.shuns(id)
}
