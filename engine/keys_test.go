package engine

import (
	"crypto/sha256"

	"github.com/dtpnode/dtpnode/tasks"
)

// testKeys are the modelled keys of one node: a signature is a hash of the node's secret and the text. Verify knows all
// secrets, and no node can sign as another, for it is given its own keys alone.
type testKeys tasks.PeerID

// Sign implements quorum.Keys.
func (k testKeys) Sign(text []byte) []byte {
	h := sha256.Sum256(append([]byte("secret of "+k+"\x00"), text...))
	return h[:16]
}

// Verify implements quorum.Keys.
func (testKeys) Verify(by tasks.PeerID, text, sig []byte) bool {
	return string(testKeys(by).Sign(text)) == string(sig)
}
