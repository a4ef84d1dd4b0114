package child

import (
	"bytes"
	"testing"
)

// FuzzReply reads whatever a child may send: it runs user code, which may write over anything.
func FuzzReply(f *testing.F) {
	for _, r := range []Reply{{Units: 3, Canary: 7}, {Kind: "signal", Msg: "m", Apart: []string{"h"}}} {
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
