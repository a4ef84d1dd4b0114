package backlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/node/api"
)

// ErrKeep is the root of all errors about calls that cannot be kept, since they are none.
var ErrKeep = errors.New("invalid calls to be kept")

// count checks calls, and returns how many there are.
func count(k *api.ExchangeKeep) (int, error) {
	n := len(k.Ends) / 4
	if len(k.Ends)%4 != 0 || n == 0 || k.First > 1<<62 {
		return 0, fmt.Errorf("%w: %d bytes tell where they end, from number %d on", ErrKeep, len(k.Ends), k.First)
	}
	runs := int64(0)
	for _, r := range k.Runs {
		if r[0] <= 0 || r[0] > int64(n) || r[1] < 0 || r[1] >= int64(len(k.Heads)) {
			return 0, fmt.Errorf("%w: %d of them have head %d of %d", ErrKeep, r[0], r[1], len(k.Heads))
		}
		runs += r[0]
	}
	if runs != int64(n) {
		return 0, fmt.Errorf("%w: %d of %d have heads", ErrKeep, runs, n)
	}
	last := uint32(0)
	for i := range n {
		end := binary.LittleEndian.Uint32(k.Ends[4*i:])
		if end < last {
			return 0, fmt.Errorf("%w: number %d ends before it begins", ErrKeep, i)
		}
		last = end
	}
	if int(last) != len(k.Tails) {
		return 0, fmt.Errorf("%w: they have %d bytes of %d", ErrKeep, last, len(k.Tails))
	}
	return n, nil
}

// Bounds of an append that is made of what is kept.
const (
	maxBytes = 8 << 20 // of items, unless one call has more
	maxCalls = 20_000
)

// batch is an append in the making.
type batch struct {
	items [][]byte
	upto  uint64
	bytes int
	heads map[string]int // which item has a head
	most  int
}

// add adds one call, as api.ExchangeKeep says; false if there is no room for it.
func (b *batch) add(number uint64, head, tail []byte) bool {
	at, known := b.heads[string(head)]
	size := 5 + len(tail)
	if !known {
		size += len(head)
	}
	if n := len(b.items); n > 0 && (n >= b.most || b.bytes+size > maxBytes) {
		return false
	}
	item := make([]byte, 0, size)
	if known {
		item = binary.LittleEndian.AppendUint32(append(item, 1), uint32(len(b.items)-at))
	} else {
		b.heads[string(head)] = len(b.items)
		item = binary.LittleEndian.AppendUint32(append(item, 0), uint32(len(head)))
		item = append(item, head...)
	}
	b.items = append(b.items, append(item, tail...))
	b.bytes += size
	b.upto = number + 1
	return true
}

// addAll adds the calls of a frame that are in spans; false if there is no room for all.
func (b *batch) addAll(k *api.ExchangeKeep, calls []Span) bool {
	number, start := k.First, uint32(0)
	for _, r := range k.Runs {
		for range r[0] {
			i := number - k.First
			end := binary.LittleEndian.Uint32(k.Ends[4*i:])
			for len(calls) > 0 && calls[0].Last <= number {
				calls = calls[1:]
			}
			if len(calls) == 0 {
				return true
			}
			if calls[0].First <= number && !b.add(number, k.Heads[r[1]], k.Tails[start:end]) {
				return false
			}
			number, start = number+1, end
		}
	}
	return true
}
