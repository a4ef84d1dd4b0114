package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestMain stands in for a daemon that fails at its start, when a test starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "up" {
		fmt.Fprintln(os.Stderr, "starting\nno ROOT today")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestResolve(t *testing.T) {
	home := t.TempDir()
	work := t.TempDir()
	t.Chdir(work)
	for name, tc := range map[string]struct {
		state, cache string
		env          map[string]string
		want         Paths
	}{
		"home": {want: Paths{home + "/.local/state/dtpnode", home + "/.cache/dtpnode"}},
		"XDG": {
			env:  map[string]string{"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"},
			want: Paths{"/s/dtpnode", "/c/dtpnode"},
		},
		"bad XDG": {
			env:  map[string]string{"XDG_STATE_HOME": "s"},
			want: Paths{home + "/.local/state/dtpnode", home + "/.cache/dtpnode"},
		},
		"variables": {
			env:  map[string]string{"DTPNODE_STATE": "/v", "DTPNODE_CACHE": "w", "XDG_STATE_HOME": "/s"},
			want: Paths{"/v", work + "/w"},
		},
		"flags": {
			state: "f",
			cache: "/g",
			env:   map[string]string{"DTPNODE_STATE": "/v"},
			want:  Paths{work + "/f", "/g"},
		},
		"one of two": {state: "/f", want: Paths{"/f", home + "/.cache/dtpnode"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", home)
			for _, v := range []string{"DTPNODE_STATE", "DTPNODE_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME"} {
				t.Setenv(v, tc.env[v])
			}
			if got, err := Resolve(tc.state, tc.cache); err != nil || got != tc.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("DTPNODE_STATE", "")
	var e *api.Error
	if _, err := Resolve("", "/c"); !errors.As(err, &e) || !strings.Contains(e.Hint, "--state") {
		t.Errorf("without a home: %v", err)
	}
}

func TestConnectWithoutDaemon(t *testing.T) {
	if _, err := Connect(t.Context(), Paths{State: t.TempDir()}); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("got %v", err)
	}
}

// TestStartDiesEarly: the error has the last lines of the daemon's log, and nothing of the daemon is left.
func TestStartDiesEarly(t *testing.T) {
	paths := Paths{State: filepath.Join(t.TempDir(), "state"), Cache: t.TempDir()}
	_, err := Start(t.Context(), paths, "--slots=1")
	var e *api.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, "no ROOT today") || !strings.Contains(e.Hint, paths.Log()) {
		t.Errorf("got %v", err)
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	if _, err := StartTemporary(t.Context(), paths.Cache); err == nil {
		t.Error("no error")
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("long line\n", 10_000)+"one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(path, 0, 2); got != "one\ntwo" {
		t.Errorf("got %q", got)
	}
	if got := tail(path, 100_004, 2); got != "two" {
		t.Errorf("with the lines of an earlier daemon: got %q", got)
	}
	if got := tail(path+"x", 0, 2); !strings.Contains(got, "no such file") {
		t.Errorf("got %q", got)
	}
}

// TestWaitReleased: the wait ends only when no daemon holds the folder.
func TestWaitReleased(t *testing.T) {
	paths := Paths{State: t.TempDir()}
	lock := flock.New(api.LockPath(paths.State))
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := paths.WaitReleased(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v while the lock is held", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{paths.State, filepath.Join(paths.State, "none")} {
		if err := (Paths{State: state}).WaitReleased(t.Context()); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
}
