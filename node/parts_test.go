package node

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// somePart is a partial of a job, of units in a row.
func somePart(id tasks.JobID, seq uint64, first, last int64, blob string) merge.Partial {
	r := tasks.R(first, last)
	return merge.Partial{
		ID:     merge.ID{Node: "maker", Seq: seq},
		Job:    id,
		Cover:  tasks.CoverOf(r),
		Units:  r.Len(),
		Canary: tasks.Canary(id.Seed(), r),
		SHA256: store.HashOf([]byte(blob)),
		Size:   int64(len(blob)),
		Holder: "maker",
	}
}

// TestPartsAreThoseOfTheProvenEnd: what a member keeps of a job that is retried is taken for what its result was made
// of if the voters of its ledger have signed that, and for no other reason but that it is the submitter's.
func TestPartsAreThoseOfTheProvenEnd(t *testing.T) {
	d := openWithout(t, "asker")
	defer d.Close()
	owner, keeper := admit(t, d, "owner", p2p.Submitter), admit(t, d, "keeper", p2p.Worker, p2p.Submitter)
	defer owner.Close()
	defer keeper.Close()
	until(t, "both are up", func() bool { return len(d.cluster.Up()) == 2 })
	id, body, b := signedJob(t, owner, "")
	name := signedName(owner)
	for _, at := range []*Daemon{owner, keeper} { // which know whose job it is
		j := at.jobs.Book().New(name)
		j.With(func(s *jobs.State) { s.Desc = &tasks.Job{Submitter: owner.net.ID()} })
		j.Adopt(api.JobStatus{ID: name, State: api.Partial}, false)
		close(j.Done)
		at.jobs.Book().Add(j)
	}
	honest := []merge.Partial{somePart(id, 1, 0, 40, "a"), somePart(id, 2, 50, 70, "b")}
	forged := slices.Clone(honest)
	forged[1].SHA256 = store.HashOf([]byte("forged"))
	keep := func(at *Daemon, parts []merge.Partial) {
		t.Helper()
		index, err := wire.Marshal(&store.MadeOf{Job: id, Signature: b, Parts: parts})
		if err == nil {
			err = errors.Join(durable.Write(at.results.PartPath(name, string(id)), body),
				durable.Write(at.results.PartPath(name, "index"), index))
		}
		if err != nil {
			t.Fatal(err)
		}
		at.results.ShareParts(name)
	}
	signed, none := store.MadeOf{Job: id, Parts: honest}.Sum(), ""
	for what, tc := range map[string]struct {
		sum   string
		parts []merge.Partial
		with  *Daemon
		says  string // empty: they are taken
	}{
		"honest":                         {signed, honest, keeper, ""},
		"honest, in another order":       {signed, []merge.Partial{honest[1], honest[0]}, keeper, ""},
		"honest, of the submitter":       {signed, honest, owner, ""},
		"another blob":                   {signed, forged, keeper, "not the partial results"},
		"another blob, of the submitter": {signed, forged, owner, "not the partial results"},
		"another blob, here":             {signed, forged, d, "no member"},
		"one left out":                   {signed, honest[:1], keeper, "not the partial results"},
		"not signed":                     {none, honest, keeper, "submitter's own node"},
		"not signed, of the submitter":   {none, honest, owner, ""},
		"not signed, kept here":          {none, honest, d, ""},
	} {
		keep(tc.with, tc.parts)
		found, err := d.jobs.FindParts(t.Context(), "", api.JobStatus{
			ID:          name,
			Submitter:   owner.net.ID(),
			State:       api.Partial,
			PartsSHA256: tc.sum,
		})
		var refused *jobs.NotKept
		var told *api.Error
		switch {
		case tc.says == "" && (err != nil || len(found.Parts) != len(tc.parts)):
			t.Errorf("%s: not taken: %v", what, err)
		case tc.says != "" &&
			(!errors.As(err, &refused) || !strings.Contains(refused.Error(), tc.says) ||
				!errors.As(jobs.RetryLost(api.JobStatus{}, err), &told) || told.Status != http.StatusGone):
			t.Errorf("%s: %+v, %v", what, found, err)
		}
		tc.with.results.RemoveParts(name)
	}
}
