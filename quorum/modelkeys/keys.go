// Package modelkeys has keys for tests and the simulator: they sign fast, and prove to others what real ones do.
package modelkeys

import (
	"crypto/sha256"

	"github.com/dtpnode/dtpnode/tasks"
)

// Keys are the modelled keys of one node, which its name stands for: a signature is a hash of the node's secret and the
// text. Verify knows all secrets; no node signs as another as long as it is given its own keys alone.
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
