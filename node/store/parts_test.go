package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestSumOfParts: nothing that decides about a result can change beneath the same hash.
func TestSumOfParts(t *testing.T) {
	id := tasks.NameOf([]byte("job"))
	parts := func() []merge.Partial {
		return []merge.Partial{somePart(id, 1, 0, 40, "a"), somePart(id, 2, 50, 70, "b")}
	}
	want := MadeOf{Job: id, Parts: parts()}.Sum()
	moved := parts()
	moved[0].ID.Seq, moved[0].Holder, moved[0].Kids, moved[0].Climb = 9, "other", []merge.ID{{Node: "x"}}, 3
	if sum := (MadeOf{Job: id, Parts: moved}).Sum(); sum != want {
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
		if sum := (MadeOf{Job: id, Parts: ps}).Sum(); sum == want {
			t.Errorf("the %s does not change the hash", what)
		}
	}
	if sum := (MadeOf{Job: tasks.NameOf([]byte("other")), Parts: parts()}).Sum(); sum == want {
		t.Error("the job does not change the hash")
	}
}

// TestPartsStayWhereTheyAre: a daemon that starts again learns anew of an end, and then leaves the folder alone, which
// a retry may be reading; one from which a file has gone is made anew.
func TestPartsStayWhereTheyAre(t *testing.T) {
	l, end := newFolders(t).start(t)
	defer end()
	r := resultsIn(t, l.Blobs)
	c, _ := keep(t, l, 1)
	parts := []merge.Partial{somePart(c.ID, 1, 0, 40, "a"), somePart(c.ID, 2, 50, 70, "b")}
	for i, blob := range []string{"a", "b"} {
		if err := durable.Write(l.KeptPath(c.ID, parts[i]), []byte(blob)); err != nil {
			t.Fatal(err)
		}
	}
	name := c.Name()
	link := func(parts ...merge.Partial) os.FileInfo {
		t.Helper()
		if err := r.KeepParts(name, c, MadeOf{Parts: parts}); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Stat(r.partsDir(name))
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := link(parts...)
	if !os.SameFile(first, link(parts[1], parts[0])) {
		t.Error("what is there was made anew")
	}
	if err := os.Remove(r.PartPath(name, parts[0].SHA256)); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(first, link(parts...)) || SizeOf(r.PartPath(name, parts[0].SHA256)) != 1 {
		t.Error("what is missing was not put there again")
	}
	if link(parts[0]); SizeOf(r.PartPath(name, parts[1].SHA256)) >= 0 {
		t.Error("the partials of another end are there")
	}
	for _, hash := range []string{string(c.ID), c.Job.Work.Ships[0].SHA256, parts[0].SHA256} {
		if !r.Blobs.Has(hash, r.PartPath(name, hash)) && len(r.Blobs.Paths(hash)) == 0 {
			t.Errorf("others do not get %s", hash)
		}
	}
}

// resultsIn keeps results in folders of their own.
func resultsIn(t *testing.T, b *Blobs) *Results {
	return &Results{
		Dir:     t.TempDir(),
		EndsDir: filepath.Join(t.TempDir(), "ends"),
		Blobs:   b,
		Log:     slog.New(slog.DiscardHandler),
	}
}

// somePart is a partial of a job, of units in a row.
func somePart(id tasks.JobID, seq uint64, first, last int64, blob string) merge.Partial {
	r := tasks.R(first, last)
	return merge.Partial{
		ID:     merge.ID{Node: "maker", Seq: seq},
		Job:    id,
		Cover:  tasks.CoverOf(r),
		Units:  r.Len(),
		Canary: tasks.Canary(id.Seed(), r),
		SHA256: HashOf([]byte(blob)),
		Size:   int64(len(blob)),
		Holder: "maker",
	}
}
