package tasks

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestNonceIsItsSubmitters: what names a job of one member names none of another's, and a nonce that was changed
// nobody's.
func TestNonceIsItsSubmitters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt := NonceSalt(rapid.SliceOfN(rapid.Byte(), NonceSize/2, NonceSize/2).Draw(t, "salt"))
		who, other := rapid.String().Draw(t, "submitter"), rapid.String().Draw(t, "other")
		n := NonceOf(who, salt)
		if len(n) != NonceSize || !NonceIsOf(n, who) || !bytes.Equal(n[len(n)-len(salt):], salt[:]) {
			t.Fatalf("%x is not %q's", n, who)
		}
		if who != other && NonceIsOf(n, other) {
			t.Fatalf("%x is %q's and %q's", n, who, other)
		}
		n[rapid.IntRange(0, NonceSize-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
		if NonceIsOf(n, who) || NonceIsOf(n[1:], who) {
			t.Fatalf("%x is %q's still", n, who)
		}
	})
}
