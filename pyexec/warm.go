package pyexec

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// warm are processes of an interpreter that have imported modules, and have no code of anybody. Code whose archive
// names modules is loaded in a fork of the one that has them, in milliseconds where imports take seconds: that of
// coffea is loaded twice a run. Each loader sees to it that it finds what it would without (child/imports.py).
//
// A process is there as long as programs that were loaded in its forks, which end with it. Of those that nobody uses a
// few are kept, each for a while.
type warm struct {
	base *child.Base
	log  *slog.Logger
	most int           // processes that nobody uses
	keep time.Duration // of one that nobody uses

	mu     sync.Mutex
	closed bool
	uses   uint64
	byName map[string]*imports
}

// imports is a process that has imported modules, once ready is closed.
type imports struct {
	name  string // of the modules, with blanks
	ready chan struct{}
	err   error // why there is no process
	loaded

	// These are guarded by warm's mu.
	users   int
	used    uint64 // when it was last used, by warm's count of uses
	dropped bool   // nobody uses it any more but its users
}

const (
	mostWarm = 2                // processes, of some 250 MB with coffea
	keepWarm = 10 * time.Minute // between one cell of a notebook and the next
)

func newWarm(base *child.Base, log *slog.Logger) *warm {
	return &warm{base: base, log: log, most: mostWarm, keep: keepWarm, byName: map[string]*imports{}}
}

// fork makes a loader that has modules imported, and returns its parent, which the caller leaves when that is gone.
func (w *warm) fork(ctx context.Context, names []string) (*child.Process, *imports, error) {
	i, err := w.enter(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	proc, err := i.zygote.Fork(ctx, loader)
	if err != nil {
		w.drop(i)
		w.left(i)
		return nil, nil, err
	}
	return proc, i, nil
}

// enter is the process that has modules imported, which is made if there is none.
func (w *warm) enter(ctx context.Context, names []string) (*imports, error) {
	name := strings.Join(names, " ")
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil, exec.ErrClosed
	}
	i, there := w.byName[name]
	if !there {
		i = &imports{name: name, ready: make(chan struct{})}
		w.byName[name] = i
	}
	w.uses++
	i.users, i.used = i.users+1, w.uses
	w.mu.Unlock()
	if !there {
		i.err = w.start(ctx, i, names)
		close(i.ready)
	}
	var err error
	select {
	case <-i.ready:
		err = i.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		if !there {
			w.drop(i)
		}
		w.left(i)
		return nil, err
	}
	return i, nil
}

// start has a process import modules.
func (w *warm) start(ctx context.Context, i *imports, names []string) error {
	proc, err := w.base.Fork(ctx, importer)
	if err != nil {
		return err
	}
	reply, err := proc.Call(ctx, struct {
		Op    string   `msgpack:"op"`
		Names []string `msgpack:"names"`
	}{"import", names})
	var says struct {
		Bytes int64 `msgpack:"bytes"`
	}
	if err == nil {
		err = reply.Decode(&says)
	}
	if err != nil {
		proc.Close()
		return err
	}
	i.loaded = loaded{proc: proc, zygote: proc.Zygote()}
	w.log.Info("keeps modules imported for jobs to come", "modules", i.name, "MB", says.Bytes>>20, "for", w.keep)
	return nil
}

// drop has nobody begin to use a process.
func (w *warm) drop(i *imports) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(i)
}

func (w *warm) dropLocked(i *imports) {
	i.dropped = true
	if w.byName[i.name] == i {
		delete(w.byName, i.name)
	}
}

// left says that somebody uses a process no longer. It ends, now or later, if nobody does.
func (w *warm) left(i *imports) {
	w.mu.Lock()
	i.users--
	var idle []*imports
	switch {
	case i.users > 0:
	case i.dropped:
		idle = []*imports{i}
	default:
		used := i.used
		time.AfterFunc(w.keep, func() { w.leave(i, used) })
		idle = w.leaving()
	}
	w.mu.Unlock()
	for _, i := range idle {
		i.end()
	}
}

// leave ends a process unless it was used meanwhile.
func (w *warm) leave(i *imports, used uint64) {
	w.mu.Lock()
	idle := i.users == 0 && i.used == used && !i.dropped
	if idle {
		w.dropLocked(i)
	}
	w.mu.Unlock()
	if idle {
		i.end()
	}
}

// leaving drops, of the processes that nobody uses, those that are too many, the ones that were used longest ago, and
// returns them. w.mu is held.
func (w *warm) leaving() (out []*imports) {
	for {
		n := 0
		var oldest *imports
		for _, i := range w.byName {
			if i.users > 0 {
				continue
			}
			n++
			if oldest == nil || i.used < oldest.used {
				oldest = i
			}
		}
		if n <= w.most {
			return out
		}
		w.dropLocked(oldest)
		out = append(out, oldest)
	}
}

// close ends the processes that nobody uses, and has the others end with their users. There will be no more.
func (w *warm) close() {
	w.mu.Lock()
	w.closed = true
	var idle []*imports
	for _, i := range w.byName {
		w.dropLocked(i)
		if i.users == 0 {
			idle = append(idle, i)
		}
	}
	w.mu.Unlock()
	for _, i := range idle {
		i.end()
	}
}

// end ends the process, if one was made.
func (i *imports) end() {
	if i.proc != nil {
		i.loaded.close()
	}
}

const (
	importsMember = "imports.json"
	maxImports    = 64       // modules
	maxImportList = 16 << 10 // bytes
)

var moduleName = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)

// importsOf are the modules that an archive has imported before its code is loaded, but for those that it brings along.
func importsOf(form string, code []byte) (names []string) {
	if form != formArchive {
		return nil
	}
	z, err := zip.NewReader(bytes.NewReader(code), int64(len(code)))
	if err != nil {
		return nil // which is told where it is loaded
	}
	f, err := z.Open(importsMember)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxImportList))
	if err != nil || json.Unmarshal(text, &names) != nil || len(names) > maxImports {
		return nil
	}
	brought := map[string]bool{}
	for _, member := range z.File {
		if rest, ok := strings.CutPrefix(member.Name, "lib/"); ok {
			top, _, _ := strings.Cut(rest, "/")
			top, _, _ = strings.Cut(top, ".")
			brought[top] = true
		}
	}
	var out []string
	for _, name := range names {
		top, _, _ := strings.Cut(name, ".")
		if !brought[top] && moduleName.MatchString(name) {
			out = append(out, name)
		}
	}
	return out
}
