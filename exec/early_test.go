package exec

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// TestHeld reads values that a process holds, and refuses those that are nowhere: the process is the user's code, and
// may say anything.
func TestHeld(t *testing.T) {
	file := strings.NewReader("..abcde")
	h := &Held{FD: 3, At: 2, Ends: []uint64{1, 1, 4}, File: file}
	if err := h.Check(); err != nil || h.Len() != 3 {
		t.Fatal(h.Len(), err)
	}
	for i, want := range []string{"a", "", "bcd"} {
		if got, err := h.Value(i); err != nil || string(got) != want {
			t.Errorf("value %d is %q, %v", i, got, err)
		}
	}
	if first := h.Until(1); first.Len() != 1 || h.Len() != 3 {
		t.Errorf("%d of %d values", first.Len(), h.Len())
	}
	for name, h := range map[string]*Held{
		"no descriptor": {FD: -1},
		"before it":     {At: -1},
		"backwards":     {Ends: []uint64{2, 1}},
		"beyond":        {At: 1, Ends: []uint64{math.MaxInt64}},
		"far beyond":    {Ends: []uint64{math.MaxUint64}},
	} {
		if !errors.Is(h.Check(), ErrHeld) {
			t.Errorf("%s: taken", name)
		}
	}
	for name, end := range map[string]uint64{"cut off": 6, "large": maxHeld + 1, "huge": math.MaxInt64 - 2} {
		h := &Held{FD: 3, Ends: []uint64{2 + end}, File: file}
		if _, err := h.Value(0); !errors.Is(err, ErrHeld) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
