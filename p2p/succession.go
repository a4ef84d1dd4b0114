package p2p

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dtpnode/dtpnode/wire"
)

// maxSuccessions bounds how often a cluster's founding role can change hands.
const maxSuccessions = 256

// maxSuccession bounds the bytes of one.
const maxSuccession = 1 << 10

// succession says who has the founder's role from now on, and which recovery key can take it back. Each names
// the one before it, the first one the founding itself, so they make a chain.
//
// The holder of the role signs a handover, and may set a recovery key where there is none yet. The recovery key
// may sign everything, and its word beats the holder's: a link of the chain that the holder signed gives way to
// one by the recovery key that was in force there, with all that followed. Of two by the same hand, the one
// that a node knew first stays: nothing in the records themselves could tell a thief of the founder's key, who
// can sign a second history, from the founder. So with a node that knows of a take-back the old key has no say.
type succession struct {
	Cluster  string
	Seq      uint64 // 1 for the first
	Prev     []byte // SHA-256 of the one before it, empty for the first
	Holder   string
	Recovery string // peer id of the recovery key, empty if there is none
	By       string // who signed
}

type heldSuccession struct {
	succession
	raw signed
}

// reign is who has the founder's role, and which key can take it.
type reign struct {
	seq              uint64
	holder, recovery peer.ID
	prev             []byte // what the next succession names
	recovered        bool   // it began by the recovery key
}

// reignBit tells the number of a succession from a tenure.
const reignBit = 1 << 63

// under is what a register that speaks for this reign names in place of a tenure: 0 for the founding.
func (a reign) under() uint64 {
	if a.seq == 0 {
		return 0
	}
	return a.seq | reignBit
}

// reignAt is the state after the first n successions.
func (r *roster) reignAt(n int) reign {
	if n == 0 {
		return reign{holder: r.cluster}
	}
	s := r.chain[n-1]
	sum := s.raw.hash()
	before := r.reignAt(n - 1).recovery
	return reign{seq: s.Seq, holder: must(s.Holder), recovery: must(s.Recovery), prev: sum[:],
		recovered: before != "" && must(s.By) == before}
}

func (r *roster) reign() reign { return r.reignAt(len(r.chain)) }

func openSuccession(cluster peer.ID, s signed) (succession, error) {
	var su succession
	if len(s.Body) > maxSuccession {
		return su, fmt.Errorf("a succession of %d bytes: %w", len(s.Body), ErrTooLarge)
	}
	if err := wire.Unmarshal(s.Body, &su); err != nil {
		return su, err
	}
	by, err := peer.Decode(su.By)
	if err != nil {
		return su, fmt.Errorf("could not read who signed a succession, %q: %w", clip(su.By), err)
	}
	if _, err := peer.Decode(su.Holder); err != nil || su.Cluster != cluster.String() || su.Seq == 0 ||
		su.Seq > maxSuccessions {
		return su, fmt.Errorf("could not accept a succession by %s: number %d, holder %q", by, su.Seq, clip(su.Holder))
	}
	if su.Recovery != "" {
		if _, err := peer.Decode(su.Recovery); err != nil {
			return su, fmt.Errorf("could not read recovery key %q: %w", clip(su.Recovery), err)
		}
	}
	return su, verify(by, forSuccession, s.Body, s.Sig)
}

// follows reports whether s may come after a reign.
func (s succession) follows(a reign) bool {
	if s.Seq != a.seq+1 || !bytes.Equal(s.Prev, a.prev) {
		return false
	}
	by := must(s.By)
	if a.recovery != "" && by == a.recovery {
		return true
	}
	return by == a.holder && (must(s.Recovery) == a.recovery || a.recovery == "")
}

// addSuccessions takes over what continues the chain, or takes a link of it back by the recovery key.
func (r *roster) addSuccessions(x []signed) error {
	var news []heldSuccession
	for _, s := range x {
		su, err := openSuccession(r.cluster, s)
		if err != nil {
			return err
		}
		news = append(news, heldSuccession{su, s})
	}
	slices.SortFunc(news, func(a, b heldSuccession) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.raw.Body, b.raw.Body))
	})
	for again := true; again; {
		again = false
		for _, s := range news {
			at := int(s.Seq) - 1 //nolint:gosec // bounded when opened
			if at > len(r.chain) || !s.follows(r.reignAt(at)) {
				continue
			}
			if at < len(r.chain) && !s.beats(r.chain[at], r.reignAt(at)) {
				continue
			}
			r.chain = append(slices.Clone(r.chain[:at]), s)
			again = true
		}
	}
	return nil
}

// beats reports whether s takes the place of old, after the reign a.
func (s heldSuccession) beats(old heldSuccession, a reign) bool {
	if a.recovery == "" || must(s.By) != a.recovery {
		return false
	}
	if must(old.By) != a.recovery {
		return true
	}
	x, y := sha256.Sum256(s.raw.Body), sha256.Sum256(old.raw.Body)
	return bytes.Compare(x[:], y[:]) < 0
}

// takeBackAt is the number of successions to keep when the recovery key takes the role: all that it signed
// itself, and nothing that a holder signed after it was made known.
func (r *roster) takeBackAt(recovery peer.ID) (int, bool) {
	for n := range len(r.chain) + 1 {
		if r.reignAt(n).recovery == recovery && (n == len(r.chain) || must(r.chain[n].By) != recovery) {
			return n, true
		}
	}
	return 0, false
}
