package rootexec_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestFriendsAreWhatWasPlanned: on this host a friend in several files has another number of entries in one of them,
// so that all behind it would stand beside the wrong ones. The input is refused as one of another host, and says why.
// So is one that is to be looked up by what one of the trees does not have: ROOT then reads it by number.
func TestFriendsAreWhatWasPlanned(t *testing.T) {
	dir := t.TempDir()
	roottest.Find(t).MakeChains(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	s := loadJob(t, rootexec.SharedExecutor(t), roottest.Selector(t, "Beside.C"))
	defer s.Release()
	try := func(fr exec.Friend, option string) error {
		t.Helper()
		packed, err := exec.Selection{Friends: []exec.Friend{fr}}.Pack()
		if err != nil {
			t.Fatal(err)
		}
		selection := filepath.Join(t.TempDir(), "selection")
		if err := os.WriteFile(selection, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		return s.Probe(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()},
			rootexec.Told{Option: option, Selection: selection}, at("m0.root"), "ev")
	}
	good := exec.Friend{Part: "fr", Files: []exec.FriendFile{
		{File: at("f0.root"), Part: "fr", Entries: 1200}, {File: at("f1.root"), Part: "fr", Entries: 2077},
	}}
	if err := try(good, "x"); err != nil {
		t.Fatalf("the friend that was planned: %v", err)
	}
	for i, name := range []string{"f0.root", "f1.root"} {
		bad := good
		bad.Files = append([]exec.FriendFile{}, good.Files...)
		bad.Files[i].Entries++
		var f *exec.Failure
		if err := try(bad, "x"); !errors.As(err, &f) || f.Host != exec.CauseDiffers || f.File != at(name) ||
			!strings.Contains(f.Msg, "where it was planned") || !strings.Contains(f.Msg, " in "+at(name)+" ") {
			t.Errorf("another %s: %+v", name, err)
		}
	}
	for i := range good.Files { // a file with as many entries that was written anew
		name := good.Files[i].File
		p, err := rootexec.SharedExecutor(t).Plan(t.Context(), name, "fr", 0)
		if err != nil || p.UUID == "" {
			t.Fatalf("%+v, %v", p, err)
		}
		same := good
		same.Files = append([]exec.FriendFile{}, good.Files...)
		same.Files[i].UUID = p.UUID
		if err := try(same, "x"); err != nil {
			t.Errorf("%s with its own UUID: %v", name, err)
		}
		same.Files[i].UUID = "00000000-0000-0000-0000-000000000000"
		var f *exec.Failure
		if err := try(same, "x"); !errors.As(err, &f) || f.Host != exec.CauseDiffers || f.File != name ||
			!strings.Contains(f.Msg, "the friend fr in "+name+" has the UUID "+p.UUID) {
			t.Errorf("%s with another UUID: %+v", name, err)
		}
	}
	bad := good
	bad.Files = []exec.FriendFile{good.Files[0], {File: at("f1.root"), Part: "none", Entries: 2077}}
	if err := try(bad, "x"); err == nil || !strings.Contains(err.Error(), `no tree "none"`) {
		t.Errorf("a file without the friend's tree: %v", err)
	}
	index := exec.Friend{Part: "ix", Files: []exec.FriendFile{{File: at("index.root"), Part: "ix", Entries: 3277}}}
	for _, tc := range []struct {
		key  []string
		want string // of the error; empty if there is to be none
	}{
		{[]string{"run", "sub"}, ""},
		{[]string{"run+0", "sub"}, ""},
		{[]string{"run"}, ""},
		{[]string{"nope"}, `the friend ix cannot be looked up by "nope", which cannot be used in its tree ix: `},
		{[]string{"run", "nope"}, `by "run,nope", which cannot be used in its tree ix: `},
		{[]string{"event"}, `by "event", which cannot be used in its tree ix: `},
		{[]string{"y"}, `by "y", which cannot be used in the job's tree ev`},
		{[]string{"run", "y"}, `by "y", which cannot be used in the job's tree ev`},
	} {
		index.Key = tc.key
		err := try(index, "y")
		var f *exec.Failure
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("a friend by %q: %v", tc.key, err)
		case tc.want != "" && (!errors.As(err, &f) || f.Kind != exec.KindCode || !strings.Contains(f.Msg, tc.want)):
			t.Errorf("a friend by %q: %+v, want %q", tc.key, err, tc.want)
		}
	}
}

// reports are what a generation says of its packets: nil for one that was done.
type reports chan *exec.Failure

func (r reports) PacketDone(d exec.Done) { r <- d.Refused }
func (r reports) Failed(f *exec.Failure) { r <- f }
func (r reports) Output(string)          {}

