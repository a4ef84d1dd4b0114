package pyexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// Kind is the word for jobs that Python runs.
const Kind = "Python"

// Finder finds interpreters on this host. It is an exec.Finder.
type Finder struct {
	// Interpreters are those that the user named, the best first; where there are none the usual places are looked at. One
	// that is written as NAME=FILE is an environment that jobs ask for by that name, beside the others.
	Interpreters []string
	EnvBytes     int64 // bound of all environments that are made for jobs; 0 for a quarter of the free disk
	None         bool  // the user wants no jobs in Python run here: none is looked for
	Log          *slog.Logger

	child string // folder with the child's code in the place of what is built in; tests break that
	// Spare is how long a process of a program waits for the next generation, after the last one was started; 0 for 5 s,
	// less for none.
	Spare time.Duration
}

// Kind is that of all jobs whose code is Python.
func (*Finder) Kind() string { return Kind }

// Suffix ends no name: outputs are read by the Python package.
func (*Finder) Suffix() string { return "" }

// TakesItems says that code runs over items.
func (*Finder) TakesItems() {}

// IsNamed reports whether the user has named interpreters.
func (f *Finder) IsNamed() bool { return len(f.Interpreters) > 0 }

// Find lists the interpreters that the user named, one of each version, or else the first that is found: beside this
// binary, where a Python package has installed it; in an environment that is active; on the path.
func (f *Finder) Find(ctx context.Context) ([]exec.Info, error) {
	switch {
	case f.None:
		return nil, exec.Absent("Python is not used on this node (--python none)")
	}
	plain, envs := f.split()
	infos, bad := envs.find(ctx)
	var found []exec.Info
	var err error
	if len(plain) > 0 {
		found, err = named(ctx, plain)
	} else {
		found, err = first(ctx)
	}
	found = append(found, infos...)
	if len(found) > 0 && errors.Is(err, exec.ErrNone) {
		err = nil
	}
	return found, errors.Join(append(bad, err)...)
}

// namedEnv is an environment that jobs ask for by its name.
type namedEnv struct{ name, exe string }

type namedEnvs []namedEnv

// split separates the interpreters without a name from environments.
func (f *Finder) split() (plain []string, envs namedEnvs) {
	for _, given := range f.Interpreters {
		if name, exe, ok := NamedInterpreter(given); ok {
			envs = append(envs, namedEnv{name, exe})
			continue
		}
		plain = append(plain, given)
	}
	return plain, envs
}

// NamedInterpreter splits NAME=FILE; ok is false of a file alone.
func NamedInterpreter(given string) (name, exe string, ok bool) {
	name, exe, ok = strings.Cut(given, "=")
	if !ok || !envPattern.MatchString(name) || exe == "" {
		return "", given, false
	}
	return name, exe, true
}

// find looks at the interpreters of environments. Each error is of one that is not used.
func (envs namedEnvs) find(ctx context.Context) (infos []exec.Info, errs []error) {
	known := map[string]string{}
	for _, e := range envs {
		info, err := look(ctx, e.exe)
		switch used := known[e.name]; {
		case err != nil:
			errs = append(errs, fmt.Errorf("the environment %s is not used: %w", e.name, err))
		case used != "":
			errs = append(errs, fmt.Errorf("the environment %s at %s is not used: it is %s too", e.name, e.exe, used))
		default:
			known[e.name] = e.exe
			info.Capabilities = append(info.Capabilities, needsNamed(e.name))
			infos = append(infos, info)
		}
	}
	return infos, errs
}

// first is the first interpreter of the usual places that can be used.
func first(ctx context.Context) ([]exec.Info, error) {
	var tried []string
	for _, exe := range usual() {
		if _, err := os.Stat(exe); err != nil {
			tried = append(tried, "none at "+exe)
			continue
		}
		info, err := look(ctx, exe)
		if err != nil {
			tried = append(tried, err.Error())
			continue
		}
		return []exec.Info{info}, nil
	}
	return nil, exec.Absent("no Python found (" + strings.Join(append(tried, "no python3 on the PATH"), "; ") + ")")
}

