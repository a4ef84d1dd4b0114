package node

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// keepLedger makes a daemon a replica of a job that was submitted on it, one of three. The job's sources are
// packed already.
func keepLedger(t *testing.T, d *Daemon, nonce int, source string) tasks.JobID {
	t.Helper()
	data, err := tasks.NewDataset([]tasks.File{{URL: "f", Part: "T", Entries: 100, Clusters: []int64{0}}})
	if err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: d.net.ID(),
		Nonce:     tasks.NonceOf(d.net.ID(), tasks.NonceSalt{byte(nonce)}),
		Work:      workOf(source),
		Data:      *data,
		Want:      tasks.R(0, 100),
	}
	body, err := wire.Marshal(desc)
	if err != nil {
		t.Fatal(err)
	}
	j := d.jobs.Book().New(fmt.Sprintf("%032x", desc.Nonce))
	j.With(func(s *jobs.State) {
		s.ID, s.Desc, s.Home, s.SubmittedHere, s.Running = tasks.NameOf(body), desc, d.net.ID(), true, time.Now()
	})
	_, err = d.blobs.Put(d.blobs.JobDir(stateOf(j).ID), body)
	d.jobs.Book().Identify(stateOf(j).ID, j)
	self := quorum.NewVoter(d.net.ID(), uint64(nonce)+1)
	voters := []quorum.Voter{self, quorum.NewVoter("other", 1), quorum.NewVoter("third", 1)}
	if err == nil {
		_, err = d.jobs.MakeCopy(engine.FoundLedger{ID: stateOf(j).ID, Log: quorum.Log{Self: self, Voters: voters}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return stateOf(j).ID
}

// A daemon that starts again has its ledgers before it hears of anybody: of a job that it hears of first it would
// make no more than a worker, and its vote would be missing.
func TestLedgersAreBackBeforeAnythingElse(t *testing.T) {
	d := openWithout(t, "replica")
	source, err := d.blobs.Ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []tasks.JobID
	for i := range 30 {
		ids = append(ids, keepLedger(t, d, i, source))
	}
	cfg := d.cfg
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	missing := 0
	again.loop.Ask(func(p *engine.Peer) {
		for _, id := range ids {
			if _, ok := p.Ledger(id); !ok {
				missing++
			}
		}
	})
	if missing > 0 {
		t.Errorf("%d of %d ledgers in %q are not back", missing, len(ids), filepath.Join(cfg.StateDir, "ledgers"))
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
