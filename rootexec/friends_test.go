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

// TestFriendsAreWhatWasPlanned: on this host a friend in several files has another number of entries in one of them, so
// that all behind it would stand beside the wrong ones. The input is refused as one of another host, and says why.
func TestFriendsAreWhatWasPlanned(t *testing.T) {
	dir := t.TempDir()
	roottest.Find(t).MakeChains(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	s := loadJob(t, rootexec.SharedExecutor(t), roottest.Selector(t, "Beside.C"))
	defer s.Release()
	try := func(fr exec.Friend) error {
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
			rootexec.Told{Option: "x", Selection: selection}, at("m0.root"), "ev")
	}
	good := exec.Friend{Part: "fr", Files: []exec.FriendFile{
		{File: at("f0.root"), Part: "fr", Entries: 1200}, {File: at("f1.root"), Part: "fr", Entries: 2077},
	}}
	if err := try(good); err != nil {
		t.Fatalf("the friend that was planned: %v", err)
	}
	for i, name := range []string{"f0.root", "f1.root"} {
		bad := good
		bad.Files = append([]exec.FriendFile{}, good.Files...)
		bad.Files[i].Entries++
		var f *exec.Failure
		if err := try(bad); !errors.As(err, &f) || f.Host != exec.CauseDiffers || f.File != at(name) ||
			!strings.Contains(f.Msg, "where it was planned") {
			t.Errorf("another %s: %+v", name, err)
		}
	}
	bad := good
	bad.Files = []exec.FriendFile{good.Files[0], {File: at("f1.root"), Part: "none", Entries: 2077}}
	if err := try(bad); err == nil || !strings.Contains(err.Error(), `no tree "none"`) {
		t.Errorf("a file without the friend's tree: %v", err)
	}
}
