// Package modelkeys has fast fake keys for tests and the simulator, with the properties of real ones that proofs need.
package modelkeys

import (
	"crypto/sha256"

	"github.com/dtpnode/dtpnode/tasks"
)

// Keys are the fake keys of the node with this name: a signature is a hash of the node's secret and the text. Verify
// can compute all secrets, so nobody can sign as another node as long as each is given only its own keys.
type Keys tasks.PeerID

// Sign implements quorum.Keys.
func (k Keys) Sign(text []byte) []byte {
	h := sha256.Sum256(append([]byte("secret of "+k+"\x00"), text...))
	return h[:16]
}

// Verify implements quorum.Keys.
func (Keys) Verify(by tasks.PeerID, text, sig []byte) bool {
	return string(Keys(by).Sign(text)) == string(sig)
}
