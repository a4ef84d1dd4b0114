package merge

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/dtpnode/dtpnode/tasks"
)

// EncodeMsgpack writes nothing: a set of partials is encoded as its Parts, and made again by Recommit.
func (c *Committed) EncodeMsgpack(enc *msgpack.Encoder) error { return enc.EncodeBool(true) }

// DecodeMsgpack is EncodeMsgpack's other side.
func (c *Committed) DecodeMsgpack(dec *msgpack.Decoder) error {
	_, err := dec.DecodeBool()
	return err
}

// Recommit is the set of partials that were committed in this order, from bytes that may come from anywhere: each must
// be as R3 demands, and their covers disjoint.
func Recommit(parts []Partial, want tasks.Range) (c Committed, err error) {
	var all []tasks.Range
	var units int64
	names := make(map[ID]bool, len(parts))
	for _, p := range parts {
		if p.Cover.Empty() || !p.Cover.Valid(want) || p.Units != p.Cover.Len() || names[p.ID] {
			return c, fmt.Errorf("partial %v is none that can be committed", p.ID)
		}
		names[p.ID] = true
		all = append(all, p.Cover...)
		units += p.Units
		c.canary += p.Canary
	}
	if c.cover = tasks.CoverOf(all...); c.cover.Len() != units {
		return c, fmt.Errorf("units are committed twice: %d in all partials, which cover %d", units, c.cover.Len())
	}
	c.parts = parts
	return c, nil
}
