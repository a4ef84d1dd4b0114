package p2p

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dtpnode/dtpnode/wire"
)

// issue signs a register of this node and adds it to x.
func (n *Node) issue(reg register, x exchange) (exchange, error) {
	s, err := sign(n.key, forRegister, &reg)
	if err == nil && len(s.Body) > maxRegister {
		err = fmt.Errorf("a register of %d bytes: %w", len(s.Body), ErrTooLarge)
	}
	x.Registers = append(x.Registers, s)
	return x, err
}

// publish merges records that this node made into its roster and saves them, or leaves the roster as it was on an
// error. n.mu is held.
func (n *Node) publish(x exchange) error {
	old := *n.roster
	if _, err := n.roster.merge(x); err != nil {
		return err
	}
	n.noteGone(&old)
	if err := n.save(); err != nil {
		*n.roster = old // merge never changes the maps of the roster it is called on
		return err
	}
	return nil
}

// tidy updates this node's own register, if it has one, to agree with what the other records say. n.mu is held.
func (n *Node) tidy() error {
	reg, err := n.roster.draft(n.id)
	if err != nil {
		return nil //nolint:nilerr // only inviters have a register
	}
	if h, ok := n.roster.registers[stay{n.id, reg.Under}]; ok {
		was := h.register
		was.Version = reg.Version
		a, errA := wire.Marshal(&was)
		b, errB := wire.Marshal(&reg)
		if errA != nil || errB != nil || slices.Equal(a, b) {
			return errors.Join(errA, errB)
		}
	} else if n.roster.reign().holder != n.id {
		return nil // an inviter's first register is made with its first admission
	}
	x, err := n.issue(reg, exchange{})
	if err == nil {
		_, err = n.roster.merge(x)
	}
	return err
}

// Revoke expels id from the cluster and bans it: every member closes its connection to id as soon as it learns of this.
// Members that id admitted stay, now on this node's word; revoke them too if id is not to be trusted at all.
func (n *Node) Revoke(_ context.Context, id PeerID) error {
	target, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("could not revoke %q: it is no peer id: %w", clip(id), err)
	}
	n.mu.Lock()
	err = n.expelMember(target, true)
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("could not revoke %s: %w", id, err)
	}
	n.log.Info("revoked a member", "peer", id)
	n.membersChanged()
	return nil
}

// Invited returns the members whose membership depends on id: those that it admitted, those that they admitted in turn,
// and so on, except where an issuer nearer to the founder admits the same member. They stay when id is revoked.
func (n *Node) Invited(id PeerID) (out []PeerID) {
	target, err := peer.Decode(id)
	if err != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	found := n.roster.admittedBy(target)
	for i := 0; i < len(found); i++ {
		for _, more := range n.roster.admittedBy(found[i]) {
			if more != target && !slices.Contains(found, more) {
				found = append(found, more)
			}
		}
	}
	for _, p := range found {
		if p != n.id {
			out = append(out, p.String())
		}
	}
	slices.Sort(out)
	return out
}

// Forget ends the membership of a member that is not connected to this node. Unlike Revoke it is no ban: any inviter
// can admit the member again.
func (n *Node) Forget(_ context.Context, id PeerID) error {
	target, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("could not forget %q: it is no peer id: %w", clip(id), err)
	}
	n.mu.Lock()
	if n.links[target] != nil {
		err = ErrStillUp
	} else {
		err = n.expelMember(target, false)
	}
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("could not forget %s: %w", id, err)
	}
	n.log.Info("forgot a member", "peer", id)
	n.membersChanged()
	return nil
}

// expelMember ends the stay of a member, and with ban forbids those further from the founder to admit it again. n.mu is
// held.
func (n *Node) expelMember(target peer.ID, ban bool) error {
	if _, ok := n.roster.members[target]; !ok {
		return ErrNotMember
	}
	if err := n.roster.mayRevoke(n.id, target); err != nil {
		return err
	}
	reg, err := n.roster.draft(n.id)
	if err != nil {
		return err
	}
	n.roster.revoke(&reg, target, ban)
	x, err := n.issue(reg, exchange{})
	if err != nil {
		return err
	}
	return n.publish(x)
}

