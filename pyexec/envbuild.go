package pyexec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// buildLimit is how long a command may take that makes an environment, from a slow network.
const buildLimit = 30 * time.Minute

// lastLines is how many lines of a command that has failed are told.
const lastLines = 6

// builder makes environments with an interpreter of this host.
type builder struct {
	base exec.Info
	tell func(step string)
}

// ofLock makes an environment of a lock file: with uv where it is found, and else with the interpreter's pip.
func (b builder) ofLock(ctx context.Context, of string, content []byte, dir string) (m madeEnv, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return m, err
	}
	uv, _ := osexec.LookPath("uv") // pip does it where there is none
	name := "requirements.txt"
	if isPylock(content) {
		name = "pylock.toml"
		if uv == "" {
			name = "requirements.txt"
			if content, err = requirementsOf(content); err != nil {
				return m, err
			}
		}
	}
	file := filepath.Join(filepath.Dir(dir), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return m, err
	}
	python := filepath.Join(dir, "bin", "python")
	b.tell("making the environment of " + of)
	if uv != "" {
		err = b.run(ctx, dir, nil, uv, "venv", "-q", "--no-project", "--python", b.base.Dir, dir)
		if err == nil {
			b.tell("installing what its lock file names, with uv")
			args := []string{"pip", "install", "-q", "--python", python, "--compile-bytecode", "-r", file}
			if name == "requirements.txt" {
				args = append(args, "--require-hashes")
			}
			err = b.run(ctx, dir, nil, uv, args...)
		}
	} else {
		err = b.withPip(ctx, python, file, dir)
	}
	if err != nil {
		return m, err
	}
	return madeEnv{Of: of, Python: python, Prefix: dir}, nil
}

// withPip makes an environment of requirements: with the pip of this host's interpreter, or, where that has none that
// installs elsewhere, with one that is put into the environment, which takes some seconds.
func (b builder) withPip(ctx context.Context, python, file, dir string) error {
	if err := b.run(ctx, dir, nil, b.base.Dir, "-m", "venv", "--without-pip", dir); err != nil {
		return err
	}
	pip := []string{b.base.Dir, "-m", "pip", "--python", python}
	if b.run(ctx, dir, nil, pip[0], append(pip[1:], "--version")...) != nil {
		if err := b.run(ctx, dir, nil, b.base.Dir, "-m", "venv", dir); err != nil {
			return err
		}
		pip = []string{python, "-m", "pip"}
	}
	b.tell("installing what its lock file names, with pip")
	args := append(pip[1:], "--disable-pip-version-check", "install", "-q", "--retries", "2", "--require-hashes", "-r",
		file)
	return b.run(ctx, dir, nil, pip[0], args...)
}

// ofTarball makes an environment of a tarball that venv-pack or conda-pack has made, or somebody else of a Python that
// works from any folder.
func (b builder) ofTarball(ctx context.Context, name, file, sum, dir string, most int64) (m madeEnv, err error) {
	b.tell("unpacking the environment " + name)
	out, err := untar(ctx, file, sum, dir, most)
	if err != nil {
		return m, err
	}
	prefix, err := prefixIn(dir, out.python)
	if err != nil {
		return m, err
	}
	m = madeEnv{Of: name, Prefix: prefix, Python: filepath.Join(prefix, "bin", "python")}
	if _, err := os.Stat(filepath.Join(prefix, "pyvenv.cfg")); err == nil {
		if err := b.rebase(ctx, prefix); err != nil {
			return m, err
		}
	}
	if _, err := os.Stat(m.Python); err != nil {
		m.Python = filepath.Join(prefix, "bin", "python3")
	}
	if _, err := look(ctx, m.Python); err != nil { // before it is waited for as long as for an installation
		return m, fmt.Errorf("%w: %w", errTarball, err)
	}
	if unpack := filepath.Join(prefix, "bin", "conda-unpack"); exists(unpack) {
		m.Conda = true
		b.tell("placing the environment " + name)
		if err := b.run(ctx, prefix, []string{"CONDA_PREFIX=" + prefix}, m.Python, unpack); err != nil {
			return m, err
		}
	}
	return m, nil
}

