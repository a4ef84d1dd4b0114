package jobs

import (
	"testing"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
)

// A lost range that spans files is told file by file, in local entries.
func TestMissingIsToldByFile(t *testing.T) {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: 10}, {URL: "empty"}, {URL: "b", Entries: 10}})
	if err != nil {
		t.Fatal(err)
	}
	lost := []ledger.Lost{{
		Range:  tasks.R(8, 13),
		Failed: ledger.Failed{Nodes: []tasks.PeerID{"p", "q"}, Tries: 3, Failure: ledger.Failure{Kind: "signal"}},
	}}
	got := missing(&tasks.Job{Data: *data}, lost, map[tasks.PeerID]members.Name{"p": {Name: "alice"}})
	if len(got) != 2 || got[0].File != "a" || got[0].First != 8 || got[0].Last != 10 || got[1].File != "b" ||
		got[1].First != 0 || got[1].Last != 3 {
		t.Errorf("got %+v", got)
	}
	if got[0].Nodes[0] != "alice" || got[0].Nodes[1] != "q" {
		t.Errorf("nodes %v", got[0].Nodes)
	}
}