// Depart ends this node's membership for good, tells the connected members and closes the node. When it is started
// again it is a cluster of its own, and only a new invitation brings it back. The founder must hand over its role
// first.
func (n *Node) Depart(ctx context.Context) error {
	n.mu.Lock()
	m, in := n.roster.members[n.id]
	err := ErrNotMember
	switch {
	case n.roster.reign().holder == n.id && len(n.roster.members) > 1:
		err = ErrFounderStays
	case !in: // it was expelled already: only its files are left to remove
		err = nil
	case in:
		var d signed
		d, err = sign(n.key, forDeparture, &departure{
			Cluster: n.roster.cluster.String(),
			Peer:    n.id.String(),
			Tenure:  m.Tenure,
		})
		if err == nil && m.Tenure != 0 {
			err = n.publish(exchange{Departures: []signed{d}})
		}
	}
	var frame []byte
	if err == nil {
		frame, err = n.rosterFrame()
	}
	if err == nil {
		for _, l := range n.links {
			err = errors.Join(err, l.push(frameRoster, frame))
		}
	}
	own := n.roster.cluster == n.id
	n.departed = err == nil
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("could not leave the cluster: %w", err)
	}
	err = n.Leave(ctx)
	files := []string{membershipFile}
	if own {
		files = append(files, identityFile) // this key is the name of the cluster that the node has left
	}
	for _, f := range files {
		err = errors.Join(err, os.Remove(filepath.Join(n.cfg.Dir, f)))
	}
	return err
}

// forgetLoop forgets members that nobody has seen for long, updates names in this node's register, and saves when
// members were last seen.
func (n *Node) forgetLoop() {
	every := min(n.cfg.EphemeralFor/4, time.Hour)
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
		n.mu.Lock()
		var changed bool
		var err error
		if time.Since(n.started) > n.cfg.EphemeralFor { // all members have had time to reconnect since this node started
			changed, err = n.forget(time.Now())
		}
		if err == nil {
			var renamed bool
			renamed, err = n.refreshNames()
			changed = changed || renamed
		}
		if err == nil && (time.Since(saved) > time.Hour || n.unsaved) {
			saved, n.unsaved, err = time.Now(), false, n.save() // saves the times at which members were last seen, too
		}
		n.mu.Unlock()
		if err != nil {
			n.log.Warn("could not forget members that are gone", "err", err)
		}
		if changed {
			n.membersChanged()
		}
	}
}

// forget drops the members in this node's own register that have not been seen for long, and those in other inviters'
// registers after twice the time, since their inviter may be gone too. It reports whether it dropped any. n.mu is held.
func (n *Node) forget(now time.Time) (bool, error) {
	var late []peer.ID
	for id, m := range n.roster.members {
		if id == n.id {
			continue
		}
		s, ok := n.seen[id]
		if up := n.links[id] != nil; up || !ok {
			n.seen[id] = sight{at: now, met: up}
			continue
		}
		limit := n.cfg.ForgetAfter
		if m.Ephemeral {
			limit = n.cfg.EphemeralFor
		}
		if !slices.ContainsFunc(n.roster.claims[id], func(c claim) bool { return c.issuer == n.id && c.Tenure == m.Tenure }) {
			limit *= 2
		}
		if now.Sub(s.at) > limit && n.roster.mayRevoke(n.id, id) == nil {
			late = append(late, id)
		}
	}
	if len(late) == 0 {
		return false, nil
	}
	reg, err := n.roster.draft(n.id)
	if err != nil {
		return false, err
	}
	for _, id := range late {
		n.roster.revoke(&reg, id, false)
		n.log.Info("forget a member that was not seen for long", "peer", id.String(), "name", n.roster.members[id].Name)
	}
	x, err := n.issue(reg, exchange{})
	if err != nil {
		return false, err
	}
	return true, n.publish(x)
}
