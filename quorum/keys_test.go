package quorum_test

import (
	"crypto/sha256"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// group is the name of the groups under test.
const group = "job"

// keys are those of one peer of a test: a signature is a hash of the peer's secret and the text, and only the
// peer's own keys make it.
type keys tasks.PeerID

func (k keys) Sign(text []byte) []byte { return mac(tasks.PeerID(k), text) }

func (k keys) Verify(by tasks.PeerID, text, sig []byte) bool {
	return string(mac(by, text)) == string(sig)
}

func mac(p tasks.PeerID, text []byte) []byte {
	h := sha256.Sum256(append([]byte("secret of "+p+"\x00"), text...))
	return h[:16]
}

func sign(text []byte, by ...tasks.PeerID) (sigs []quorum.Signature) {
	for _, p := range by {
		sigs = append(sigs, quorum.Signature{By: p, Sig: keys(p).Sign(text)})
	}
	return sigs
}

func trust(founders ...tasks.PeerID) quorum.Trust {
	return quorum.Trust{Keys: keys("anybody"), Group: group, Founders: founders}
}
