package quorum

import (
	"crypto/sha256"
	"encoding/binary"
)

// Checked caches which links of chains were verified by the signatures of a majority, so that a chain that has grown by
// one link costs one verification. It holds two generations and drops the older one when the younger is full. The zero
// value is ready; a nil pointer caches nothing.
type Checked struct {
	young, old map[[sha256.Size]byte]struct{}
}

// maxChecked bounds each generation; it is enough for the links of many long chains.
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
		c.add(sum) // moves what is in use to the younger generation
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

// linkSum is the cache key of a link: a hash of everything that its verification depends on, which is the voters before
// it, its own, and the signatures. So no invalid link can match a valid one.
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
