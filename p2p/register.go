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

// Limits of what one issuer can make others hold. All that a roster can hold fits into maxRoster, for it is told in one
// frame: if it did not, whoever may invite could end all news of it, a revocation of itself included.
const (
	maxInviters = 64           // whose registers count at a time
	maxEntries  = 4 * MaxPeers // in all registers that count, without the founder's
	maxBans     = 256          // of one register; the oldest are forgotten
	maxRights   = 16           // of one entry, those that this version does not know among them
	maxRight    = 16           // letters of a right

	maxRegister   = 512 << 10             // bytes of one register,
	maxRegisters  = 3 << 20               // of all that count,
	maxDeparture  = 256                   // of a departure,
	maxAddresses  = 2 << 10               // and of an address record
	maxDepartures = MaxPeers + maxEntries // of stays that somebody grants
)

// register is the whole word of one inviter about others: whom it admits now, and whom it puts out. There is
// one for each inviter, and its latest version is all that counts, so whoever is not in it any more needs no
// tombstone, and an old one that comes back says nothing. Versions of different issuers are never compared:
// no number makes a word stronger than that of somebody nearer to the founder.
type register struct {
	Cluster string
	Issuer  string
	Under   uint64 // tenure by which the issuer invites; for the founder's role see reign.under
	Version uint64
	Name    string // of the issuer, where it has the founder's role
	Founded int64  // and since when, Unix seconds
	Entries []entry
	Outs    []out
}

// entry admits one peer.
type entry struct {
	Peer      string
	Name      string // when it joined
	Rights    []Right
	Tenure    uint64 // of this stay: a peer that is admitted again gets another, and what was said of the old one is void
	Ephemeral bool   // forgotten after minutes without a word
	Joined    int64  // Unix seconds by the issuer's clock; shown, never compared
}

func (e entry) has(r Right) bool { return slices.Contains(e.Rights, r) }

// out ends a stay that another issuer granted. With tenure 0 it is a ban: nobody further from the founder than
// the issuer of it can admit the peer.
type out struct {
	Peer   string
	Tenure uint64
}

// departure is a member's own word that it is gone. It ends that stay, and is the only thing that a peer can
// say about itself.
type departure struct {
	Cluster string
	Peer    string
	Tenure  uint64
}

// stay is one peer's one tenure.
type stay struct {
	peer   peer.ID
	tenure uint64
}

// heldRegister is a register as a roster keeps it.
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

// badRights reports whether these cannot be the rights of any version.
func badRights(rights []Right) bool {
	letter := func(c rune) bool { return c >= 'a' && c <= 'z' || c == '-' }
	return len(rights) > maxRights || slices.ContainsFunc(rights, func(r Right) bool {
		return len(r) == 0 || len(r) > maxRight || strings.ContainsFunc(string(r), func(c rune) bool { return !letter(c) })
	})
}

// newerThan orders registers of one issuer: by version, then by bytes so that the order is total.
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
