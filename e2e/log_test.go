package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// foreground runs `dtpnode up` with its standard error in a pipe until a line says what is waited for, then meanwhile,
// and ends it by SIGTERM. It returns all lines.
func foreground(
	t *testing.T, bin string, env []string, args []string, waited string, meanwhile func(state string),
) (lines []string) {
	t.Helper()
	state := t.TempDir()
	cmd := exec.CommandContext(t.Context(), bin,
		append([]string{"up", "--state", state, "--cache", suite.cache}, args...)...)
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	info, err := w.Stat()
	check(t, err)
	pipe := info.Sys().(*syscall.Stat_t)
	cmd.Stderr = w
	cmd.Env = append(os.Environ(), "DTPNODE_SLOTS=1")
	for _, e := range env { // %s is the pipe, as systemd names the journal
		cmd.Env = append(cmd.Env, strings.ReplaceAll(e, "%s", fmt.Sprintf("%d:%d", pipe.Dev, pipe.Ino)))
	}
	check(t, cmd.Start())
	w.Close()
	for sc := bufio.NewScanner(r); sc.Scan(); {
		lines = append(lines, sc.Text())
		if waited != "" && strings.Contains(sc.Text(), waited) {
			waited = ""
			if meanwhile != nil {
				meanwhile(state)
			}
			check(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	if err := cmd.Wait(); err != nil || waited != "" {
		t.Fatalf("up ended by itself: %v, before it logged %q:\n%s", err, waited, strings.Join(lines, "\n"))
	}
	return lines
}

// TestForegroundLog: `up` in the foreground logs as words, with the names of members, and for machines and the journal
// as they want it; a daemon in the background logs as it always did.
func TestForegroundLog(t *testing.T) {
	t.Parallel()
	bin := fakeBinary(t)
	t.Run("words", func(t *testing.T) {
		second := ""
		lines := foreground(t, bin, nil, []string{"--name", "first"}, "ready to run jobs", func(state string) {
			first := &node{name: "first", dir: t.TempDir(), state: state, bin: bin, client: api.NewClient(api.SocketPath(state))}
			n, err := startNode(t.TempDir(), nodeSpec{name: "second", binary: bin})
			check(t, err)
			defer func() { check(t, n.stop()) }()
			c := cluster{nodes: []*node{first, n}}
			check(t, c.join())
			st, err := n.status()
			check(t, err)
			second = st.ID
		})
		text := strings.Join(lines, "\n")
		for _, line := range lines {
			if !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (debug|info |warn |error) \S`).MatchString(line) {
				t.Errorf("no line for people: %q", line)
			}
		}
		for _, want := range []string{"info  up (id ", "info  ready to run jobs (runtime ", "info  peer is up (second)"} {
			if !strings.Contains(text, want) {
				t.Errorf("the log does not say %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "12D3KooW") || strings.Contains(text, "msg=") || second == "" {
			t.Errorf("ids and keys of a library:\n%s", text)
		}
	})
	t.Run("JSON", func(t *testing.T) {
		for _, line := range foreground(t, bin, nil, []string{"--log-format", "json"}, "ready to run jobs", nil) {
			var record struct {
				Time  time.Time
				Level string
				Msg   string
			}
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Time.IsZero() || record.Level == "" ||
				record.Msg == "" {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
	t.Run("journal", func(t *testing.T) {
		for _, line := range foreground(t, bin, []string{"JOURNAL_STREAM=%s"}, nil, "ready to run jobs", nil) {
			if !regexp.MustCompile(`^<[3-7]>\D`).MatchString(line) {
				t.Errorf("no line for the journal: %q", line)
			}
		}
	})
	t.Run("background", func(t *testing.T) {
		n := &node{name: "bg", dir: t.TempDir(), state: t.TempDir(), bin: bin}
		if got := n.dtpnode(t, n.dir, "up", "--detach", "--slots", "1"); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		if got := n.dtpnode(t, n.dir, "down"); got.code != 0 {
			t.Errorf("%+v", got)
		}
		text, err := os.ReadFile(filepath.Join(n.state, "dtpnode.log"))
		if err != nil || !bytes.Contains(text, []byte("level=INFO msg=up id=12D3KooW")) {
			t.Errorf("%v: %s", err, text)
		}
	})
	t.Run("refused", func(t *testing.T) {
		n := &node{name: "x", dir: t.TempDir(), state: t.TempDir(), bin: bin}
		if got := n.dtpnode(t, n.dir, "up", "--log-format", "xml"); got.code != 2 ||
			!strings.Contains(got.stderr, `could not use --log-format xml: want one of auto, text, logfmt, json, journal`) {
			t.Errorf("%+v", got)
		}
	})
}
