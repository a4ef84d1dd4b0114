package logging

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	alice = "12D3KooWALiceAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	bob   = "12D3KooWbobBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
)

// lines is what a logger of words writes for some calls, without the times.
func lines(s style, log func(*slog.Logger)) string {
	var out bytes.Buffer
	log(slog.New(newWords(&out, slog.LevelInfo, s)))
	return out.String()
}

// TestWords: a line says what happened, to which member, and why.
func TestWords(t *testing.T) {
	for want, log := range map[string]func(*slog.Logger){
		"info  up (id ALiceA, addrs 127.0.0.1:4001 192.0.2.1:4001, slots 2)\n": func(l *slog.Logger) {
			l.Info("up", "id", alice, "addrs", []string{"127.0.0.1:4001", "192.0.2.1:4001"}, "slots", 2)
		},
		"info  peer is up (bob)\nwarn  could not prepare job (job 3fa9, home bob): bob has no room\ninfo  peer is down " +
			"(bob): reset\n": func(l *slog.Logger) {
			l.Info("peer is up", "peer", bob, "name", "bob")
			l.Warn("could not prepare job", "job", "3fa9", "home", bob, "reason", errors.New(bob+" has no room"))
			l.Info("peer is down", "peer", bob, "name", "bob", "reason", "reset")
		},
		"error failed (for 1.5s): two\nerror   lines\n": func(l *slog.Logger) {
			l.Error("failed", "for", 1500*time.Millisecond, "err", "two\nlines\n")
		},
		"info  job ended (job 3fa9, state done)\n": func(l *slog.Logger) {
			l.Info("job ended", "job", "3fa9", "state", "done", "reason", "")
		},
		"info  evil (name [2Jx)\n": func(l *slog.Logger) { l.Info("evil", "name", "\x1b[2Jx") },
		"":                         func(l *slog.Logger) { l.Debug("not this") },
		"info  x (a 1, g.b 2)\n":   func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Info("x", "b", 2) },
	} {
		if got := lines(style{}, log); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestStyles: colours on a terminal, priorities for the journal, on each line.
func TestStyles(t *testing.T) {
	log := func(l *slog.Logger) {
		l.Info("a", "reason", "b\nc")
		l.Warn("w")
		l.Error("e")
	}
	if got, want := lines(style{priority: true}, log), "<6>a: b\n<6>  c\n<4>w\n<3>e\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got := lines(style{layout: "15:04:05 ", colour: true}, log)
	if !strings.Contains(got, "\x1b[33mwarn \x1b[0m w\n") || !strings.Contains(got, "\x1b[31merror\x1b[0m e\n") {
		t.Errorf("got %q", got)
	}
}

// TestFormats: the format is what was asked for, else what fits the file.
func TestFormats(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv(stream, "0:0")
	for want, to := range map[string]*os.File{Text: w, KeyValue: file} {
		if got := fitting(to); got != want {
			t.Errorf("%s: %s, want %s", to.Name(), got, want)
		}
	}
	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	t.Setenv(stream, fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	for want, to := range map[string]*os.File{Journal: w, KeyValue: file} {
		if got := fitting(to); got != want {
			t.Errorf("%s as the journal: %s, want %s", to.Name(), got, want)
		}
	}
	for _, format := range Formats() {
		if _, err := New(w, format, slog.LevelInfo); err != nil {
			t.Error(err)
		}
	}
	if _, err := New(w, "xml", slog.LevelInfo); err == nil ||
		!strings.Contains(err.Error(), "auto, text, logfmt, json or journal") {
		t.Errorf("xml: %v", err)
	}
}

// TestTogether: lines of many goroutines are not mixed.
func TestTogether(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newWords(&out, slog.LevelInfo, style{}))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { log.With("i", i).Info("peer is up", "peer", fmt.Sprintf("%s%02d", bob[:50], i), "name", "bob") })
	}
	wg.Wait()
	if n := strings.Count(out.String(), "info  peer is up (i "); n != 20 || strings.Count(out.String(), "\n") != 20 {
		t.Errorf("%s", &out)
	}
}
