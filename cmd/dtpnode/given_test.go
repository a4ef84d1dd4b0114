package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunToStandardOutput: with -o - standard output has the bytes of the output and nothing else, and no file is
// written.
func TestRunToStandardOutput(t *testing.T) {
	d, dir := startDaemon(t), workdir(t)
	for _, args := range [][]string{
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--option", "done", "-o", "-"},
		{"attach", "done", "-o", "-"},
		{"attach", "done", "-o-"},
	} {
		got := dtpnode(t, dir, d.state, args...)
		if args[0] == "run" {
			if req := <-d.requests; req.Output != "" {
				t.Errorf("%q: the daemon is to write to %q", args, req.Output)
			}
		}
		if got.code != exitDone || got.stdout != "result of done\n" {
			t.Errorf("%q: %+v", args, got)
		}
		for _, want := range []string{"<Terminate> hello", "Output: standard output"} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%q: standard error lacks %q:\n%s", args, want, got.stderr)
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "-")); err == nil {
		t.Error("there is a file of the name -")
	}
}

// TestZeroIsNotNoneGiven: a zero value, which means "not given" internally, is refused with a clear error where the
// user gives it.
func TestZeroIsNotNoneGiven(t *testing.T) {
	dir := workdir(t)
	run := []string{"run", "DiMuon.C", "--tree", "T", "--files", "a.root"}
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"could not use -o '': the name of the result file is empty", append(run, "-o", "")},
		{"could not use -o '': the name of the result file is empty", []string{"attach", "3fa9", "-o", ""}},
		{"could not use -o '': the name of the result file is empty", []string{"finish", "3fa9", "-o", ""}},
		{"could not use -o '': the name of the result file is empty", []string{"retry", "3fa9", "-o", ""}},
		{"could not use -o '': the name of the result file is empty", []string{"get", "3fa9", "-o", ""}},
		{"could not use -o - with --detach: ", append(run, "-o", "-", "--detach")},
		{"could not use -o - with --output json: ", append(run, "-o", "-", "--output", "json")},
		{"could not use -o - with retry: ", []string{"retry", "3fa9", "-o", "-"}},
		{"could not use --stall 0s: want at least 1s", append(run, "--stall", "0")},
		{"could not use --open-timeout 0s: want at least 1s", append(run, "--open-timeout", "0")},
		{"could not use --max-processes 0: want at least 1", append(run, "--max-processes", "0")},
		{"could not use --slots 0: want at least 1", append(run, "--slots", "0")},
		{"could not use --seq 0: want at least 1", []string{"append", "3fa9", "a.root", "--seq", "0"}},
		{"could not use --root-version \"\": want a version such as 6.40.00", append(run, "--root-version", "")},
		{"could not use --root-version \"ROOT\": want a version such as 6.40.00", append(run, "--root-version", "ROOT")},
		{"could not use --stall 0s: want at least 1s", []string{"retry", "3fa9", "--stall", "0"}},
		{"could not use --open-timeout 0s: want at least 1s", []string{"up", "--open-timeout", "0"}},
		{"could not use --max-processes 0: want at least 1", []string{"up", "--max-processes", "0"}},
		{"could not use --last 0: want at least 1", []string{"ps", "--last", "0"}},
		{"could not use --last -1: want at least 1", []string{"ps", "--last", "-1"}},
		{"could not set open-timeout to 0: want at least 1s", []string{"config", "set", "open-timeout", "0"}},
		{"could not set max-processes to 0: want at least 1", []string{"config", "set", "max-processes", "0"}},
		{"want HOST:PORT with a port of 0 to 65535, not \"99999\"\n", []string{"up", "--listen", ":99999"}},
		{"could not use --slots 99999999999999999999: want a whole number of at most 9223372036854775807\n",
			[]string{"up", "--slots", "99999999999999999999"}},
		{"there is no setting \"foo\"\n", []string{"config", "set", "foo", "1"}},
	} {
		got := dtpnode(t, dir, t.TempDir(), tc.args...)
		if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, tc.want) {
			t.Errorf("%q: got %+v, want %q", tc.args, got, tc.want)
		}
	}
}

