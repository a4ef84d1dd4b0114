package plan

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// lister is a runtime that has planned and listed everything: 100 entries a file, in clusters of 10, and objects by
// their names.
type lister struct {
	exec.Runtime
	objects map[string]exec.Listing
}

func (l lister) Info() exec.Info { return exec.Info{Kind: "fake", Version: "1"} }

func (l lister) Plan(_ context.Context, file, part string, _ time.Duration) (exec.Plan, error) {
	p := exec.Plan{File: file, Part: part, Entries: 100, Bytes: 1000}
	for c := int64(0); c < 100; c += 10 {
		p.Clusters = append(p.Clusters, c)
	}
	return p, nil
}

func (l lister) List(_ context.Context, _, object string, _ time.Duration) (exec.Listing, error) {
	if out, ok := l.objects[object]; ok {
		return out, nil
	}
	return exec.Listing{}, &exec.Failure{Kind: exec.KindSchema, Msg: "no such object"}
}

// nobody is a cluster without other members.
type nobody struct{ Members }

func (nobody) ID() tasks.PeerID           { return "self" }
func (nobody) Names() Names               { return nil }
func (nobody) Planners([]string) []Member { return nil }

// selected expands a request, plans its files and has entries and friends chosen.
func selected(t *testing.T, rt exec.Runtime, req api.JobRequest) (read Read, s exec.Selection, err error) {
	t.Helper()
	pl := New(Config{Members: nobody{}, Log: slog.New(slog.DiscardHandler)})
	tell := func(string) {}
	if req, err = pl.Expand(t.Context(), rt, req); err != nil {
		return read, s, err
	}
	if read, err = pl.Files(t.Context(), rt, req, time.Minute, tell); err != nil {
		return read, s, err
	}
	packed, err := pl.Select(t.Context(), rt, req, &read, time.Minute, tell)
	if err != nil || packed == nil {
		return read, s, err
	}
	s, err = exec.UnpackSelection(packed)
	return read, s, err
}

// TestSelect: a chain names files by relative names, and a friend that has one itself; a list names entries of one of
// the files by a relative name, and one that the job does not read. What is not read is said.
func TestSelect(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a.root", "b.root", "f.root", "objects.root"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runs := exec.RunsOf([]int64{3, 4, 55})
	rt := lister{objects: map[string]exec.Listing{
		"chain": {Class: "TChain", Inputs: []exec.Input{{File: "a.root", Part: "T"}, {File: "b.root", Part: "T"}}},
		"friend": {
			Class: "TChain", Inputs: []exec.Input{{File: "f.root", Part: "F"}},
			Friends: []exec.Friend{{Part: "G", Files: []exec.FriendFile{{File: "g.root"}}}},
		},
		"list":   {Chosen: []exec.List{{File: "b.root", Part: "T", Runs: runs}, {File: "c.root", Part: "T", Runs: runs}}},
		"events": {Global: true, Chosen: []exec.List{{Runs: exec.RunsOf([]int64{99, 100, 199})}}},
		"beyond": {Global: true, Chosen: []exec.List{{Runs: exec.RunsOf([]int64{200})}}},
		"others": {Chosen: []exec.List{{File: "c.root", Part: "T", Runs: runs}}},
	}}
	object := func(name string) api.ObjectRef { return api.ObjectRef{URL: at("objects.root"), Object: name} }
	req := api.JobRequest{
		Dir: t.TempDir(), Files: []api.InputFile{{URL: at("objects.root"), Object: "chain"}},
		EntryLists: []api.ObjectRef{object("list")},
		Friends:    []api.FriendRef{{Part: "F", Files: []api.InputFile{{URL: at("objects.root"), Object: "friend"}}}},
	}
	read, s, err := selected(t, rt, req)
	if err != nil {
		t.Fatal(err)
	}
	a, b := read.Files[0], read.Files[1]
	if a.URL != at("a.root") || a.Entries != 0 || a.Of != 100 || b.Entries != 3 || b.Of != 100 ||
		!slices.Equal(b.Clusters, []int64{0, 2}) {
		t.Errorf("planned %+v", read.Files)
	}
	if len(s.Friends) != 1 || s.Friends[0].Files[0].File != at("f.root") || len(s.Lists) != 2 {
		t.Errorf("selected %+v", s)
	}
	notes := strings.Join(read.Notes, "\n")
	for _, says := range []string{
		`the friend "F" has the friend "G" itself, which is not read`,
		`the friend "F" has 100 entries, and the files have 200`,
		"also lists entries of 1 file that the job does not read, 3 in all", "of 200 entries 3 are listed",
	} {
		if !strings.Contains(notes, says) {
			t.Errorf("it is not said that %q: %s", says, notes)
		}
	}

	req.Friends, req.EntryLists = nil, []api.ObjectRef{object("events"), object("list")} // the union of both
	if read, _, err = selected(t, rt, req); err != nil || read.Files[0].Entries != 1 || read.Files[1].Entries != 5 {
		t.Errorf("two lists: %+v, %v", read.Files, err)
	}
	for name, says := range map[string]string{
		"beyond": "it lists entry 200, and the files have 200 entries", "others": `entries of tree "T" in "c.root"`,
		"none": "no such object",
	} {
		req.EntryLists = []api.ObjectRef{object(name)}
		var refused *api.Error
		if _, _, err := selected(t, rt, req); !errors.As(err, &refused) || !strings.Contains(refused.Message, says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
