package rootexec

import (
	"bytes"
	"testing"
)

// FuzzBlob counts whatever lies where a partial should.
func FuzzBlob(f *testing.F) {
	f.Add([]byte("DTPBLOB1\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found := map[string]uint64{}
		_ = scanCounters(bytes.NewReader(b), int64(len(b)), found)
		if len(found) > len(b) {
			t.Fatalf("%d counters out of %d bytes", len(found), len(b))
		}
	})
}
