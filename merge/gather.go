package merge

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Where there are many nodes their partials go up a tree. Each node offers its own to the node above it, which merges
// them with its own and others', and offers the merge to the node above that, and so on up to the home. A node keeps
// its partial until it hears, down the same way, that its units are committed. A partial that cannot be merged or
// committed together with others is released, and goes to the home by itself, and so do partials that the node above
// does not answer for.

// SetAbove names the node that merges this one's partials, empty for none.
func (l *Local) SetAbove(id tasks.PeerID) {
	if id != l.self {
		l.above = id
	}
}

// Gather takes the offer of a node below.
func (l *Local) Gather(now time.Duration, p Partial) []Effect {
	switch known := l.find(p.ID); {
	case known != nil && known.gathered:
		l.tell(known, Noted)
	case known != nil || l.atHome || p.Holder == l.self || len(l.parts) >= maxGathered || now < l.late[p.Holder]:
		l.out = append(l.out, Tell{l.job, p.Holder, p.ID, Released})
	default:
		l.inner = true
		g := &part{Partial: p, since: now, copy: true, gathered: true}
		l.parts = append(l.parts, g)
		l.tell(g, Noted)
	}
	return l.take()
}

// Answered takes the word of the node above that a partial was offered to.
func (l *Local) Answered(now time.Duration, from tasks.PeerID, id ID, w Word) []Effect {
	p := l.find(id)
	if p == nil || p.state != offered || p.to != from {
		return nil
	}
	switch w {
	case Noted:
		p.noted, p.tries = true, 0
	case Accepted: // the partial is kept until the home says so, too
		p.acceptedAbove, p.noted, p.offered = true, true, now
	case Released:
		p.direct = true
		l.offer(now, p)
	}
	return l.take()
}

// Noted takes the home's word on whether it still knows of an offer.
func (l *Local) Noted(id ID, yes bool) {
	if p := l.find(id); p != nil && p.state == offered && p.to == "" {
		p.noted = yes
	}
}

// HomeLink has all that was offered to the home offered again soon, since the home may have forgotten what it had
// noted.
func (l *Local) HomeLink() {
	for _, p := range l.parts {
		if p.to == "" {
			p.noted = false
		}
	}
}

// Down tells that a node is not reachable. Partials that it was to merge go to the home.
func (l *Local) Down(now time.Duration, id tasks.PeerID) []Effect {
	if l.above == id {
		l.above = ""
	}
	for _, p := range slices.Clone(l.parts) {
		switch {
		case p.state == offered && p.to == id && id != "":
			p.direct = true
			l.offer(now, p)
		case p.gathered && p.state == waiting && p.Holder == id: // its blob cannot be had
			l.drop(p)
		}
	}
	return l.take()
}

// tell tells the holder of a gathered partial what has become of it.
func (l *Local) tell(p *part, w Word) {
	l.out = append(l.out, Tell{l.job, p.Holder, p.ID, w})
}

// returnToHolder forgets a gathered partial, and tells its holder to offer it to the home.
func (l *Local) returnToHolder(p *part) {
	l.tell(p, Released)
	l.drop(p)
}
