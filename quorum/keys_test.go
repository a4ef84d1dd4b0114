package quorum_test

import (
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
)

// group is the name of the groups under test.
const group = "job"

// keys are those of one peer of a test.
type keys = modelkeys.Keys

func sign(text []byte, by ...tasks.PeerID) (sigs []quorum.Signature) {
	for _, p := range by {
		sigs = append(sigs, quorum.Signature{By: p, Sig: keys(p).Sign(text)})
	}
	return sigs
}

func trust(founders ...tasks.PeerID) quorum.Trust {
	return quorum.Trust{Keys: keys("anybody"), Group: group, Founders: founders}
}
