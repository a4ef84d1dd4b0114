package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtpnode/dtpnode/node/api"
)

// healthy is a configuration in which all injected checks succeed.
func healthy(t *testing.T) Config {
	t.Helper()
	return Config{
		State: t.TempDir(), Cache: t.TempDir(), Listen: []string{"127.0.0.1:0"}, Version: "v1",
		Runtimes: []Runtime{hasROOT("6.40.00", "/opt/root")},
		Status: func(context.Context) (api.NodeStatus, error) {
			return api.NodeStatus{Name: "n", Version: "v1", Members: 1, Up: 1}, nil
		},
	}
}

// hasROOT is a ROOT that is found, and for which the child can be built.
func hasROOT(version, dir string) Runtime {
	return Runtime{
		Kind:  "ROOT",
		Needs: "a compiler",
		Find:  func(context.Context) (Found, error) { return Found{version, dir}, nil },
		Build: func(context.Context) error { return nil },
	}
}

// noROOT is a ROOT that is not found.
func noROOT() Runtime {
	return Runtime{
		Kind: "ROOT", Needs: "a compiler", Mend: "install it",
		Find: func(context.Context) (Found, error) { return Found{}, errors.New("none") },
	}
}

// TestEachRuntimeIsChecked names several installations: each is found or not, and built for, by itself.
func TestEachRuntimeIsChecked(t *testing.T) {
	c := healthy(t)
	unbuilt := hasROOT("6.36.02", "/opt/old")
	unbuilt.Build = func(context.Context) error { return errors.New("no headers") }
	named := noROOT()
	named.Named = true
	c.Runtimes = []Runtime{hasROOT("6.40.00", "/opt/root"), unbuilt, named, hasROOT("6.40.00", "/opt/copy")}
	c.Status = func(context.Context) (api.NodeStatus, error) {
		return api.NodeStatus{Version: "v1", Problem: "no jobs with ROOT 6.36.02: no headers", Runtimes: []api.Runtime{
			{Kind: "ROOT", Version: "6.40.00"},
			{Kind: "ROOT", Version: "6.36.02", Problem: "no headers"},
			{Kind: "Python", Version: "3.12", Problem: "no cloudpickle"},
		}}, nil
	}
	var got []string
	for _, f := range Check(t.Context(), c, func(Finding) {}) {
		if f.Check == "ROOT" || f.Check == "child" || f.Check == "daemon" {
			got = append(got, fmt.Sprintf("%s %s: %s", f.Level, f.Check, f.Text))
		}
	}
	want := []string{
		"ok ROOT: 6.40.00 in /opt/root",
		"ok child: built against ROOT 6.40.00",
		"ok ROOT: 6.36.02 in /opt/old",
		"fail child: no headers",
		"fail ROOT: none",
		"fail child: not built: it needs ROOT and a compiler",
		"warn ROOT: 6.40.00 in /opt/copy is not used: /opt/root is of the same version",
		"warn daemon: no jobs with ROOT 6.36.02: no headers",
		"warn daemon: it cannot run jobs with Python 3.12: no cloudpickle",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestOneKindIsEnough: a host that has Python and no ROOT needs neither ROOT nor a compiler, as long as none was named.
func TestOneKindIsEnough(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	python := Runtime{
		Kind:  "Python",
		Find:  func(context.Context) (Found, error) { return Found{"3.12", "/usr/bin/python3"}, nil },
		Build: func(context.Context) error { return errors.New("no cloudpickle") },
	}
	off := noROOT()
	off.Named, off.Off = true, true
	for name, tc := range map[string]struct {
		root Runtime
		want []string
	}{
		"none": {noROOT(), []string{
			"warn compiler: none of g++, clang++, c++ is on the PATH",
			"warn ROOT: none; such jobs are left to other members",
		}},
		"off": {off, []string{
			"warn compiler: none of g++, clang++, c++ is on the PATH",
			"ok ROOT: no such jobs are run here, as the settings say",
		}},
	} {
		c := healthy(t)
		c.Runtimes = []Runtime{tc.root, python}
		var got []string
		for _, f := range Check(t.Context(), c, func(Finding) {}) {
			if f.Check == "compiler" || f.Check == "ROOT" || f.Check == "Python" || f.Check == "child" {
				got = append(got, fmt.Sprintf("%s %s: %s", f.Level, f.Check, f.Text))
			}
		}
		want := append(tc.want, "ok Python: 3.12 in /usr/bin/python3", "fail child: no cloudpickle")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", name, diff)
		}
	}
}

// checked runs the checks and returns them by name.
func checked(t *testing.T, c Config) map[string]Finding {
	t.Helper()
	byName := map[string]Finding{}
	var told int
	for _, f := range Check(t.Context(), c, func(Finding) { told++ }) {
		byName[f.Check] = f
		if f.Level == Fail && f.Mend == "" {
			t.Errorf("%s fails without advice: %s", f.Check, f.Text)
		}
		if f.Text == "" {
			t.Errorf("%s says nothing", f.Check)
		}
	}
	if told != len(byName) {
		t.Errorf("told of %d findings, returned %d", told, len(byName))
	}
	return byName
}

func TestHealthy(t *testing.T) {
	got := checked(t, healthy(t))
	for _, name := range []string{"cores", "state folder", "cache folder", "ROOT", "listen", "socket", "daemon"} {
		if got[name].Level == Fail || got[name].Check == "" {
			t.Errorf("got %+v", got[name])
		}
	}
}

func TestFindings(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		name, check string
		level       Level
		text        string
		change      func(t *testing.T, c *Config)
	}{
		{"no ROOT", "ROOT", Fail, "none", func(_ *testing.T, c *Config) {
			c.Runtimes = []Runtime{noROOT()}
		}},
		{"no child without ROOT", "child", Fail, "needs ROOT", func(_ *testing.T, c *Config) {
			c.Runtimes = []Runtime{noROOT()}
		}},
		{"port taken", "listen", Warn, "in use", func(_ *testing.T, c *Config) {
			c.Listen = []string{taken.Addr().String()}
			c.Status = func(context.Context) (api.NodeStatus, error) { return api.NodeStatus{Version: "v1", PID: 1}, nil }
		}},
		{"port taken by another", "listen", Fail, "in use", func(_ *testing.T, c *Config) {
			c.Listen = []string{taken.Addr().String()}
			c.Status = func(context.Context) (api.NodeStatus, error) { return api.NodeStatus{}, api.ErrNoDaemon }
		}},
		{"its own port", "listen", OK, "where the daemon listens", func(_ *testing.T, c *Config) {
			c.Listen = []string{taken.Addr().String()}
			c.Status = func(context.Context) (api.NodeStatus, error) {
				return api.NodeStatus{Version: "v1", PID: 1, Addrs: []string{taken.Addr().String()}}, nil
			}
		}},
		{"an address that is gone", "listen", Fail, "192.0.2.1:4001, where the daemon listens",
			func(_ *testing.T, c *Config) {
				c.Listen = []string{"192.0.2.1:4001"}
				c.Status = func(context.Context) (api.NodeStatus, error) {
					return api.NodeStatus{Version: "v1", PID: 1, Addrs: []string{"192.0.2.1:4001"}}, nil
				}
			}},
		{"a clock that is off", "clocks", Warn, "the clock of bob is 1h00m behind", func(_ *testing.T, c *Config) {
			c.Status = func(context.Context) (api.NodeStatus, error) {
				return api.NodeStatus{Version: "v1", PID: 1, Members: 2, Up: 2}, nil
			}
			c.Members = func(context.Context) ([]api.Member, error) {
				return []api.Member{
					{ID: "a", Name: "alice", Up: true, Self: true},
					{ID: "b", Name: "bob", Up: true, ClockAhead: -3600},
				}, nil
			}
		}},
		{"an address that is gone, and will be followed", "listen", Warn, "192.0.2.1:4001, where the daemon listens",
			func(_ *testing.T, c *Config) {
				c.Listen = []string{"auto:0"}
				c.Status = func(context.Context) (api.NodeStatus, error) {
					return api.NodeStatus{Version: "v1", PID: 1, Addrs: []string{"192.0.2.1:4001"}}, nil
				}
			}},
		{"nobody reached", "links", Warn, "none of the 2 other members", func(_ *testing.T, c *Config) {
			c.Status = func(context.Context) (api.NodeStatus, error) {
				return api.NodeStatus{Version: "v1", PID: 1, Members: 3, Up: 1}, nil
			}
			c.Links = func(context.Context) (*api.Links, error) { return &api.Links{}, nil }
		}},
		{"settings that a start refuses", "settings", Fail, "slots", func(_ *testing.T, c *Config) {
			c.Settings = func() ([]string, []string) { return []string{"slots -3"}, nil }
		}},
		{"a variable that is no setting", "settings", Warn, "DTPNODE_SLOT", func(_ *testing.T, c *Config) {
			c.Settings = func() ([]string, []string) { return nil, []string{"DTPNODE_SLOT"} }
		}},
		{"address of another host", "listen", Fail, "192.0.2.1", func(_ *testing.T, c *Config) {
			c.Listen = []string{"192.0.2.1:0"}
		}},
		{"no port", "listen", Fail, "localhost", func(_ *testing.T, c *Config) { c.Listen = []string{"localhost"} }},
		{"no daemon", "daemon", Warn, "none", func(_ *testing.T, c *Config) {
			c.Status = func(context.Context) (api.NodeStatus, error) { return api.NodeStatus{}, api.ErrNoDaemon }
		}},
		{"sick daemon", "daemon", Fail, "went away", func(_ *testing.T, c *Config) {
			c.Status = func(context.Context) (api.NodeStatus, error) { return api.NodeStatus{}, api.ErrLost }
		}},
		{"older daemon", "daemon", Fail, "v1 runs, this is v2", func(_ *testing.T, c *Config) { c.Version = "v2" }},
		{"daemon with a problem", "daemon", Warn, "clock", func(_ *testing.T, c *Config) {
			c.Status = func(context.Context) (api.NodeStatus, error) {
				return api.NodeStatus{Version: "v1", Problem: "clock"}, nil
			}
		}},
		{"state folder is a file", "state folder", Fail, "could not make", func(t *testing.T, c *Config) {
			c.State = filepath.Join(t.TempDir(), "file")
			write(t, c.State)
		}},
		{"socket is a file", "socket", Fail, "no socket", func(t *testing.T, c *Config) {
			write(t, api.SocketPath(c.State))
		}},
		{"cache open to others", "cache folder", Warn, c0, func(t *testing.T, c *Config) {
			if err := os.Chmod(c.Cache, 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		{"no compiler", "compiler", Fail, "g++", func(t *testing.T, _ *Config) { t.Setenv("PATH", t.TempDir()) }},
		{"no python", "python3", Warn, "python3", func(t *testing.T, _ *Config) { t.Setenv("PATH", t.TempDir()) }},
		{"compiler that does not run", "compiler", Fail, "does not run", func(t *testing.T, _ *Config) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "g++"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := healthy(t)
			tc.change(t, &c)
			if got := checked(t, c)[tc.check]; got.Level != tc.level || !strings.Contains(got.Text, tc.text) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

const c0 = "free" // the text of a folder that is otherwise all right

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSocketOpenToOthers(t *testing.T) {
	c := healthy(t)
	l, err := net.Listen("unix", api.SocketPath(c.State))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for mode, want := range map[os.FileMode]Level{0o600: OK, 0o666: Fail} {
		if err := os.Chmod(api.SocketPath(c.State), mode); err != nil {
			t.Fatal(err)
		}
		if got := c.socket(); got.Level != want {
			t.Errorf("%v: got %+v", mode, got)
		}
	}
}

func TestHintOfAnErrorWins(t *testing.T) {
	c := healthy(t)
	none := noROOT()
	none.Find = func(context.Context) (Found, error) {
		return Found{}, &api.Error{Message: "no ROOT", Hint: "do this"}
	}
	c.Runtimes = []Runtime{none}
	if got := findings(t.Context(), c.look(t.Context()), Finding{Level: OK})[0]; got.Mend != "do this" {
		t.Errorf("got %+v", got)
	}
}

func TestAvailableMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meminfo")
	if err := os.WriteFile(path, []byte("MemTotal:       100 kB\nMemAvailable:    64 kB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := availableMemory(path); err != nil || got != 64<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	write(t, path)
	if err := os.WriteFile(path, []byte("MemTotal: 1 kB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := availableMemory(path); err == nil {
		t.Error("no error without MemAvailable")
	}
}

func TestPrintAndWorst(t *testing.T) {
	var b bytes.Buffer
	all := []Finding{{"cores", OK, "2", ""}, {"daemon", Warn, "none\x1b[2J", "start one"}}
	for _, f := range all {
		Print(&b, f)
	}
	want := "ok    cores          2\nwarn  daemon         none[2J\n                     -> start one\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if got := Worst(all); got != Warn {
		t.Errorf("worst %s", got)
	}
	if got := Worst(append(all, Finding{Level: Fail}, Finding{Level: OK})); got != Fail {
		t.Errorf("worst %s", got)
	}
	if got := Worst(nil); got != OK {
		t.Errorf("worst %s", got)
	}
}
