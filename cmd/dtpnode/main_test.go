package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

var (
	update = flag.Bool("update", false, "write the golden files anew")
	binary string // the built command
)

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "dtpnode-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "dtpnode")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "could not build the command: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// daemon is a fake daemon with one job, which ends in the state its name says.
type daemon struct {
	t        *testing.T
	state    string
	requests chan api.JobRequest
	calls    chan string
	cancel   chan struct{} // closed by a call of cancel
	held     chan struct{} // if not nil, a job is accepted when this is closed
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{
		t:        t,
		state:    t.TempDir(),
		requests: make(chan api.JobRequest, 1),
		calls:    make(chan string, 10),
		cancel:   make(chan struct{}),
	}
	l, err := net.Listen("unix", api.SocketPath(d.state))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return d
}

// submitted is when the fake daemon's jobs were submitted: so long ago that the width of their age stays the same for
// years.
var submitted = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func job(id string) api.JobStatus {
	return api.JobStatus{
		ID: id, Title: "DiMuon.C", HomeName: "first", State: api.JobState(id), Units: 4_000_000, Done: 1_000_000,
		Committed: 1_000_000, Seconds: 2.5, Rate: 400_000, Error: "could not X", Hint: "do Y",
		Submitted: submitted,
		Nodes:     []api.NodeWork{{Name: "first", Units: 1_000_000, Rate: 400_000, Packets: 9, Up: true}},
	}
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	enc := json.NewEncoder(w)
	switch {
	case parts[0] == "status":
		_ = enc.Encode(api.NodeStatus{
			ID:       "12D3KooWfirst",
			Name:     "first",
			Version:  "v1",
			PID:      42,
			Protocol: 3,
			Addrs:    []string{"/ip4/127.0.0.1/tcp/4001"},
			Members:  3,
			Up:       2,
			Slots:    2,
			Busy:     1,
			Runtimes: []api.Runtime{{Kind: "ROOT", Version: "6.40.00", Dir: "/opt/root"}},
			RSS:      50e6,
			Uptime:   3725,
			StateDir: "/state",
			Steal:    api.Histogram{Count: 1200, P50: 1.25, P90: 2, P99: 12.5, Max: 40},
			Problem:  "disk nearly full\x1b[2J",
		})
	case parts[0] == "members":
		_ = enc.Encode([]api.Member{
			{
				ID:       "12D3KooWfirst",
				Name:     "first",
				Rights:   []string{"worker", "submitter"},
				Addrs:    []string{"/ip4/127.0.0.1/tcp/4001"},
				Self:     true,
				Slots:    2,
				Runtimes: []api.Runtime{{Kind: "ROOT", Version: "6.40.00"}, {Kind: "test", Version: "1"}},
				Version:  "v1",
				State:    api.MemberSelf,
				Protocol: 3,
			},
			{
				ID:         "12D3KooWsecond",
				Name:       "second",
				Rights:     []string{"worker"},
				Up:         true,
				RTT:        0.26,
				Slots:      16,
				Runtimes:   []api.Runtime{{Kind: "ROOT", Version: "6.36.02"}},
				Version:    "v1",
				Note:       "another ROOT",
				State:      api.MemberUp,
				Protocol:   4,
				ClockAhead: -75.5,
			},
			{ID: "12D3KooWthird", Name: "third計算ノード計算ノード計算ノード計算ノード", Version: "v0", State: api.MemberLost, Seen: &submitted},
		})
	case parts[0] == "links":
		_ = enc.Encode(api.Links{Pairs: []api.NoLink{{
			A: api.NoLinkEnd{
				ID:   "12D3KooWsecond",
				Name: "second",
				Says: "could not connect to 127.0.0.1:1: connect: connection refused",
			},
			B: api.NoLinkEnd{ID: "12D3KooWthird", Name: "third"},
		}}})
	case parts[0] == "dataset" || parts[0] == "datasets":
		_ = enc.Encode(api.Dataset{Name: "first/run1", Files: []api.DatasetFile{{URL: "/data/a.root", Part: "Events"}}})
	case parts[0] == "invites":
		_ = enc.Encode(api.Invite{Token: "TOKEN", Warning: "only loopback addresses"})
	case parts[0] == "revoke":
		var req api.RevokeRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		d.calls <- "revoke " + req.ID
	case r.Method == http.MethodPost && len(parts) == 1:
		var req api.JobRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		if d.held != nil {
			d.calls <- "submit"
			<-d.held
		}
		d.requests <- req
		spec, err := rootexec.ParseSpec(req.Spec)
		if err != nil {
			panic(err)
		}
		_ = enc.Encode(job(spec.Option)) // the option chooses how it ends
	case len(parts) == 1:
		_ = enc.Encode([]api.JobStatus{job("done"), job("running")})
	case len(parts) == 2:
		st := job(parts[1])
		if parts[1] == "elsewhere" {
			st.State, st.Submitter, st.SubmitterName, st.Output = api.Done, "12D3KooWsecond", "second", "/ana/o.root"
		}
		_ = enc.Encode(st)
	default:
		d.serveJob(w, r, parts[1], parts[2])
	}
}