// prefixIn is the folder of an unpacked tarball that has bin/python: its top, or one folder in that.
func prefixIn(dir string, links []string) (string, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	folders := []string{""}
	for _, d := range found {
		if d.IsDir() {
			folders = append(folders, d.Name())
		}
	}
	for _, folder := range folders {
		for _, name := range []string{"python", "python3"} {
			path := filepath.Join(folder, "bin", name)
			// It may be a link to one of the links that were left out.
			if _, err := os.Lstat(filepath.Join(dir, path)); err == nil || slices.Contains(links, path) {
				return filepath.Join(dir, folder), nil
			}
		}
	}
	return "", fmt.Errorf("%w: it has no bin/python, neither at its top nor in one folder", errTarball)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// rebase has an environment of venv that was unpacked use this host's interpreter: it has none of its own, but the path
// of the one that it was made with.
func (b builder) rebase(ctx context.Context, prefix string) error {
	const ask = "import sys, json; print(json.dumps([getattr(sys, '_base_executable', '') or sys.executable, " +
		"'python%d.%d' % sys.version_info[:2]]))"
	out, err := outputOf(osexec.CommandContext(ctx, b.base.Dir, "-I", "-S", "-c", ask))
	var said [2]string
	if err == nil {
		err = json.Unmarshal(out, &said)
	}
	if err != nil {
		return fmt.Errorf("could not ask the Python at %s for its base: %s", b.base.Dir, saidIn(err, ask))
	}
	exe, versioned := said[0], said[1]
	if !exists(filepath.Join(prefix, "lib", versioned)) {
		found, _ := filepath.Glob(filepath.Join(prefix, "lib", "python3.*"))
		names := make([]string, len(found))
		for i, f := range found {
			names[i] = filepath.Base(f)
		}
		return fmt.Errorf("%w: it is a virtual environment for %s, and the job runs with %s", errTarball,
			strings.Join(names, ", "), versioned)
	}
	bin := filepath.Join(prefix, "bin")
	for _, link := range []struct{ name, to string }{{"python", exe}, {"python3", "python"}, {versioned, "python"}} {
		path := filepath.Join(bin, link.name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(link.to, path); err != nil {
			return err
		}
	}
	cfg := filepath.Join(prefix, "pyvenv.cfg")
	text, err := os.ReadFile(cfg)
	if err != nil {
		return err
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		key, _, _ := strings.Cut(line, "=")
		return strings.TrimSpace(key) == "home" || strings.TrimSpace(line) == ""
	})
	lines = append([]string{"home = " + filepath.Dir(exe)}, lines...)
	return os.WriteFile(cfg, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// run runs a command. The error is what it says last.
func (b builder) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	cmd := osexec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Dir(dir) // which is there before the environment is
	cmd.Env = append(ownEnviron(), "UV_PYTHON_DOWNLOADS=never", "UV_LINK_MODE=copy", "UV_NO_PROGRESS=1", "NO_COLOR=1",
		"PIP_USER=0", "PIP_REQUIRE_VIRTUALENV=0", "PIP_TARGET=", "PIP_PREFIX=", "VIRTUAL_ENV=")
	cmd.Env = append(cmd.Env, env...)
	out, err := runAll(cmd)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		err = fmt.Errorf("it took more than %v", buildLimit)
	}
	return &buildError{filepath.Base(name), tailOf(out), err}
}

// buildError says that a command failed which makes an environment.
type buildError struct {
	command string
	tail    []string // the last lines that it has printed
	err     error
}

func (e *buildError) Error() string {
	text := fmt.Sprintf("%s failed (%v)", e.command, e.err)
	if len(e.tail) > 0 {
		text += ": " + strings.Join(e.tail, "\n  ")
	}
	return text
}

func (e *buildError) Unwrap() error { return e.err }

// tailOf are the last lines of an output that say something: not that there is a newer version, or that something is
// tried again.
func tailOf(out []byte) (lines []string) {
	for line := range bytes.Lines(bytes.TrimSpace(out)) {
		text := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		if text != "" && !strings.HasPrefix(text, "[notice]") && !strings.HasPrefix(text, "WARNING: Retrying") {
			lines = append(lines, text)
		}
	}
	return lines[max(0, len(lines)-lastLines):]
}

// ownEnviron is the environment of this process without what would mix one Python's modules with another's.
func ownEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV",
			"CONDA_PREFIX", "CONDA_DEFAULT_ENV":
			return true
		}
		return false
	})
}

// environ is the environment of processes that run in an environment.
func (m madeEnv) environ() []string {
	out := append(ownEnviron(), "PYTHONNOUSERSITE=1", "DTPNODE_ENVIRONMENT="+m.Of,
		"PATH="+filepath.Join(m.Prefix, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	if m.Conda {
		return append(out, "CONDA_PREFIX="+m.Prefix)
	}
	return append(out, "VIRTUAL_ENV="+m.Prefix)
}
