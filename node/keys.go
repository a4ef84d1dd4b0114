package node

import (
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// netKeys signs votes in the replicated logs with this node's key, and checks those of others by their peer ids.
type netKeys struct{ *p2p.Node }

// Verify implements quorum.Keys.
func (netKeys) Verify(by tasks.PeerID, text, sig []byte) bool {
	return p2p.Verify(by, text, sig) == nil
}
