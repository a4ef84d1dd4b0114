package p2p

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// What a member tells of itself in Info.Meta may change while it runs. It is sent when a link opens and again when it
// changes, as names are; no register has it.

// metaRate limits the changes of Info.Meta that are taken from one member: each has work shared out anew.
var metaRate = rate.Every(10 * time.Second)

const metaBurst = 8

// SetMeta changes what this node tells of itself in Info.Meta, and tells the connected members. The text has at most
// MaxMeta bytes.
func (n *Node) SetMeta(meta string) error {
	if len(meta) > MaxMeta {
		return fmt.Errorf("could not tell %d bytes of this node: %w: at most %d", len(meta), ErrTooLarge, MaxMeta)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if *n.meta.Swap(&meta) == meta {
		return nil
	}
	for _, l := range n.links {
		_ = l.push(frameMeta, []byte(meta)) // a full queue ends the link soon, and the next hello has it
	}
	return nil
}

// metaChanged notes what a peer now tells of itself.
func (n *Node) metaChanged(l *link, meta string) {
	meta = Info{Meta: meta}.clean().Meta
	if !l.metas.Allow() {
		return
	}
	n.mu.Lock()
	info := n.infos[l.id]
	changed := n.links[l.id] == l && info.Meta != meta
	if changed {
		info.Meta = meta
		n.infos[l.id] = info
	}
	n.mu.Unlock()
	if changed {
		n.emit(PeerChanged{ID: l.id.String(), Info: info})
	}
}