// usual are the places where an interpreter may be, the best first.
func usual() (places []string) {
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(self), "python3"))
	}
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		places = append(places, filepath.Join(env, "bin", "python3"))
	}
	if exe, err := osexec.LookPath("python3"); err == nil {
		places = append(places, exe)
	}
	return places
}

// named looks at the interpreters that the user named. The error is told beside what was found.
func named(ctx context.Context, exes []string) (infos []exec.Info, err error) {
	known := map[string]string{} // interpreters by their versions
	var errs []error
	for _, exe := range exes {
		info, err := look(ctx, exe)
		switch used := known[info.Version]; {
		case err != nil:
			errs = append(errs, err)
		case used != "":
			errs = append(errs, fmt.Errorf("the Python %s at %s is not used: %s has that version too", info.Version, exe, used))
		default:
			known[info.Version] = exe
			infos = append(infos, info)
		}
	}
	return infos, errors.Join(errs...)
}

// lookLimit is how long an interpreter may take to say what it is, from a slow file system.
const lookLimit = 30 * time.Second

// silent says that an interpreter does not answer.
func silent(exe string) error {
	return fmt.Errorf("could not use %q as Python: asked which it is, it has said nothing for %v", exe, lookLimit)
}

// oldest is the oldest minor version of Python 3 that the child runs on.
const oldest = 10

// look asks an interpreter what it is. It is started without the site's and the user's files, which takes some 10 ms.
func look(ctx context.Context, exe string) (exec.Info, error) {
	path, err := osexec.LookPath(exe)
	if err != nil {
		return exec.Info{}, fmt.Errorf("no Python at %q: %w", exe, reason(err))
	}
	if path, err = filepath.Abs(path); err != nil {
		return exec.Info{}, err
	}
	short, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	const ask = "import json, platform, sys, sysconfig; print(json.dumps({" +
		"'exe': sys.executable, 'version': sys.version_info[:3], 'name': sys.implementation.name, " +
		"'tag': sys.implementation.cache_tag, 'platform': sysconfig.get_platform()}))"
	out, err := outputOf(osexec.CommandContext(short, path, "-I", "-S", "-c", ask))
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return exec.Info{}, silent(path)
	}
	if err != nil {
		return exec.Info{}, fmt.Errorf("could not use %q as Python: asked which it is, it says: %s", path, saidIn(err, ask))
	}
	var said struct {
		Exe      string `json:"exe"` // the program itself, where path is a script that starts it
		Version  [3]int `json:"version"`
		Name     string `json:"name"`
		Tag      string `json:"tag"`
		Platform string `json:"platform"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return exec.Info{}, fmt.Errorf("could not use %q as Python: asked which it is, it says: %.60q", path, out)
	}
	v := said.Version
	if v[0] != 3 || v[1] < oldest {
		return exec.Info{}, fmt.Errorf("the Python at %q is %d.%d, and dtpnode needs 3.%d or newer", path, v[0], v[1], oldest)
	}
	if said.Exe != "" {
		path = said.Exe
	}
	// Pickles of functions hold bytecode, which is of one minor version of one implementation: nothing else is mixed.
	version := fmt.Sprintf("%d.%d", v[0], v[1])
	if said.Name != "cpython" {
		version = said.Name + "-" + version
	}
	return exec.Info{
		Kind: Kind, Version: version, Platform: said.Tag + "-" + said.Platform, Dir: path,
		Capabilities: []string{runtime.GOARCH, exec.NeedsInputFile, needsEnvs, needsFiles},
	}, nil
}

// saidIn is what a command that failed has said, on one line, without the question that it may repeat.
func saidIn(err error, question string) string {
	var e *osexec.ExitError
	if !errors.As(err, &e) || len(e.Stderr) == 0 {
		return err.Error()
	}
	text := strings.NewReplacer(question, "…", strings.ReplaceAll(question, "'", `'\''`), "…").Replace(string(e.Stderr))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return fmt.Sprintf("%s (%v)", lines[len(lines)-1], err)
}

// reason is why a program was not found, without its name, which stands before.
func reason(err error) error {
	var e *osexec.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err
}
