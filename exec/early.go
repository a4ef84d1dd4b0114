package exec

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Early is values of consecutive units that have run, and that no partial has yet. It may be used by several
// goroutines.
type Early interface {
	// Len is how many values there are.
	Len() int
	// Value returns one of them, from 0, which must not be changed. It may fail: then it is told from a partial.
	Value(i int) ([]byte, error)
	// InMemory is how many bytes of them are in memory as long as they are kept.
	InMemory() int
	// Until are the first n of them.
	Until(n int) Early
}

// EarlyList is values in memory.
type EarlyList [][]byte

// Len is how many values there are.
func (l EarlyList) Len() int { return len(l) }

// Value returns one of them.
func (l EarlyList) Value(i int) ([]byte, error) { return l[i], nil }

// Until are the first n of them.
func (l EarlyList) Until(n int) Early { return l[:n] }

// InMemory is the size of all.
func (l EarlyList) InMemory() (n int) {
	for _, v := range l {
		n += len(v)
	}
	return n
}

// Held is values that lie one after the other in a file which a process has open: they are read when they are wanted,
// also after the process has ended, for as long as its generation has not.
type Held struct {
	FD   int      `msgpack:"fd"`   // of the process
	At   int64    `msgpack:"at"`   // where the first value begins, in the file
	Ends []uint64 `msgpack:"ends"` // where each ends, counted from At

	File io.ReaderAt `msgpack:"-"` // the file, opened by the driver, which closes it when the generation ends
}

// ErrHeld says that values are not where a process says that they are.
var ErrHeld = errors.New("values lie outside of any file")

// Check refuses values that cannot lie in a file.
func (h *Held) Check() error {
	end := uint64(0)
	for _, e := range h.Ends {
		if e < end {
			return ErrHeld
		}
		end = e
	}
	if h.FD < 0 || h.At < 0 || end > uint64(math.MaxInt64-h.At) {
		return ErrHeld
	}
	return nil
}

// Len is how many values there are.
func (h *Held) Len() int { return len(h.Ends) }

// InMemory is what says where they are.
func (h *Held) InMemory() int { return 8 * len(h.Ends) }

// Until are the first n of them.
func (h *Held) Until(n int) Early {
	out := *h
	out.Ends = h.Ends[:n]
	return &out
}

// maxHeld bounds a value that is told early, in bytes: a file may be longer than any disk, and say nothing but zeros.
const maxHeld = 256 << 20

// Value reads one of them. The file must have all of it: the length, which a process says, is not trusted with memory
// before.
func (h *Held) Value(i int) ([]byte, error) {
	first := uint64(0)
	if i > 0 {
		first = h.Ends[i-1]
	}
	size := int64(h.Ends[i] - first)
	at := h.At + int64(first)
	if size > maxHeld {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are told early", ErrHeld, size, maxHeld)
	}
	if size > 0 {
		var last [1]byte
		if _, err := h.File.ReadAt(last[:], at+size-1); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeld, err)
		}
	}
	out := make([]byte, size)
	if _, err := h.File.ReadAt(out, at); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeld, err)
	}
	return out, nil
}
