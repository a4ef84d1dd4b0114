package rootexec

import (
	"bufio"
	"bytes"
	"testing"
)

// FuzzReply reads whatever a child may send: it runs user code, which may write over anything.
func FuzzReply(f *testing.F) {
	for _, r := range []reply{{Units: 3, Canary: 7}, {Kind: "signal", Msg: "m", Apart: []string{"h"}}} {
		b, err := frame(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := readReply(bytes.NewReader(b)); err == nil && len(r.Apart) > len(b) {
			t.Fatalf("%d names out of %d bytes", len(r.Apart), len(b))
		}
	})
}

// FuzzBlob counts whatever lies where a partial should.
func FuzzBlob(f *testing.F) {
	f.Add([]byte("DTPBLOB1\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found := map[string]uint64{}
		_ = scanCounters(bufio.NewReader(bytes.NewReader(b)), found)
		if len(found) > len(b) {
			t.Fatalf("%d counters out of %d bytes", len(found), len(b))
		}
	})
}
