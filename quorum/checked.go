package quorum

import (
	"crypto/sha256"
	"encoding/binary"
)

// Checked remembers which links of chains were found to hold by the signatures of a majority, so that a chain which has
// grown by one link since it was last seen costs the check of one. It forgets the oldest. The zero value is ready; nil
// remembers nothing.
type Checked struct {
	young, old map[[sha256.Size]byte]struct{}
}

// maxChecked bounds each of its halves: links of many long chains.
const maxChecked = 4096

func (c *Checked) has(sum [sha256.Size]byte) bool {
	if c == nil {
		return false
	}
	if _, ok := c.young[sum]; ok {
		return true
	}
	_, ok := c.old[sum]
	if ok {
		c.add(sum) // what is in use stays
	}
	return ok
}

func (c *Checked) add(sum [sha256.Size]byte) {
	if c == nil {
		return
	}
	if c.young == nil || len(c.young) >= maxChecked {
		c.young, c.old = map[[sha256.Size]byte]struct{}{}, c.young
	}
	c.young[sum] = struct{}{}
}

// linkSum names a link by all that its check rests on: the voters before it, its own, and the signatures themselves, so
// that none that does not hold passes for one that does.
func (t Trust) linkSum(before Conf, l Link) [sha256.Size]byte {
	if t.Checked == nil {
		return [sha256.Size]byte{}
	}
	b := append(ConfText(t.Group, before), ConfText(t.Group, l.Conf)...)
	for _, s := range l.Sigs {
		b = appendText(b, s.By)
		b = binary.BigEndian.AppendUint32(b, uint32(len(s.Sig)))
		b = append(b, s.Sig...)
	}
	return sha256.Sum256(b)
}
