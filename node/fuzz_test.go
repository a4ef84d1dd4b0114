package node

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// FuzzJob decodes whatever a member serves as a job's description: what passes its checks can be planned
// with, and nothing panics.
func FuzzJob(f *testing.F) {
	for _, files := range [][]tasks.File{
		{{URL: "a", Part: "T", Entries: 10, Clusters: []int64{0, 5}}, {URL: "b", Entries: 3}},
		{
			{URL: "a", Part: "T", Entries: 10, UUID: "0b8c4d1e-6c1e-11f0-9a3c-0100007fbeef"},
			{URL: "b", Entries: 3, UUID: "\xff"},
		},
	} {
		data, err := tasks.NewDataset(files)
		if err != nil {
			f.Fatal(err)
		}
		b, err := wire.Marshal(&tasks.Job{Protocol: tasks.Protocol, Nonce: make([]byte, 16), Data: *data, Want: data.Space()})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, l := range []tasks.Limits{
		{Stall: 1, Open: -1},
		{EntryCPU: 3, Memory: 1},
		{FileSize: 1, Scratch: -1, Processes: -1},
	} {
		b, err := wire.Marshal(&tasks.Job{Protocol: tasks.Protocol, Nonce: make([]byte, 16), Limits: l})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var desc tasks.Job
		if wire.Unmarshal(b, &desc) != nil || desc.Check() != nil {
			return
		}
		l := new(Config).workerLimits().For(desc.Limits)
		if l.Stall != 0 && l.Stall < time.Second || l.Open != 0 && l.Open < time.Second ||
			l.EntryCPU != 0 && l.EntryCPU < time.Second ||
			min(l.Memory, l.FileSize, l.Scratch, int64(l.Processes)) < 0 {
			t.Fatalf("children would run with %+v", l)
		}
		for _, u := range []int64{desc.Want.First, desc.Want.Last - 1} {
			if desc.Want.Contains(u) {
				i, entry := desc.Data.Locate(u)
				if entry < 0 || entry >= desc.Data.Files[i].Entries {
					t.Fatalf("unit %d is entry %d of a file of %d", u, entry, desc.Data.Files[i].Entries)
				}
				if c := desc.Data.Cluster(u); !c.Contains(u) {
					t.Fatalf("unit %d is not in its cluster %v", u, c)
				}
			}
		}
	})
}

// FuzzBrief decodes whatever is served as what there is to know of a job before its description is fetched.
func FuzzBrief(f *testing.F) {
	b, err := wire.Marshal(&store.Signature{Signer: "s", Sig: []byte{1}, Size: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var br store.Signature
		id := tasks.NameOf([]byte("job"))
		if wire.Unmarshal(b, &br) == nil && br.Check(id) == nil && (br.Size <= 0 || br.Size > store.MaxDescription) {
			t.Fatalf("a description of %d bytes would be fetched", br.Size)
		}
	})
}
