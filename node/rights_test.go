package node

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
)

// The commands offer the rights that there are, which package api may not take from package p2p.
func TestRightsHaveOneList(t *testing.T) {
	var names []string
	for _, r := range p2p.AllRights() {
		names = append(names, string(r))
	}
	if !slices.Equal(names, api.Rights()) {
		t.Errorf("p2p has %v, api %v", names, api.Rights())
	}
}