// TestFriendIsReplacedInMidJob: the second file of a friend is another one, with as many entries, or is gone, when a
// generation comes to it, which has seen it before. It is refused then as one that differs from the beginning is, and
// so is a friend in one file.
func TestFriendIsReplacedInMidJob(t *testing.T) {
	dir, anew := t.TempDir(), t.TempDir()
	roottest.Find(t).MakeChains(t, dir)
	roottest.Find(t).MakeChains(t, anew)
	at := func(name string) string { return filepath.Join(dir, name) }
	e := rootexec.SharedExecutor(t)
	s := loadJob(t, e, roottest.Selector(t, "Beside.C"))
	defer s.Release()
	planned := func(names ...string) exec.Friend {
		fr := exec.Friend{Part: "fr"}
		for _, name := range names {
			p, err := e.Plan(t.Context(), at(name), "fr", 0)
			if err != nil || p.UUID == "" {
				t.Fatalf("planned %+v: %v", p, err)
			}
			fr.Files = append(fr.Files, exec.FriendFile{File: p.File, Part: p.Part, Entries: p.Entries, UUID: p.UUID})
		}
		return fr
	}
	begin := func(fr exec.Friend) (exec.Generation, reports) {
		t.Helper()
		packed, err := exec.Selection{Friends: []exec.Friend{fr}}.Pack()
		if err != nil {
			t.Fatal(err)
		}
		selection := filepath.Join(t.TempDir(), "selection")
		if err := os.WriteFile(selection, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		said := make(reports, 4)
		g, err := s.Start(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()},
			rootexec.Told{Option: "x", Selection: selection}, said)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Kill)
		return g, said
	}
	run := func(g exec.Generation, said reports, p exec.Packet) *exec.Failure {
		t.Helper()
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
		return <-said
	}
	replace := func(name, by string) {
		t.Helper()
		if err := os.Rename(by, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, f *exec.Failure, cause exec.Cause, name, says string) {
		t.Helper()
		if f == nil || f.Kind != exec.KindOpen || f.Host != cause || f.File != at(name) || !strings.Contains(f.Msg, says) {
			t.Errorf("%s: %+v, want %q of %s that says %q", what, f, cause, name, says)
		}
	}
	first := exec.Packet{ID: 1, File: at("m0.root"), Part: "ev", Last: 1000, Entries: 1000}
	// Of these the first 200 stand beside entries of f0.root.
	second := exec.Packet{ID: 2, File: at("m1.root"), Part: "ev", Last: 777, Entries: 777, Base: 1000, Start: 1000}

	two := planned("f0.root", "f1.root")
	g, said := begin(two)
	late, lateSaid := begin(two)
	gone, goneSaid := begin(two)
	for _, of := range []struct {
		g    exec.Generation
		said reports
	}{{g, said}, {late, lateSaid}, {gone, goneSaid}} {
		if f := run(of.g, of.said, first); f != nil {
			t.Fatalf("nothing was replaced yet: %+v", f)
		}
	}
	if f := run(late, lateSaid, second); f != nil {
		t.Fatalf("nothing was replaced yet, and both files were read: %+v", f)
	}
	replace("f1.root", filepath.Join(anew, "f1.root"))
	want("replaced in mid-job", run(g, said, second), exec.CauseDiffers, "f1.root", "written anew, with as many entries")
	if err := os.Remove(at("f1.root")); err != nil {
		t.Fatal(err)
	}
	want("gone in mid-job", run(gone, goneSaid, second), exec.CauseMissing, "f1.root",
		"the friend fr in "+at("f1.root")+" cannot be opened here: No such file")

	one := planned("fr.root")
	replace("fr.root", filepath.Join(anew, "fr.root"))
	g, said = begin(one)
	want("another from the beginning", run(g, said, first), exec.CauseDiffers, "fr.root",
		"the friend fr in "+at("fr.root")+" has the UUID ")
	one.Files[0].UUID = "" // as --allow-copies has it
	g, said = begin(one)
	if f := run(g, said, first); f != nil {
		t.Errorf("a copy that is allowed: %+v", f)
	}

	// A chain opens the job's own file once more, by its name, when it comes back to it.
	uuid, err := e.Plan(t.Context(), at("m0.root"), "ev", 0)
	if err != nil {
		t.Fatal(err)
	}
	first.UUID, first.Last = uuid.UUID, 500
	g, said = begin(one)
	for _, p := range []exec.Packet{first, second} {
		if f := run(g, said, p); f != nil {
			t.Fatalf("nothing was replaced yet: %+v", f)
		}
	}
	replace("m0.root", filepath.Join(anew, "m0.root"))
	first.First, first.Last = 500, 1000
	f := run(g, said, first)
	if f == nil || f.Host != exec.CauseDiffers || !strings.Contains(f.Msg, "the file's UUID is") {
		t.Errorf("the job's own file was replaced: %+v", f)
	}
}
