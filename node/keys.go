package node

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// netKeys signs with this node's key what replicas prove to others, and checks what others signed by their peer ids.
type netKeys struct {
	*p2p.Node
	made *madeLately
}

// madeLately are signatures that this node has just made. It checks many of them itself, as those of appends that go
// into its own copy of a ledger: to make one again is dearer than to know it, and to check it dearer still.
type madeLately struct {
	mu   sync.Mutex
	next int
	made [64][sha256.Size]byte // hashes of texts with their signatures
}

func madeOf(text, sig []byte) [sha256.Size]byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(text)+len(sig)), uint64(len(text)))
	return sha256.Sum256(append(append(b, text...), sig...))
}

// Sign signs with this node's key.
func (k netKeys) Sign(text []byte) []byte {
	sig := k.Node.Sign(text)
	if sig == nil {
		return nil
	}
	k.made.mu.Lock()
	defer k.made.mu.Unlock()
	k.made.made[k.made.next] = madeOf(text, sig)
	k.made.next = (k.made.next + 1) % len(k.made.made)
	return sig
}

// Verify implements quorum.Keys.
func (k netKeys) Verify(by tasks.PeerID, text, sig []byte) bool {
	if by == k.ID() && k.made.has(madeOf(text, sig)) {
		return true
	}
	return p2p.Verify(by, text, sig) == nil
}

func (m *madeLately) has(hash [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.made[:], hash)
}
