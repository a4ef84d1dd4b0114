package p2p

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/time/rate"
)

// A member chooses its own name. It is sent when a link opens and again when it changes. The register of the inviter
// that admitted it is updated later, for nodes that have no link to it.

// nameRate limits the name changes that are taken from one member.
var nameRate = rate.Every(10 * time.Second)

const nameBurst = 8

// Name is this node's name, as users see it.
func (n *Node) Name() string { return *n.called.Load() }

// CheckName reports why a name cannot be used, nil if it can.
func CheckName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return fmt.Errorf("could not use the name %q: it is empty", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("could not use the name %q: it begins or ends with a space", name)
	case len(name) > maxName:
		return fmt.Errorf("could not use the name %q: it has %d bytes, and may have %d", clip(name), len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }):
		return fmt.Errorf("could not use the name %q: it has characters that cannot be printed", name)
	}
	return nil
}

// Rename changes this node's name for as long as it runs, and tells the connected members.
func (n *Node) Rename(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	n.called.Store(&name)
	n.mu.Lock()
	for _, l := range n.links {
		_ = l.push(frameName, []byte(name)) // a full queue ends the link soon, and the next hello has the name
	}
	n.mu.Unlock()
	n.membersChanged()
	return nil
}

// renamed notes a peer's new name.
func (n *Node) renamed(l *link, name string) {
	name = Info{Name: name}.clean().Name
	if !l.names.Allow() {
		return
	}
	n.mu.Lock()
	info := n.infos[l.id]
	changed := n.links[l.id] == l && info.Name != name && name != ""
	if changed {
		info.Name = name
		n.infos[l.id] = info
	}
	n.mu.Unlock()
	if !changed {
		return
	}
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// refreshNames updates the names in this node's register to those that the members now use. It is called rarely, so
// that a member that changes its name all the time costs others no more than one that does so once. n.mu is held.
func (n *Node) refreshNames() (bool, error) {
	reg, err := n.roster.draft(n.id)
	if err != nil {
		return false, nil //nolint:nilerr // only inviters have a register
	}
	changed := false
	if n.roster.reign().holder == n.id && reg.Name != n.Name() {
		reg.Name, changed = n.Name(), true
	}
	for i, e := range reg.Entries {
		if name := n.infos[must(e.Peer)].Name; name != "" && name != e.Name && !badName(name) {
			reg.Entries[i].Name, changed = name, true
		}
	}
	if !changed {
		return false, nil
	}
	x, err := n.issue(reg, exchange{})
	if err != nil {
		return false, err
	}
	return true, n.publish(x)
}