// TestZeroSettings: zero values are refused in files and in the environment too.
func TestZeroSettings(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ file, variable, want string }{
		{file: "open-timeout = \"0s\"\n", want: "could not use open-timeout 0s from FILE: want at least 1s"},
		{file: "max-processes = 0\n", want: "could not use max-processes 0 from FILE: want at least 1"},
		{file: "listen = []\n", want: "could not use listen [] from FILE: want at least one HOST:PORT"},
		{
			variable: "DTPNODE_OPEN_TIMEOUT=0",
			want:     "could not use open-timeout 0s from the environment, DTPNODE_OPEN_TIMEOUT: want at least 1s",
		},
		{
			variable: "DTPNODE_MAX_PROCESSES=0",
			want:     "could not use max-processes 0 from the environment, DTPNODE_MAX_PROCESSES: want at least 1",
		},
		{
			variable: "DTPNODE_NAME=a\nb",
			want:     `could not use name "a\nb" from the environment, DTPNODE_NAME: it has characters`,
		},
	} {
		t.Run(tc.want, func(t *testing.T) {
			state := t.TempDir()
			file := filepath.Join(state, "config.toml")
			if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if name, value, ok := strings.Cut(tc.variable, "="); ok {
				t.Setenv(name, value)
			}
			want := strings.Replace(tc.want, "FILE", file, 1)
			for _, args := range [][]string{{"up"}, {"config", "show"}} {
				if got := dtpnode(t, dir, state, args...); got.code == exitDone || !strings.Contains(got.stderr, want) {
					t.Errorf("%q: got %+v, want %q", args, got, want)
				}
			}
		})
	}
}

// TestWordsAreTrue: messages are true of what was given.
func TestWordsAreTrue(t *testing.T) {
	d, dir := startDaemon(t), workdir(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	got := dtpnode(t, dir, d.state, "run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--option", "done", "--root",
		"/x", "--detach")
	<-d.requests
	if !strings.HasSuffix(strings.Split(got.stderr, "\n")[0], "with the settings of its start: --root") {
		t.Errorf("of the flags that are of no effect one was given: %+v", got)
	}
	got = dtpnode(t, dir, d.state, "run", "data", "--tree", "T", "--files", "a.root")
	if got.code != exitError || !strings.Contains(got.stderr, `could not find the selector "data": it is a folder`) {
		t.Errorf("%+v", got)
	}
	got = dtpnode(t, dir, d.state, "help", "join")
	if strings.Contains(got.stdout, "127.0.0.1:0]") ||
		!strings.Contains(got.stdout, "else the address by which this host reaches the inviter)") {
		t.Errorf("join listens on the address that faces the inviter:\n%s", got.stdout)
	}
	for _, line := range strings.Split(dtpnode(t, dir, t.TempDir(), "config", "show").stdout, "\n") {
		if strings.HasSuffix(line, " ") {
			t.Errorf("blanks at the end of %q", line)
		}
	}
}

// TestOutputOfAnotherHost: a path on another host is not shown as if it was one of this host.
func TestOutputOfAnotherHost(t *testing.T) {
	d := startDaemon(t)
	if got := dtpnode(t, t.TempDir(), d.state, "status", "elsewhere"); !strings.Contains(got.stdout,
		"/ana/o.root on second\n") {
		t.Errorf("%+v", got)
	}
}

// TestTreeOfDatasets: --tree is heeded for datasets as for files, since another tree would be run without a word, and
// the tree that stands behind the name of one goes before.
func TestTreeOfDatasets(t *testing.T) {
	d, dir := startDaemon(t), workdir(t)
	for _, tc := range []struct {
		tree string
		args []string
	}{
		{"Events", []string{"--dataset", "run1"}},
		{"Fr", []string{"--dataset", "run1", "--tree", "Fr"}},
		{"Fr", []string{"--dataset", "run1#Fr"}},
		{"Fr", []string{"--dataset", "run1#Fr", "--tree", "Nope"}},
	} {
		for _, command := range [][]string{{"run", "DiMuon.C"}, {"draw", "x>>h"}} {
			args := append(append(command, tc.args...), "-o", "o.root")
			if command[0] == "run" {
				args = append(args, "--option", "done")
			}
			got := dtpnode(t, dir, d.state, args...)
			if len(d.requests) == 0 {
				t.Fatalf("%q: %+v", args, got)
			}
			if req := <-d.requests; len(req.Files) != 1 || req.Files[0].Part != tc.tree {
				t.Errorf("%q: runs over %+v, want the tree %s", args, req.Files, tc.tree)
			}
		}
	}
}