func (d *daemon) serveJob(w http.ResponseWriter, r *http.Request, id, what string) {
	enc := json.NewEncoder(w)
	switch what {
	case "logs":
		_ = enc.Encode(api.LogPart{Node: "1", Name: "first", Text: "a line of " + id + "\n"})
		_ = enc.Encode(api.LogPart{Node: "2", Name: "second", Text: "another\n"})
		over := api.LogPart{Over: true}
		if id == "running" {
			over.Silent = []api.SilentNode{{ID: "3", Name: "third\x1b[2J", Why: "is not up: lost"}}
		}
		_ = enc.Encode(over)
	case "result":
		if id == "failed" && what == "result" {
			w.WriteHeader(http.StatusNotFound)
			_ = enc.Encode(api.Error{Message: "the job has no result"})
			return
		}
		fmt.Fprintf(w, "%s of %s\n", what, id)
	case "stop", "cancel":
		d.calls <- what
		if what == "cancel" {
			close(d.cancel)
		}
	case "events":
		st := job(id)
		if id == "running" {
			_ = enc.Encode(api.Event{Type: "status", Status: &st})
			w.(http.Flusher).Flush()
			select {
			case <-d.cancel:
			case <-r.Context().Done():
			}
			st.State = api.Cancelled
		}
		_ = enc.Encode(api.Event{Type: "log", Line: "<Terminate> hello"})
		_ = enc.Encode(api.Event{Type: "status", Status: &st})
	}
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// dtpnode runs the command in dir.
func dtpnode(t *testing.T, dir, state string, args ...string) result {
	t.Helper()
	cmd := command(t, dir, state, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func command(t *testing.T, dir, state string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DTPNODE_STATE="+state, "DTPNODE_CACHE="+filepath.Join(dir, "cache"), "TZ=UTC")
	return cmd
}

// workdir is a folder with a selector and data.
func workdir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"DiMuon.C": "#include \"DiMuon.h\"\n",
		"DiMuon.h": "",
		"a.root":   "",
		"b.root":   "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUsageErrors(t *testing.T) {
	dir := workdir(t)
	for _, args := range [][]string{
		{"nonsense"},
		{"rnu"},
		{"ps", "--nonsense"},
		{"ps", "extra"},
		{"get"},
		{"status", "a", "b"},
		{"members", "--output", "out.root"},
		{"invite", "--rights", "king"},
		{"invite", "--ttl", "0s"},
		{"join"},
		{"join", ""},
		{"up", "--slots", "0"},
		{"up", "--log-level", "loud"},
		{"up", "--memory", "much"},
		{"demo", "--events", "7"},
		{"run"},
		{"run", "DiMuon.C", "other.C", "--files", "a.root"},
		{"run", "DiMuon.C", "a.root"},
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--slots", "-3"},
		{"help", "foo"},
		{"run", "DiMuon.C", "--tree", "T"},
		{"run", "DiMuon.C", "--files", "a.root"},
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root", "-n", "-2"},
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--first", "-1"},
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--param", "x"},
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--memory", "lots"},
		{"run", "DiMuon.C", "--tree", "T", "--files", "a.root"}, // no daemon, no -o
	} {
		got := dtpnode(t, dir, t.TempDir(), args...)
		if got.code != exitUsage || got.stdout != "" || !strings.HasPrefix(got.stderr, "dtpnode: ") {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	if got := dtpnode(t, dir, t.TempDir(), "rnu"); !strings.Contains(got.stderr, "did you mean run") {
		t.Errorf("got %q", got.stderr)
	}
}

// TestSlips: errors of common mistakes say what is wrong and what was probably meant.
func TestSlips(t *testing.T) {
	dir := workdir(t)
	for want, args := range map[string][]string{
		`has no flag --fils; did you mean --files or --first?`: {"run", "DiMuon.C", "--fils", "a.root"},
		`has no flag -q`: {"ps", "-q"},
		`could not use --slots abc: want a whole number`: {"up", "--slots", "abc"},
		`could not use --stall soon: want a time such as 30s, 5m or 2h`: {"run", "DiMuon.C",
			"--stall", "soon"},
		`could not use --stall 1ns: want at least 1s`: {"run", "DiMuon.C",
			"--files", "a.root", "--stall", "1ns"},
		`could not use --max-cpu 1ns: want at least 1s`: {"run", "DiMuon.C",
			"--files", "a.root", "--max-cpu", "1ns"},
		`could not use --open-timeout -1s: want at least 1s`: {"up", "--open-timeout",
			"-1s"},
		`could not use the size "1": want at least 1M`: {"run", "DiMuon.C",
			"--files", "a.root", "--max-scratch", "1"},
		`could not use --memory 10: a child that runs ROOT needs at least 256M; did you mean 10G?`: {"up", "--memory", "10"},
		"unknown command \"foo\"\n  see `dtpnode help`\n":                                          {"help", "foo"},
		`dtpnode run has no command "extra"`:                                                       {"help", "run", "extra"},
		`unknown command "tcsh"`:                                                                   {"completion", "tcsh"},
		"unknown command \"bogus\"\n":                                                              {"bogus"},
		`dtpnode get: got 2 arguments, want 1: get JOB`:                                            {"get", "a", "b"},
		`unknown command "statu"; did you mean status?`:                                            {"statu"},
		`could not run both "DiMuon.C" and "Other.C+"`: {"run", "DiMuon.C",
			"Other.C+", "--files", "a.root"},
		`dtpnode dataset add: got 0 arguments, want 2 or more: add NAME FILES...`: {"dataset", "add"},
		`dtpnode dataset add: got 1 argument, want 2 or more: add NAME FILES...`:  {"dataset", "add", "run1"},
		`dtpnode dataset ls: got 2 arguments, want at most 1: ls [PATTERN]`:       {"dataset", "ls", "a", "b"},
		`--save-canvases=pdf`: {"run", "DiMuon.C", "--files", "a.root",
			"--save-canvases", "pdf"},
		`--save-canvases=pdf,png`: {"run", "--save-canvases", "pdf,png", "DiMuon.C",
			"--files", "a.root"},
		`could not draw: no --files given, nor --dataset`: {"draw", "x>>h", "-o", "h.root"},
		`what is "prof" behind the second semicolon?`: {"draw", "-e", "x>>h;n>1;prof",
			"--files", "a.root"},
		`for both -o and --watch-file`: {"run", "DiMuon.C", "--tree", "T", "--files", "a.root",
			"-o", "o.root", "--watch", "h", "--watch-file", "./o.root"},
		`for both -o and --picture`: {"draw", "x>>h", "--tree", "T", "--files", "a.root",
			"-o", "o.png", "--picture", "./o.png"},
		`for both --booked and --picture`: {"draw", "x>>h", "--tree", "T", "--files", "a.root",
			"--booked", "b.root", "--picture", "./b.root"},
		`could not use --cycles with --files, --dataset or --tree`: {"run", "DiMuon.C", "--cycles", "3", "--files",
			"a.root"},
		`it is a library; give it with --lib`: {"run", "DiMuon.C", "--tree", "T", "--files", "a.root",
			"--source", "libNone.so"},
	} {
		if got := dtpnode(t, dir, t.TempDir(), args...); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%q: got %+v, want %q", args, got, want)
		}
	}
	for _, args := range [][]string{{"--version"}, {"-v"}} {
		if got := dtpnode(t, dir, t.TempDir(), args...); got.code != exitDone || !strings.HasPrefix(got.stdout, "dtpnode ") {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := dtpnode(t, dir, t.TempDir(), "down"); got.code != exitDone || got.stdout != "no daemon was running\n" {
		t.Errorf("down where nothing runs: %+v", got)
	}
}

// TestConfig: a setting is shown with its origin until it is forgotten, and an invalid one is refused.
func TestConfig(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	for _, args := range [][]string{{"slots", "3"}, {"listen", "127.0.0.1:4001", "127.0.0.2:4001"}} {
		if got := dtpnode(t, dir, state, append([]string{"config", "set"}, args...)...); got.code != exitDone {
			t.Errorf("%q: %+v", args, got)
		}
	}
	for want, args := range map[string][]string{
		"could not set slots to many: want a whole number":                       {"slots", "many"},
		"did you mean slots?":                                                    {"slot", "3"},
		"got 2 values, want one":                                                 {"slots", "3", "4"},
		"want HOST:PORT, such as 192.0.2.7:4001":                                 {"listen", "foo"},
		"such as 10.44.0.2:4001":                                                 {"listen", "10.44.0.2"},
		"at least 256M; did you mean 10G?":                                       {"memory", "10"},
		"want debug, info, warn or error":                                        {"log-level", "loud"},
		`could not set name to "a\nb": it has characters that cannot be printed`: {"name", "a\nb"},
		"could not set name to \"\": it is empty":                                {"name", ""},
		"could not set name to \"   \": it is empty":                             {"name", "   "},
		strings.Repeat("x", 40) + "…: it has 300 bytes, and may have 64":         {"name", strings.Repeat("x", 300)},
		"could not set slots to -3: want at least 1":                             {"slots", "-3"},
		"could not set keep-results to -5h: want a time above zero":              {"keep-results", "-5h"},
		"got 1 argument, want a name and a value":                                {"slots"},
		"see `dtpnode help config set`":                                          {"slots", "0"},
	} {
		if got := dtpnode(t, dir, state, append([]string{"config", "set"}, args...)...); got.code != exitUsage ||
			!strings.Contains(got.stderr, want) {
			t.Errorf("%q: %+v", args, got)
		}
	}
	shown := func() map[string]string {
		out := map[string]string{}
		var all []setting
		if err := json.Unmarshal([]byte(dtpnode(t, dir, state, "config", "show", "--output", "json").stdout),
			&all); err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			out[s.Name] = strings.Join(s.Values, " ") + " from " + filepath.Base(s.From)
		}
		return out
	}
	if got := shown(); got["slots"] != "3 from config.toml" ||
		got["listen"] != "127.0.0.1:4001 127.0.0.2:4001 from config.toml" || got["name"] != " from default" {
		t.Errorf("%v", got)
	}
	t.Setenv("DTPNODE_SLOTS", "5")
	if got := shown(); got["slots"] != "5 from the environment" {
		t.Errorf("%v", got)
	}
	if got := dtpnode(t, dir, state, "config", "unset", "listen"); got.code != exitDone {
		t.Errorf("%+v", got)
	}
	if got := shown(); got["listen"] != "127.0.0.1:0 from default" {
		t.Errorf("%v", got)
	}
}

// TestBadSettings: settings that a start refuses are shown with their origin, and the others stay in force.
func TestBadSettings(t *testing.T) {
	dir, config := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	mine := filepath.Join(config, "dtpnode", "config.toml")
	if err := os.Mkdir(filepath.Dir(mine), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ variable, value, file, shown, refused string }{
		{"SLOTS", "abc", "", "WRONG: want a whole number",
			"could not use slots abc from the environment, DTPNODE_SLOTS: want a whole number"},
		{"SLOTS", "-3", "", "WRONG: want at least 1",
			"could not use slots -3 from the environment, DTPNODE_SLOTS: want at least 1"},
		{"MEMORY", "10", "", "WRONG: a child that runs",
			"could not use memory 10 from the environment, DTPNODE_MEMORY: a child"},
		{"", "", "keep-results = \"14 fortnights\"", "WRONG: want a time",
			"could not use keep-results \"14 fortnights\" from " + mine + ": want a time such as"},
		{"", "", "name = \"n\"\nslot = 3\n", "name ",
			"could not use " + mine + ", line 2: there is no setting \"slot\"; did you mean slots?"},
		{"", "", "name = \"n\"\nslots = = 3\n", "", "could not read settings from " + mine + ", line 2"},
	} {
		if err := os.WriteFile(mine, []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if tc.variable != "" {
			t.Setenv("DTPNODE_"+tc.variable, tc.value)
		}
		state := t.TempDir()
		if got := dtpnode(t, dir, state, "config", "show"); got.code != exitError ||
			!strings.Contains(got.stdout, tc.shown) || !strings.Contains(got.stderr, tc.refused) {
			t.Errorf("%+v: config show: %+v", tc, got)
		}
		if got := dtpnode(t, dir, state, "up"); got.code != exitUsage || !strings.Contains(got.stderr, tc.refused) ||
			strings.Contains(got.stderr, "strconv") {
			t.Errorf("%+v: up: %+v", tc, got)
		}
		if got := dtpnode(t, dir, state, "config", "set", "log-level", "debug"); got.code != exitDone {
			t.Errorf("%+v: config set: %+v", tc, got)
		}
		os.Unsetenv("DTPNODE_" + tc.variable)
	}
	if err := os.WriteFile(mine, []byte("slots = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DTPNODE_SLOT", "4")
	if got := dtpnode(t, dir, t.TempDir(), "config", "set", "slots", "5"); got.code != exitDone ||
		!strings.Contains(got.stderr, "of no effect as long as "+mine) {
		t.Errorf("a setting that another wins over: %+v", got)
	}
	got := dtpnode(t, dir, t.TempDir(), "config", "show")
	for _, want := range []string{"note: DTPNODE_SLOT is no setting; did you mean", "DTPNODE_SLOTS",
		"open-timeout      30s", "no limit", "1344h "} {
		if got.code != exitDone || !strings.Contains(got.stdout, want) {
			t.Errorf("config show lacks %q: %+v", want, got)
		}
	}
}

// TestEndOfWatch: what is said of snapshots at the end of a job is true also where they could not be shown.
func TestEndOfWatch(t *testing.T) {
	snap := &api.Snapshot{Units: 5, Of: 10}
	for _, tc := range []struct {
		so         watchedSoFar
		file, want string
	}{
		{watchedSoFar{}, "", "the job ended before the first snapshot"},
		{watchedSoFar{}, "w.root", "the job ended before the first snapshot, so that w.root was not written"},
		{watchedSoFar{failed: true}, "w.root", "w.root was not written, since the job could not be watched; "},
		{watchedSoFar{failed: true}, "", "no snapshot of what was watched could be shown"},
		{watchedSoFar{last: snap, failed: true}, "w.root", "after 5 of 10 entries"},
	} {
		if got := strings.Join(endOfWatch(tc.so, tc.file, ""), "\n"); !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %q, want %q", tc, got, tc.want)
		}
	}
}

// TestUnquotedGlob: the selector is found among the names into which a shell expanded an unquoted glob.
func TestUnquotedGlob(t *testing.T) {
	for _, args := range [][]string{
		{"DiMuon.C+", "b.root", "c.root"},
		{"b.root", "c.root", "DiMuon.C+"},
		{"b.root", "DiMuon.C+", "c.root"},
	} {
		selector, files, err := selectorAndFiles(args, []string{"a.root"})
		if err != nil || selector != "DiMuon.C+" || strings.Join(files, " ") != "a.root b.root c.root" {
			t.Errorf("%q: %s, %q, %v", args, selector, files, err)
		}
	}
	if selector, files, err := selectorAndFiles([]string{"odd.name"}, []string{"a.root"}); err != nil ||
		selector != "odd.name" || len(files) != 1 {
		t.Errorf("%s, %q, %v", selector, files, err)
	}
}

func TestErrors(t *testing.T) {
	dir := workdir(t)
	state := t.TempDir()
	for want, args := range map[string][]string{
		"no dtpnode daemon is running": {"ps"},
		`"none.root"`:                  {"run", "DiMuon.C+", "--tree", "T", "--files", "none.root", "-o", "x.root"},
		`"None.C"`:                     {"run", "None.C+", "--tree", "T", "--files", "a.root", "-o", "x.root"},
		`"none/x.root"`:                {"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "-o", "none/x.root"},
		`"none.h"`: {"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "-o", "x.root", "--include",
			"none.h"},
		`could not find the source "None.cxx": no such file`: {"run", "DiMuon.C+", "--tree", "T", "--files", "a.root",
			"-o", "x.root", "--source", "None.cxx"},
		`could not look up headers in "nope": there is no such folder`: {"run", "DiMuon.C+", "--tree", "T", "--files",
			"a.root", "-o", "x.root", "-I", "nope"},
		`could not use "DiMuon.C" as a package: its name does not end in .par`: {"package", "add", "DiMuon.C"},
		"a source is given with --source": {"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "-o",
			"x.root", "--package", "DiMuon.C"},
		"there is no gopher://": {"run", "DiMuon.C+", "--tree", "T", "--files", "gopher://h/a.root", "-o", "x.root"},
		"would be overwritten":  {"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "-o", "./a.root"},
		`/a.root": it is an input of this job`: {"draw", "x>>h", "--tree", "T", "--files", "a.root",
			"--picture", "a.root"},
		"counted twice": {"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "--files", "*.root", "-o",
			"x.root"},
	} {
		got := dtpnode(t, dir, state, args...)
		if got.code != exitError || !strings.Contains(got.stderr, want) {
			t.Errorf("%q: got %+v, want %q", args, got, want)
		}
	}
	got := dtpnode(t, dir, state, "ps", "--output", "json")
	var f failure
	if err := json.Unmarshal([]byte(got.stderr), &f); err != nil || f.Exit != exitError || f.Hint == "" || f.Error == "" {
		t.Errorf("JSON error: %+v, %v", got, err)
	}
}

// TestNoROOT: on a host without ROOT the error names the command that installs it, which says why if it cannot.
func TestNoROOT(t *testing.T) {
	dir, bin := workdir(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\necho no venv here\nexit 1\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/nonexistent")
	t.Setenv("ROOTSYS", "")
	run := []string{"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "-o", "x.root"}
	got := dtpnode(t, dir, t.TempDir(), run...)
	if got.code != exitError || !strings.Contains(got.stderr, "no ROOT found") ||
		!strings.Contains(got.stderr, "`dtpnode run --install-root`") {
		t.Errorf("got %+v", got)
	}
	for _, args := range [][]string{append(run, "--install-root"), {"up", "--detach", "--install-root"}} {
		got = dtpnode(t, dir, t.TempDir(), args...)
		if got.code != exitError || !strings.Contains(got.stderr, "could not install ROOT") ||
			!strings.Contains(got.stderr, "no venv here") {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

func TestRun(t *testing.T) {
	dir := workdir(t)
	args := func(option string, more ...string) []string {
		return append([]string{"run", "DiMuon.C+", "--tree", "Events", "--files", "*.root", "--option", option}, more...)
	}
	for option, want := range map[string]result{
		"done":      {exitDone, "done: 1,000,000 of 4,000,000", ""},
		"partial":   {exitPartial, "partial: 1,000,000 of 4,000,000", "the result is partial"},
		"failed":    {exitError, "", "could not X\n  do Y"},
		"cancelled": {exitInterrupted, "", "cancelled"},
	} {
		d := startDaemon(t)
		got := dtpnode(t, dir, d.state, args(option)...)
		if got.code != want.code || !strings.Contains(got.stdout, want.stdout) ||
			!strings.Contains(got.stderr, want.stderr) ||
			!strings.HasPrefix(got.stdout, "<Terminate> hello\n") || strings.ContainsRune(got.stderr, '\x1b') {
			t.Errorf("%s: got %+v", option, got)
		}
	}
}

func TestRunRequest(t *testing.T) {
	dir := workdir(t)
	d := startDaemon(t)
	got := dtpnode(t, dir, d.state, "run", "DiMuon.C++", "--tree", "Events", "--files", "*.root", "--files",
		"root://h//x.root/dir/T",
		"-n", "100", "--first", "5", "--option", "done", "--param", "cut=2", "--class", "K", "--memory", "2G", "--stall",
		"90s",
		"--allow-missing-branches", "--seed-local", "--root-version", "6.38.04", "-o", "out.root", "--detach")
	if got.code != exitDone || got.stdout != "done\n" {
		t.Fatalf("got %+v", got)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := api.JobRequest{
		Kind:    "ROOT",
		Version: "6.38.04",
		Title:   dir + "/DiMuon.C",
		Spec: rootexec.Spec{
			Selector:             dir + "/DiMuon.C",
			Class:                "K",
			Includes:             []string{dir + "/DiMuon.h"},
			Option:               "done",
			Params:               map[string]string{"cut": "2"},
			AllowMissingBranches: true,
		}.JSON(),
		Part: "Events",
		Files: []api.InputFile{
			{URL: dir + "/a.root"},
			{URL: dir + "/b.root"},
			{URL: "root://h//x.root", Part: "dir/T"},
		},
		Globs:     []string{filepath.Join(dir, "*.root")},
		First:     5,
		N:         100,
		Output:    dir + "/out.root",
		Spares:    []string{dir + "/DiMuon.C", dir + "/DiMuon.h"},
		Dir:       dir,
		Memory:    2 << 30,
		Stall:     90,
		SeedLocal: true,
	}
	if diff := cmp.Diff(want, <-d.requests); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRunJSON(t *testing.T) {
	d := startDaemon(t)
	got := dtpnode(t, workdir(t), d.state, "run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--option", "done",
		"--output", "json")
	var types []string
	for sc := bufio.NewScanner(strings.NewReader(got.stdout)); sc.Scan(); {
		var ev api.Event
		if err := json.Unmarshal(sc.Bytes(), &ev); err != nil {
			t.Errorf("%q: %v", sc.Text(), err)
		}
		types = append(types, ev.Type)
	}
	if diff := cmp.Diff([]string{"log", "status"}, types); diff != "" || got.code != exitDone {
		t.Errorf("%+v (-want +got):\n%s", got, diff)
	}
}

// TestRunInterrupted sends a signal while the job runs, away from a terminal: it is cancelled.
func TestRunInterrupted(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		d := startDaemon(t)
		cmd := command(t, workdir(t), d.state, "run", "DiMuon.C", "--tree", "T", "--files", "a.root", "--option", "running")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stderr)
		if !lines.Scan() || !strings.Contains(lines.Text(), "running") { // it follows the job now
			t.Errorf("first line %q", lines.Text())
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if call := <-d.calls; call != "cancel" {
			t.Errorf("called %q", call)
		}
		for lines.Scan() { // until the process ends
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%v: exit %d", sig, code)
		}
	}
}

func TestTables(t *testing.T) {
	d := startDaemon(t)
	dir := t.TempDir()
	for _, args := range [][]string{
		{"ps"},
		{"members"},
		{"status"},
		{"status", "failed"},
		{"invite"},
		{"logs", "done"},
		{"logs", "done", "--output", "json"},
		{"revoke", "second"},
		{"ps", "--output", "json"},
		{"members", "--output", "json"},
		{"status", "--output", "json"},
	} {
		got := dtpnode(t, dir, d.state, args...)
		if got.code != exitDone {
			t.Errorf("%q: got %+v", args, got)
		}
		age := progress.Age(time.Since(submitted)) // of the jobs in the list
		text := strings.ReplaceAll(got.stdout, " "+age+" ", " "+strings.Repeat("x", len(age))+" ")
		golden(t, strings.ReplaceAll(strings.Join(args, "-"), "---output-", ".")+".txt", text)
	}
	if call := <-d.calls; call != "revoke 12D3KooWsecond" {
		t.Errorf("called %q", call)
	}
}

// TestLogsNameTheSilent: nodes that do not answer are named, beside what the others printed.
func TestLogsNameTheSilent(t *testing.T) {
	d := startDaemon(t)
	got := dtpnode(t, t.TempDir(), d.state, "logs", "running")
	if want := "== first\na line of running\n== second\nanother\n"; got.code != exitPartial || got.stdout != want {
		t.Errorf("got %+v, want exit %d and %q", got, exitPartial, want)
	}
	missing := "dtpnode: lines of these nodes may be missing: third[2J, which is not up: lost\n"
	if !strings.HasPrefix(got.stderr, missing) {
		t.Errorf("got %q, want %q", got.stderr, missing)
	}
	got = dtpnode(t, t.TempDir(), d.state, "logs", "running", "--output", "json")
	if !strings.Contains(got.stdout, `"silent":[{"id":"3",`) || !strings.Contains(got.stderr, `"exit":3`) {
		t.Errorf("got %+v", got)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestGet(t *testing.T) {
	d := startDaemon(t)
	dir := t.TempDir()
	for id, want := range map[string]int{
		"done":    exitDone,
		"partial": exitPartial,
		"failed":  exitError,
		"running": exitError,
	} {
		got := dtpnode(t, dir, d.state, "get", id, "-o", id+".root")
		text, err := os.ReadFile(filepath.Join(dir, id+".root"))
		if wrote := err == nil && string(text) == "result of "+id+"\n"; got.code != want || wrote != (want != exitError) {
			t.Errorf("%s: got %+v, file %q, %v", id, got, text, err)
		}
	}
	if got := dtpnode(t, dir, d.state, "get", "done", "-o", "-"); got.stdout != "result of done\n" {
		t.Errorf("got %+v", got)
	}
	dtpnode(t, dir, d.state, "get", "done")
	if _, err := os.Stat(filepath.Join(dir, "DiMuon.root")); err != nil {
		t.Error(err)
	}
}

func TestCancelCommand(t *testing.T) {
	d := startDaemon(t)
	for _, want := range []string{"stop", "cancel"} {
		args := []string{"cancel", "running"}
		if want == "stop" {
			args = append(args, "--keep")
		}
		got := dtpnode(t, t.TempDir(), d.state, args...)
		if call := <-d.calls; got.code != exitDone || call != want {
			t.Errorf("got %+v, called %s", got, call)
		}
	}
}

// TestHelp: each command's help has an example and the exit statuses.
func TestHelp(t *testing.T) {
	for _, cmd := range newRoot(newGlobals()).Commands() {
		if cmd.Example == "" || !strings.Contains(cmd.Long, "Exit status: 0") || cmd.Short == "" {
			t.Errorf("%s: help lacks an example or the exit status", cmd.Name())
		}
	}
}

func TestExitCode(t *testing.T) {
	for want, err := range map[int]error{
		exitDone:        nil,
		exitError:       errors.New("x"),
		exitUsage:       fmt.Errorf("y: %w", usagef("x")),
		exitPartial:     fmt.Errorf("y: %w", submit.ErrPartial),
		exitInterrupted: errors.Join(errors.New("x"), context.Canceled),
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
	if got := exitCode(submit.ErrDetached); got != exitInterrupted {
		t.Errorf("detached: %d", got)
	}
}

// TestChooseJobs: the newest jobs come first, and the number of ended ones is limited unless all are requested.
func TestChooseJobs(t *testing.T) {
	var jobs []api.JobStatus
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range 15 {
		jobs = append(jobs, api.JobStatus{
			ID:        fmt.Sprint("e", i),
			State:     api.Done,
			Submitter: "me",
			Submitted: at.Add(time.Duration(i) * time.Hour),
		})
	}
	jobs = append(jobs, api.JobStatus{ID: "r", State: api.Running, Submitter: "you", Submitted: at}, api.JobStatus{
		ID:        "w",
		State:     api.Waiting,
		Submitter: "me",
		Submitted: at.Add(-time.Hour),
	})
	ids := func(o psOptions) string {
		shown, left := o.choose(jobs, "me")
		out := fmt.Sprint(left, ":")
		for _, j := range shown {
			out += " " + j.ID
		}
		return out
	}
	for want, o := range map[string]psOptions{
		"5: e14 e13 e12 e11 e10 e9 e8 e7 e6 e5 r w":                {},
		"0: e14 e13 e12 e11 e10 e9 e8 e7 e6 e5 e4 e3 e2 e1 e0 r w": {all: true},
		"0: r w":     {states: []string{"running", "waiting"}},
		"0: w":       {states: []string{"running", "waiting"}, mine: true},
		"0: e14 e13": {number: 2},
	} {
		if got := ids(o); got != want {
			t.Errorf("%+v: %s, want %s", o, got, want)
		}
	}
}

// TestShortIDs: short ids are as short as is unambiguous, and each finds its member.
func TestShortIDs(t *testing.T) {
	members := []api.Member{{ID: "12D3KooWabcdefgh1"}, {ID: "12D3KooWabcdefgh2"}, {ID: "12D3KooWx"}, {ID: "other"}}
	short := shortIDs(members)
	for _, m := range members {
		if got, err := findMember(members, short[m.ID]); err != nil || got.ID != m.ID {
			t.Errorf("%s is shown as %q, which finds %v, %v", m.ID, short[m.ID], got.ID, err)
		}
	}
	if short["12D3KooWabcdefgh1"] != "abcdefgh1" {
		t.Errorf("%v", short)
	}
}

func TestFindMember(t *testing.T) {
	members := []api.Member{{ID: "abc", Name: "one"}, {ID: "abd", Name: "two"}, {ID: "two"}, {ID: "x", Name: "one"}}
	for name, want := range map[string]string{"abc": "abc", "abd": "abd", "two": "two", "x": "x"} {
		if m, err := findMember(members, name); err != nil || m.ID != want {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	for _, name := range []string{"ab", "one", "none"} {
		if m, err := findMember(members, name); err == nil {
			t.Errorf("%s gave %v", name, m)
		}
	}
}

// TestNoFlagHidesAGlobalOne: global flags mean the same in each command.
func TestNoFlagHidesAGlobalOne(t *testing.T) {
	root := newRoot(newGlobals())
	global := map[string]bool{}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { global[f.Name] = true })
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if global[f.Name] {
				t.Errorf("%s has a --%s of its own", cmd.CommandPath(), f.Name)
			}
		})
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(root)
}

// TestTitlesAsNames: a selector's file gives the output its name, and a drawing only its word.
func TestTitlesAsNames(t *testing.T) {
	for title, want := range map[string]string{
		"DiMuon.C":           "DiMuon.root",
		"Di Muon.C":          "Di Muon.root",
		"draw v/2-pt>>hz":    "draw.root",
		"count a/b>1 && x.y": "count.root",
	} {
		if file, err := ownName(api.JobStatus{Title: title}); err != nil || file != want {
			t.Errorf("%q: %q, %v", title, file, err)
		}
	}
}
