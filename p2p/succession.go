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

// maxSuccession bounds the bytes of one succession.
const maxSuccession = 1 << 10

// succession says who has the founder's role from now on, and which recovery key can take it back. Each names the hash
// of the one before it, so that they form a chain which begins with the founding.
//
// The holder of the role signs a handover, and may set a recovery key where there is none yet. The recovery key may
// sign any succession, and overrides the holder: a link of the chain that the holder signed is replaced, with all that
// followed, by one that the recovery key in force there signed. Of two successions signed by the same holder, the one
// that a node knew first stays: nothing in the records could distinguish the founder from a thief of its key, who can
// sign a second history. So on a node that knows of a take-back the old key has no effect.
type succession struct {
	Cluster  string
	Seq      uint64 // 1 for the first
	Prev     []byte // hash of the signed form of the one before it, empty for the first
	Holder   string
	Recovery string // peer id of the recovery key, empty if there is none
	By       string // peer id of the signing key
}

type heldSuccession struct {
	succession
	raw signed
}

// reign is the state between two successions: who has the founder's role, and which key can take it.
type reign struct {
	seq              uint64
	holder, recovery peer.ID
	prev             []byte // Prev of the succession that may follow
	recovered        bool   // its succession was signed by the recovery key
}

// reignBit distinguishes the number of a succession from a tenure, in register.Under.
const reignBit = 1 << 63

// under is the value of register.Under in the founder's register during this reign; 0 for the founding.
func (a reign) under() uint64 {
	if a.seq == 0 {
		return 0
	}
	return a.seq | reignBit
}

// reignAt is the reign after the first n successions.
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

// follows reports whether s may follow a reign.
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

// addSuccessions extends the chain by what continues it, or replaces a link of it, and what followed, by the word of
// the recovery key.
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

// beats reports whether s replaces old, where both follow the reign a.
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

// takeBackAt is how many successions to keep when the recovery key takes the role: those up to the one that made the
// key known, and those that the key signed right after it, but none that a holder signed since. It is false if the key
// was never in force.
func (r *roster) takeBackAt(recovery peer.ID) (int, bool) {
	for n := range len(r.chain) + 1 {
		if r.reignAt(n).recovery == recovery && (n == len(r.chain) || must(r.chain[n].By) != recovery) {
			return n, true
		}
	}
	return 0, false
}
