package child

import (
	"bytes"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// FuzzReply reads whatever a child may send: it runs user code, which may write over anything.
func FuzzReply(f *testing.F) {
	for _, r := range []Reply{
		{Partial: exec.Partial{Units: 3, Canary: 7}}, {Kind: "signal", Msg: "m", Partial: exec.Partial{Apart: []string{"h"}}},
		{Op: "done", Done: exec.Done{ID: 1, Last: 2, Elapsed: 3, Opened: true}},
	} {
		b, err := frame(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readReply(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(r.Apart) > len(b) {
			t.Fatalf("%d names out of %d bytes", len(r.Apart), len(b))
		}
		var again Reply
		if err := r.Decode(&again); err != nil || again.Op != r.Op {
			t.Fatalf("what was read as %q is read by its runtime as %q: %v", r.Op, again.Op, err)
		}
	})
}
