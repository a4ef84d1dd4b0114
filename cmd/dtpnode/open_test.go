package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunOpen: an open job is submitted without files, and its user is told its name, for append and close need it.
func TestRunOpen(t *testing.T) {
	d, dir := startDaemon(t), workdir(t)
	got := dtpnode(t, dir, d.state, "run", "DiMuon.C", "--tree", "T", "--open", "--option", "done",
		"--root-version", "ROOT 6.38.00")
	if got.code != exitDone || !strings.Contains(got.stderr, "job done is open: `dtpnode append done FILES...`") {
		t.Errorf("got %+v", got)
	}
	if req := <-d.requests; !req.StaysOpen || len(req.Files) > 0 || req.Part != "T" || req.Version != "6.38.00" {
		t.Errorf("the daemon is asked for %+v", req)
	}
}

// TestRunOpenWantsADaemon: nothing could be appended to the job of a node that ends with run.
func TestRunOpenWantsADaemon(t *testing.T) {
	dir := workdir(t)
	got := dtpnode(t, dir, t.TempDir(), "run", "DiMuon.C", "--tree", "T", "--open", "-o", "x.root")
	if got.code != exitError || !strings.Contains(got.stderr, "`dtpnode up --detach`") {
		t.Errorf("got %+v", got)
	}
}

// TestOpenHasNoNumbers: what goes by the numbers of entries is refused for a job that grows, with why and what to do.
func TestOpenHasNoNumbers(t *testing.T) {
	d, dir := startDaemon(t), workdir(t)
	for _, more := range [][]string{{"--entry-list", "l.root:l"}, {"--friend", "F=f.root"}} {
		got := dtpnode(t, dir, d.state, append([]string{"run", "DiMuon.C", "--tree", "T", "--open"}, more...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, "has none yet") ||
			!strings.Contains(got.stderr, "leave --open out") {
			t.Errorf("%v: %+v", more, got)
		}
	}
}

// TestFoldersAreRememberedAbsolute: a daemon that starts in another working folder finds what was named.
func TestFoldersAreRememberedAbsolute(t *testing.T) {
	dir, err := filepath.EvalSymlinks(workdir(t))
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	got := dtpnode(t, dir, state, "config", "set", "root", "here/root", "../other")
	if got.code != exitDone {
		t.Fatalf("got %+v", got)
	}
	if got = dtpnode(t, dir, state, "config", "set", "scratch", "here"); got.code != exitDone {
		t.Fatalf("got %+v", got)
	}
	text, err := os.ReadFile(filepath.Join(state, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		filepath.Join(dir, "here/root"), filepath.Join(filepath.Dir(dir), "other"), filepath.Join(dir, "here") + "'",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it is not remembered that a folder is %s:\n%s", want, text)
		}
	}
	_, flags := daemonSettings()
	if err := flags.Parse([]string{"--root", "rel", "--root", "/abs", "--scratch", ""}); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := absoluteFolders(flags); err != nil {
		t.Fatal(err)
	}
	root, err := flags.GetStringArray("root")
	if err != nil || len(root) != 2 || root[0] != filepath.Join(here, "rel") || root[1] != "/abs" {
		t.Errorf("--root is taken to be %q: %v", root, err)
	}
	if scratch, err := flags.GetString("scratch"); scratch != "" || err != nil {
		t.Errorf("an empty --scratch is taken to be %q: %v", scratch, err)
	}
}
