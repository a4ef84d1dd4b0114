package node

import (
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// netKeys signs with this node's key what replicas prove to others, and checks what others signed by their peer ids.
type netKeys struct{ *p2p.Node }

// Verify implements quorum.Keys.
func (netKeys) Verify(by tasks.PeerID, text, sig []byte) bool {
	return p2p.Verify(by, text, sig) == nil
}
