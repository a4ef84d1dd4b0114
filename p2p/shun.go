package p2p

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// shunning records that this node refuses a member that broke the rules: it closed their link and accepts no other for
// a while. It is this node's decision alone: it is not announced, and takes no right away; Revoke does that.
type shunning struct {
	why   string
	until time.Time
	times int // how often so far, since each time is longer than the one before
}

// maxShun bounds the time of one shunning.
const maxShun = time.Hour

// errShunned is the error of dialling a member that this node shuns.
var errShunned = errors.New("this node shuns the peer")

// Shun closes the link to a member that has broken the rules and refuses it: for Config.ShunFor at first, twice as long
// each further time, up to an hour. why is shown by Members and sent to the peer. After a day without an offence the
// next one counts as the first.
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
	if p == n.id || !n.bothMembers(p) {
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
			<-l.done // the link sends the reason before it closes
		}
		if !n.trusts(p) {
			_ = n.host.Network().ClosePeer(p)
		}
	})
	return nil
}

// shuns reports whether id is refused now. n.mu is held.
func (n *Node) shuns(id peer.ID) bool {
	s, ok := n.shunned[id]
	return ok && time.Now().Before(s.until)
}

// trusts reports whether id is a member that this node talks to.
func (n *Node) trusts(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bothMembers(id) && !n.shuns(id)
}
