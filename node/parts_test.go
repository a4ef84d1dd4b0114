package node

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// somePart is a partial of a job, of units in a row.
func somePart(id tasks.JobID, seq uint64, first, last int64, blob string) merge.Partial {
	r := tasks.R(first, last)
	return merge.Partial{ID: merge.ID{Node: "maker", Seq: seq}, Job: id, Cover: tasks.CoverOf(r), Units: r.Len(), Canary: tasks.Canary(id.Seed(), r),
		SHA256: store.HashOf([]byte(blob)), Size: int64(len(blob)), Holder: "maker"}
}

// TestPartsAreThoseOfTheProvenEnd: what a member keeps of a job that is retried is taken for what its result was made of if
// the voters of its ledger have signed that, and for no other reason but that it is the submitter's.
func TestPartsAreThoseOfTheProvenEnd(t *testing.T) {
	d := openWithout(t, "asker")
	defer d.Close()
	owner, keeper := admit(t, d, "owner", p2p.Submitter), admit(t, d, "keeper", p2p.Worker, p2p.Submitter)
	defer owner.Close()
	defer keeper.Close()
	until(t, "both are up", func() bool { return len(d.upPeers()) == 2 })
	id, body, b := signedJob(t, owner, "")
	name := signedName(owner)
	for _, at := range []*Daemon{owner, keeper} { // which know whose job it is
		j := newJob(at.ctx, name)
		j.desc = &tasks.Job{Submitter: owner.net.ID()}
		j.adopt(api.JobStatus{ID: name, State: api.Partial}, false)
		close(j.done)
		at.mu.Lock()
		at.byName[name] = j
		at.mu.Unlock()
	}
	honest := []merge.Partial{somePart(id, 1, 0, 40, "a"), somePart(id, 2, 50, 70, "b")}
	forged := slices.Clone(honest)
	forged[1].SHA256 = store.HashOf([]byte("forged"))
	keep := func(at *Daemon, parts []merge.Partial) {
		t.Helper()
		dir := at.partsDir(name)
		index, err := wire.Marshal(&keptParts{Job: id, Signature: b, Parts: parts})
		if err == nil {
			err = errors.Join(durable.Write(filepath.Join(dir, string(id)), body), durable.Write(filepath.Join(dir, partsIndex), index))
		}
		if err != nil {
			t.Fatal(err)
		}
		at.shareParts(name)
	}
	signed, none := sumOfParts(id, honest), ""
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
		found, err := d.findParts(t.Context(), "", api.JobStatus{ID: name, Submitter: owner.net.ID(), State: api.Partial, PartsSHA256: tc.sum})
		var refused *api.Error
		switch {
		case tc.says == "" && (err != nil || len(found.Parts) != len(tc.parts)):
			t.Errorf("%s: not taken: %v", what, err)
		case tc.says != "" && (!errors.As(err, &refused) || refused.Status != http.StatusGone || !strings.Contains(refused.Message, tc.says)):
			t.Errorf("%s: %+v, %v", what, found, err)
		}
		tc.with.dropParts(name)
	}
}

// TestSumOfParts: nothing that decides about a result can change beneath the same hash.
func TestSumOfParts(t *testing.T) {
	id := tasks.NameOf([]byte("job"))
	parts := func() []merge.Partial {
		return []merge.Partial{somePart(id, 1, 0, 40, "a"), somePart(id, 2, 50, 70, "b")}
	}
	want := sumOfParts(id, parts())
	moved := parts()
	moved[0].ID.Seq, moved[0].Holder, moved[0].Kids, moved[0].Climb = 9, "other", []merge.ID{{Node: "x"}}, 3
	if sumOfParts(id, moved) != want {
		t.Error("where a partial lies changes the hash")
	}
	for what, change := range map[string]func(p *merge.Partial){
		"cover":  func(p *merge.Partial) { p.Cover = tasks.CoverOf(tasks.R(0, 10), tasks.R(11, 41)) },
		"units":  func(p *merge.Partial) { p.Units++ },
		"canary": func(p *merge.Partial) { p.Canary++ },
		"blob":   func(p *merge.Partial) { p.SHA256 += "\n" },
		"size":   func(p *merge.Partial) { p.Size++ },
	} {
		ps := parts()
		change(&ps[0])
		if sumOfParts(id, ps) == want {
			t.Errorf("the %s does not change the hash", what)
		}
	}
	if sumOfParts(tasks.NameOf([]byte("other")), parts()) == want {
		t.Error("the job does not change the hash")
	}
}

// TestPartsStayWhereTheyAre: a daemon that starts again learns anew of an end, and then leaves the folder alone, which a retry
// may be reading; one from which a file has gone is made anew.
func TestPartsStayWhereTheyAre(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	id, body, b := signedJob(t, d, "")
	c := &store.Copy{ID: id, Signature: b, Dir: d.ledgers.FolderOf(id), Job: &tasks.Job{Code: tasks.Code{Source: store.HashOf([]byte("source"))}}}
	parts := []merge.Partial{somePart(id, 1, 0, 40, "a"), somePart(id, 2, 50, 70, "b")}
	for path, data := range map[string][]byte{
		c.BodyPath(): body, c.SourcePath(): []byte("source"),
		d.ledgers.KeptPath(id, parts[0]): []byte("a"), d.ledgers.KeptPath(id, parts[1]): []byte("b"),
	} {
		if err := durable.Write(path, data); err != nil {
			t.Fatal(err)
		}
	}
	name := signedName(d)
	link := func(parts ...merge.Partial) os.FileInfo {
		t.Helper()
		if err := d.linkParts(name, c, parts); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Stat(d.partsDir(name))
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := link(parts...)
	if !os.SameFile(first, link(parts[1], parts[0])) {
		t.Error("what is there was made anew")
	}
	if err := os.Remove(filepath.Join(d.partsDir(name), parts[0].SHA256)); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(first, link(parts...)) || store.SizeOf(filepath.Join(d.partsDir(name), parts[0].SHA256)) != 1 {
		t.Error("what is missing was not put there again")
	}
	if link(parts[0]); store.SizeOf(filepath.Join(d.partsDir(name), parts[1].SHA256)) >= 0 {
		t.Error("the partials of another end are there")
	}
}
