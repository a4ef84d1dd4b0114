package pyexec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// place is an interpreter that runs, and forks what runs code: that of the runtime, or one of an environment which was
// made for jobs.
type place struct {
	key  string // of the environment; empty for the runtime's own interpreter
	base *child.Base
	warm *warm
	exe  string

	users   int    // programs; guarded by the runtime's mu
	release func() // gives the environment back
}

// places are the interpreters of environments that are in use, and what is known of those that could not be made.
type places struct {
	byKey   map[string]*place
	failed  map[string]failedEnv
	opening map[string]*opening // those that are being opened, by their keys
}

// opening is held by one that opens the interpreter of an environment, so that programs of one environment share it;
// never with the runtime's mu inside.
type opening struct {
	sync.Mutex
	wanted int // by so many; guarded by the runtime's mu
}

// openingOf has one at a time open the interpreter of an environment, until done is called. Those of others are opened
// meanwhile.
func (r *Runtime) openingOf(key string) (done func()) {
	r.mu.Lock()
	o := r.places.opening[key]
	if o == nil {
		o = &opening{}
		r.places.opening[key] = o
	}
	o.wanted++
	r.mu.Unlock()
	o.Lock()
	return func() {
		o.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		if o.wanted--; o.wanted == 0 {
			delete(r.places.opening, key)
		}
	}
}

// failedEnv is an environment that could not be made.
type failedEnv struct {
	err   error
	wait  time.Duration
	again time.Time // it is not tried before
}

// How long an environment is not tried again that could not be made: at first a little, since somebody may mend what
// was wrong, then longer.
const (
	firstEnvRetry = 30 * time.Second
	lastEnvRetry  = time.Hour
)

// placeOf is where code runs. Whoever calls it says by left that it needs the place no longer. asked says that the
// user of this host waits, who may have mended what was wrong.
func (r *Runtime) placeOf(ctx context.Context, w work, o source, asked bool) (*place, error) {
	if w.Env == nil || w.Env.Kind == envName {
		return r.enter(r.own), nil
	}
	key := keyOf(w.Env.Kind, w.Env.Hash, r.info.Platform)
	r.mu.Lock()
	p, failed := r.places.byKey[key], r.places.failed[key]
	if p != nil {
		p.users++
	}
	r.mu.Unlock()
	if p != nil {
		return p, nil
	}
	if wait := time.Until(failed.again); !asked && wait > 0 {
		return nil, fmt.Errorf("%w (it is tried again in %v)", failed.err, wait.Round(time.Second))
	}
	ctx, done := r.until(ctx)
	defer done()
	p, err := r.openPlace(ctx, key, w, o)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.places.failed, key)
		return p, nil
	}
	if ctx.Err() == nil {
		wait := min(max(2*failed.wait, firstEnvRetry), lastEnvRetry)
		r.places.failed[key] = failedEnv{err, wait, time.Now().Add(wait)}
	}
	return nil, err
}

func (r *Runtime) enter(p *place) *place {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.users++
	return p
}

// left says that one program less needs a place. The interpreter of an environment ends with its last program.
func (r *Runtime) left(p *place) {
	r.mu.Lock()
	p.users--
	last := p.users == 0 && p.key != ""
	if last {
		delete(r.places.byKey, p.key)
	}
	r.mu.Unlock()
	if last {
		p.warm.close()
		p.base.Close()
		p.release()
	}
}

// openPlace makes an environment, if it is not there, and starts its interpreter.
func (r *Runtime) openPlace(ctx context.Context, key string, w work, o source) (*place, error) {
	b := builder{base: r.info, tell: o.tell}
	held, err := r.envs.get(ctx, key, func(ctx context.Context, dir string, most int64) (madeEnv, error) {
		if w.Env.Kind == envLock {
			content, err := o.lock(ctx)
			if err != nil {
				return madeEnv{}, err
			}
			return b.ofLock(ctx, w.Env.Name, content, dir)
		}
		file, err := o.tarball(ctx)
		if err != nil {
			return madeEnv{}, err
		}
		return b.ofTarball(ctx, w.Env.Name, file, w.Env.Hash, dir, most)
	})
	if err != nil {
		return nil, envError(w.Env, err)
	}
	p, err := r.start(ctx, key, held, w.Env)
	if err != nil {
		held.release()
		return nil, err
	}
	return p, nil
}

