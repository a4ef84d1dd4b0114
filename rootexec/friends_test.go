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
