package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dtpnode/dtpnode/wire"
)

// These bound what one issuer can make others store. Everything that a roster can hold fits into maxRoster, since it is
// sent in one frame. If it did not, any inviter could stop the spread of the roster, and with it that of its own
// revocation.
const (
	maxInviters = 64           // inviters whose registers count at a time
	maxEntries  = 4 * MaxPeers // entries in all registers that count, without the founder's
	maxBans     = 256          // bans in one register; the oldest are dropped
	maxRights   = 16           // rights in one entry, including those that this version does not know
	maxRight    = 16           // letters in the name of a right

	maxRegister   = 512 << 10             // bytes of one register
	maxRegisters  = 3 << 20               // bytes of all registers that count
	maxDeparture  = 256                   // bytes of a departure
	maxAddresses  = 2 << 10               // bytes of an address record
	maxDepartures = MaxPeers + maxEntries // departures: one for each stay that somebody grants
)

// register is all that one inviter says about other peers: whom it admits and whom it expels. Only the latest version
// of each inviter's register counts, so a removed entry needs no tombstone, and an old version that returns has no
// effect. Versions of different issuers are never compared: no number makes a register stronger than that of an issuer
// nearer to the founder.
type register struct {
	Cluster string
	Issuer  string
	Under   uint64 // tenure of the issuer's own stay; for the founder's role see reign.under
	Version uint64
	Name    string // name of the issuer, if it has the founder's role
	Founded int64  // since when the cluster exists, Unix seconds, in the founder's register
	Entries []entry
	Outs    []out
}

// entry admits one peer.
type entry struct {
	Peer   string
	Name   string // the peer's name when it joined
	Rights []Right
	// Tenure is the random number of this stay. A peer that is admitted again gets another, and what was said about the
	// old stay is void.
	Tenure    uint64
	Ephemeral bool  // forgotten minutes after it was last seen
	Joined    int64 // Unix seconds by the issuer's clock; shown, never compared
}

func (e entry) has(r Right) bool { return slices.Contains(e.Rights, r) }

// out ends a stay that another issuer granted. With tenure 0 it is a ban: no issuer further from the founder than this
// one can admit the peer.
type out struct {
	Peer   string
	Tenure uint64
}

// departure is a member's own record that it has left. It ends that stay, and is the only thing besides its addresses
// that a peer can say about itself.
type departure struct {
	Cluster string
	Peer    string
	Tenure  uint64
}

// stay is one membership of a peer, from an admission to its end.
type stay struct {
	peer   peer.ID
	tenure uint64
}

// heldRegister is a register with its signed form, as a roster keeps it.
type heldRegister struct {
	register
	raw signed
}

func openRegister(cluster peer.ID, s signed) (register, error) {
	var r register
	if len(s.Body) > maxRegister {
		return r, fmt.Errorf("a register of %d bytes: %w", len(s.Body), ErrTooLarge)
	}
	if err := wire.Unmarshal(s.Body, &r); err != nil {
		return r, err
	}
	issuer, err := peer.Decode(r.Issuer)
	if err != nil {
		return r, fmt.Errorf("could not read issuer %q: %w", clip(r.Issuer), err)
	}
	if err := r.check(cluster); err != nil {
		return r, fmt.Errorf("could not accept a register of %s: %w", issuer, err)
	}
	return r, verify(issuer, forRegister, s.Body, s.Sig)
}

func (r *register) check(cluster peer.ID) error {
	if r.Cluster != cluster.String() {
		return fmt.Errorf("it is about cluster %q", clip(r.Cluster))
	}
	if r.Version == 0 || r.Version > maxNumber || badName(r.Name) {
		return fmt.Errorf("version %d, name %q", r.Version, clip(r.Name))
	}
	if len(r.Entries) > MaxPeers || len(r.Outs) > 2*MaxPeers {
		return fmt.Errorf("%d entries, %d outs: %w", len(r.Entries), len(r.Outs), ErrTooLarge)
	}
	seen := map[string]bool{}
	for _, e := range r.Entries {
		if _, err := peer.Decode(e.Peer); err != nil {
			return fmt.Errorf("peer %q: %w", clip(e.Peer), err)
		}
		if badName(e.Name) || badRights(e.Rights) || e.Tenure == 0 || e.Tenure&reignBit != 0 || seen[e.Peer] {
			return errors.New("a bad entry")
		}
		seen[e.Peer] = true
	}
	for _, o := range r.Outs {
		if _, err := peer.Decode(o.Peer); err != nil {
			return fmt.Errorf("peer %q: %w", clip(o.Peer), err)
		}
	}
	return nil
}

func badName(name string) bool { return len(name) > maxName || strings.ContainsFunc(name, unprintable) }

// badRights reports whether these cannot be rights in any version of dtpnode.
func badRights(rights []Right) bool {
	letter := func(c rune) bool { return c >= 'a' && c <= 'z' || c == '-' }
	return len(rights) > maxRights || slices.ContainsFunc(rights, func(r Right) bool {
		return len(r) == 0 || len(r) > maxRight || strings.ContainsFunc(string(r), func(c rune) bool { return !letter(c) })
	})
}

// newerThan orders the registers of one issuer: by version, then by bytes so that the order is total.
func (r heldRegister) newerThan(old heldRegister) bool {
	if r.Version != old.Version {
		return r.Version > old.Version
	}
	return bytes.Compare(r.raw.Body, old.raw.Body) > 0
}

func openDeparture(cluster peer.ID, s signed) (departure, error) {
	var d departure
	if len(s.Body) > maxDeparture {
		return d, fmt.Errorf("a departure of %d bytes: %w", len(s.Body), ErrTooLarge)
	}
	if err := wire.Unmarshal(s.Body, &d); err != nil {
		return d, err
	}
	id, err := peer.Decode(d.Peer)
	if err != nil || d.Cluster != cluster.String() {
		return d, fmt.Errorf("could not accept a departure of %q from %q", clip(d.Peer), clip(d.Cluster))
	}
	return d, verify(id, forDeparture, s.Body, s.Sig)
}
