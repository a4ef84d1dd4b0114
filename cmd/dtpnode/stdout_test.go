package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestFullStdout: for every command it is an error if its output cannot be written.
func TestFullStdout(t *testing.T) {
	d := startDaemon(t)
	dir := workdir(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{
		{"ps"},
		{"status"},
		{"members"},
		{"config", "show"},
		{"version"},
		{"help"},
		{"logs", "done"},
		{"schema", "ps"},
		{"ps", "--output", "json"},
		{"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "--option", "done"},
		{"invite"},
	} {
		var stderr bytes.Buffer
		cmd := command(t, dir, d.state, args...)
		cmd.Stdout, cmd.Stderr = full, &stderr
		_ = cmd.Run()
		says := stderr.String()
		if code := cmd.ProcessState.ExitCode(); code != exitError || !strings.Contains(says, "no space left on device") {
			t.Errorf("%q: exit %d, %q", args, code, says)
		}
		if args[0] == "invite" && !strings.Contains(says, "nobody has it") {
			t.Errorf("a token that is lost: %q", says)
		}
	}
}

// TestGetSparesFiles: a file that the user did not name is not replaced.
func TestGetSparesFiles(t *testing.T) {
	d := startDaemon(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "DiMuon.root")
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := dtpnode(t, dir, d.state, "get", "done")
	if text, err := os.ReadFile(path); got.code != exitError ||
		!strings.Contains(got.stderr, "`dtpnode get done -o DiMuon.root` replaces it") || string(text) != "precious" {
		t.Errorf("%+v; the file has %q, %v", got, text, err)
	}
	if got := dtpnode(t, dir, d.state, "get", "done", "-o", "DiMuon.root"); got.code != exitDone {
		t.Errorf("%+v", got)
	}
	if text, _ := os.ReadFile(path); string(text) != "result of done\n" {
		t.Errorf("the file has %q", text)
	}
}

// TestClocks: the age of a job is shown if its host's clock is ahead, and the clock is mentioned.
func TestClocks(t *testing.T) {
	var b bytes.Buffer
	j := job("running")
	j.SubmitterName = "alice"
	printJobs(&b, []api.JobStatus{j}, submitted.Add(-time.Hour))
	if out := b.String(); !strings.Contains(out, "the clock of alice is 1h ahead") || strings.Contains(out, "?") {
		t.Error(out)
	}
	b.Reset()
	printJobs(&b, []api.JobStatus{j}, submitted)
	if strings.Contains(b.String(), "clock") {
		t.Error(b.String())
	}
}

// TestSameName: members with the same name are distinguished where one is to be chosen.
func TestSameName(t *testing.T) {
	members := []api.Member{
		{ID: "12D3KooWaaaaaaaa", Name: "c", State: api.MemberUp},
		{ID: "12D3KooWbbbbbbbb", Name: "c", State: api.MemberLost},
	}
	_, err := findMember(members, "c")
	if got := hint(err); !strings.Contains(got, "aaaaaa (c, up), bbbbbb (c, lost)") {
		t.Errorf("%v: %s", err, got)
	}
	if m, err := findMember(members, "bbbbbb"); err != nil || m.ID != members[1].ID {
		t.Errorf("%+v, %v", m, err)
	}
}
