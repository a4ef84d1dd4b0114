package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
)

// configured is a user without a daemon, with a file of settings.
func configured(t *testing.T, bin, settings string, env ...string) *node {
	t.Helper()
	config := t.TempDir()
	check(t, os.Mkdir(filepath.Join(config, "dtpnode"), 0o700))
	check(t, os.WriteFile(filepath.Join(config, "dtpnode", "config.toml"), []byte(settings), 0o600))
	n, _ := alone(t, bin, append([]string{"DTPNODE_ROOT=", "XDG_CONFIG_HOME=" + config}, env...)...)
	return n
}

// TestRunTakesSettings: a run that starts its own node has the settings of the host, as a daemon would: file,
// environment, flags, and it refuses what a daemon refuses.
func TestRunTakesSettings(t *testing.T) {
	t.Parallel()
	req := fakeJob{Spec: fakeexec.Spec{Entry: "10us", Bins: 10}, files: 1, clusters: 10, entries: 5000}.request(t)
	run := []string{"run", req.Title, "--tree", req.Part, "--files", req.Files[0].URL}
	for name, tc := range map[string]struct {
		settings string
		env      []string
		args     []string
		code     int
		says     []string
	}{
		"file": {"slots = 3\nname = \"conf\"\nlisten = [\"192.0.2.1:4001\"]", nil, nil, 0,
			[]string{"(3 slots)"}},
		"environment":       {"slots = 3", []string{"DTPNODE_SLOTS=5"}, nil, 0, []string{"(5 slots)"}},
		"flag":              {"slots = 3", []string{"DTPNODE_SLOTS=5"}, []string{"--slots", "7"}, 0, []string{"(7 slots)"}},
		"one slot":          {"slots = 1", nil, nil, 0, []string{"(1 slot)"}},
		"no number":         {"", []string{"DTPNODE_SLOTS=abc"}, nil, 2, []string{"DTPNODE_SLOTS", "want a whole number"}},
		"too few":           {"slots = 0", nil, nil, 2, []string{"config.toml", "want at least 1"}},
		"an unknown key":    {"slot = 3", nil, nil, 2, []string{"config.toml, line 1", `no setting "slot"`, "slots"}},
		"detached, refused": {"slot = 3", nil, []string{"--detach"}, 2, []string{`no setting "slot"`}},
	} {
		t.Run(name, func(t *testing.T) {
			n := configured(t, fakeBinary(t), tc.settings, tc.env...)
			args := append(slices.Clone(run), tc.args...)
			if !slices.Contains(tc.args, "--detach") {
				args = append(args, "--check")
			}
			r := n.dtpnode(t, t.TempDir(), args...)
			for _, s := range tc.says {
				if r.code != tc.code || !strings.Contains(r.stdout+r.stderr, s) {
					t.Errorf("want exit %d and %q: %+v", tc.code, s, r)
				}
			}
		})
	}
	n := configured(t, fakeBinary(t), `name = "conf"`)
	r := n.dtpnode(t, t.TempDir(), append(run, "-o", "out")...)
	if r.code != 0 || !strings.Contains(r.stdout, "conf") {
		t.Errorf("the node has not the name of the settings: %+v", r)
	}
}

// TestAdviceWithoutROOT follows what is said where no ROOT is found, word by word, until a daemon has one.
func TestAdviceWithoutROOT(t *testing.T) {
	t.Parallel()
	threeNodes.get(t) // has the child built
	commands := regexp.MustCompile("`dtpnode ([^`]+)`")
	follow := func(t *testing.T, n *node, advice string) (all [][]string) {
		t.Helper()
		for _, m := range commands.FindAllStringSubmatch(advice, -1) {
			if args := strings.Fields(m[1]); !slices.Contains(args, "DIR") && !slices.Contains(args, "FILE") {
				all = append(all, args)
			}
		}
		for _, args := range all {
			if r := n.dtpnode(t, t.TempDir(), args...); r.code != 0 {
				t.Errorf("%q, as advised: %+v", args, r)
			}
		}
		return all
	}
	for name, start := range map[string][]string{
		"a daemon runs":     {"up", "--root", "/nonexist", "--detach"},
		"it is down":        {"config", "set", "root", "/nonexist"},
		"that is installed": {"config", "set", "root", "/nonexist"},
	} {
		t.Run(name, func(t *testing.T) {
			n := configured(t, suite.binary, "", "ROOTSYS="+suite.root)
			if r := n.dtpnode(t, t.TempDir(), start...); r.code != 0 {
				t.Fatalf("%+v", r)
			}
			defer func() { n.dtpnode(t, t.TempDir(), "down") }()
			look := []string{"doctor"}
			switch name {
			case "a daemon runs":
				look = []string{"status"}
			case "that is installed":
				look = []string{"up", "--install-root", "--detach"}
			}
			r := n.dtpnode(t, t.TempDir(), look...)
			said := r.stdout + r.stderr
			at := strings.Index(said, "no ROOT found")
			if at < 0 {
				t.Fatalf("%q does not say that there is none: %+v", look, r)
			}
			lines := strings.SplitN(said[at:], "\n", 3)
			if did := follow(t, n, strings.Join(lines[:2], "\n")); len(did) < 2 {
				t.Errorf("advised %q alone: %s", did, said)
			}
			if r := n.dtpnode(t, t.TempDir(), "status"); r.code != 0 || strings.Contains(r.stdout, "no ROOT") {
				t.Errorf("no ROOT after all that: %+v", r)
			}
		})
	}
}