// start starts the interpreter of an environment, unless another program has just done so.
func (r *Runtime) start(ctx context.Context, key string, held heldEnv, env *workEnv) (*place, error) {
	defer r.openingOf(key)()
	r.mu.Lock()
	p, closed := r.places.byKey[key], r.closed
	if p != nil {
		p.users++
	}
	r.mu.Unlock()
	if p != nil {
		held.release()
		return p, nil
	}
	if closed {
		return nil, exec.ErrClosed
	}
	info, err := look(ctx, held.Python)
	if err != nil {
		return nil, envError(env, err)
	}
	if info.Version != r.info.Version {
		return nil, envError(env, fmt.Errorf("its Python is %s, and the job's code is for %s: make it with a Python %s, or "+
			"submit with Python %s", info.Version, r.info.Version, r.info.Version, info.Version))
	}
	libs, err := r.libsFor(ctx, held.Python)
	if err != nil {
		return nil, envError(env, err)
	}
	base, err := r.openBase(ctx, held.Python, libs, held.environ())
	if err != nil {
		return nil, envError(env, err)
	}
	p = &place{key: key, base: base, warm: newWarm(base, r.envs.log), exe: held.Python, users: 1, release: held.release}
	r.mu.Lock()
	r.places.byKey[key] = p
	r.mu.Unlock()
	return p, nil
}

// copyLibs has the runtime's own interpreter copy the libraries that the child needs, as that finds them, to a folder.
// Those in C that do not fit another interpreter are passed over by it.
const copyLibs = `import importlib, os, shutil, sys
for m in ("cloudpickle", "msgpack"):
    src = os.path.dirname(importlib.import_module(m).__file__)
    shutil.copytree(src, os.path.join(sys.argv[1], m), ignore=shutil.ignore_patterns("__pycache__"))`

// libsFor returns the folder of the libraries that the child needs, for the interpreter of an environment: empty if
// that has them, and else those of the runtime's own, so that no network is needed.
func (r *Runtime) libsFor(ctx context.Context, exe string) (string, error) {
	short, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	probe := osexec.CommandContext(short, exe, "-I", "-c", missing)
	probe.Dir, probe.Env = elsewhere, ownEnviron()
	out, err := outputOf(probe)
	switch {
	case err != nil && short.Err() != nil && ctx.Err() == nil:
		return "", silent(exe)
	case err != nil:
		return "", fmt.Errorf("could not ask the Python at %s for its modules: %s", exe, saidIn(err, missing))
	}
	if len(strings.Fields(string(out))) == 0 {
		return "", nil
	}
	if r.libs != "" {
		return r.libs, nil
	}
	dir := filepath.Join(r.scratch, "libs")
	if exists(dir) {
		return dir, nil
	}
	temp, err := os.MkdirTemp(r.scratch, "libs-")
	if err != nil {
		return "", err
	}
	cmd := osexec.CommandContext(ctx, r.info.Dir, "-c", copyLibs, temp)
	cmd.Dir = elsewhere
	if out, err := runAll(cmd); err != nil {
		return "", errors.Join(fmt.Errorf("could not copy cloudpickle and msgpack from the Python at %s: %s", r.info.Dir,
			strings.Join(tailOf(out), "; ")), os.RemoveAll(temp))
	}
	return dir, os.Rename(temp, dir)
}

// envError says of which environment an error is, and what to do about it.
func envError(env *workEnv, err error) error {
	advice := "mend it, and submit again"
	var failed *buildError
	switch {
	case isOfDisk(err), errors.As(err, &failed) && strings.Contains(strings.Join(failed.tail, " "), "No space left"):
		advice = "make room on the disk of the cache folder there"
	case errors.Is(err, errNoRoom):
		advice = "make room on the disk of the cache folder there, or set another bound, `dtpnode up --env-bytes`"
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errTarball):
		advice = "make it with `venv-pack` or `conda-pack`"
	case errors.As(err, &failed) && env.Kind == envLock:
		advice = lockAdvice(failed)
	}
	// The advice comes first, since who takes notes of other nodes takes no more than the first words.
	host, _ := os.Hostname() // else it is left out
	return fmt.Errorf("could not make the environment %s on %s (%s): %w", env.Name, cmp.Or(host, "this host"), advice, err)
}

// lockAdvice is what to do where a command could not install what a lock file names.
func lockAdvice(failed *buildError) string {
	text := strings.ToLower(strings.Join(failed.tail, " "))
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("ensurepip", "no module named venv", "no module named pip"):
		return "install uv there, or venv and pip for that Python (python3-venv)"
	case has("name resolution", "connection", "unreachable", "dns error", "failed to fetch", "timed out", "retry"):
		return "the node needs a way to the package index; where it has none, pack the environment with venv-pack, " +
			"and submit with that tarball"
	case has("hash"):
		return "lock anew"
	case has("no matching distribution", "no solution", "not compatible", "requires-python", "no wheels"):
		return "lock for the Python and platform of that node, or leave it out"
	}
	return "try the same on that node by hand: the words above are what failed"
}
