package python

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// limit ends what hangs, and is no measure of anything: on a host whose memory is slow, ROOT's compiler has been seen
// to take ten times as long as on another day.
const limit = 80 * time.Minute

// pytest runs tests in Python, and ends with where every thread is once a test hangs.
var pytest = []string{"-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=20",
	"-o", "faulthandler_timeout=2400", "-o", "faulthandler_exit_on_timeout=true"}

// beside has several processes run the tests, each with a cluster of its own, since a test mostly waits for processes
// of its daemons to start and end. Each begins with neighbours, so that what a file shares is rarely made twice.
var beside = []string{"-n", "3", "--dist", "worksteal"}

// envTests names the only file of tests in Python that is to be run, below this folder.
const envTests = "DTPNODE_PYTHON_TESTS"

// envLong has the tests be run that are marked as long, some of which have a process with PyROOT beside them.
const envLong = "DTPNODE_PYTHON_LONG"

// TestPython runs the tests of the Python package, and mypy over it. The interpreter is $DTPNODE_PYTHON or the newest
// that is found with the standard library's own tests, which some of the tests are.
func TestPython(t *testing.T) {
	t.Parallel()
	python, whole, err := interpreter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	packages := tools(t, python, filepath.Join(here, "tests", "requirements.txt"))
	src := filepath.Join(here, "src")
	venv := environment(t, python, "import dtpnode_in_futures", packages, src, filepath.Join(here, "tests", "child"))
	binary := filepath.Join(venv, "bin", "dtpnode")
	run(t, here, nil, "go", "build", "-o", binary, "../cmd/dtpnode")
	exe := filepath.Join(venv, "bin", "python")
	t.Run("mypy", func(t *testing.T) {
		t.Parallel()
		// What it knows of the packages stays beside them. It takes what has changed by its hash, as it does for editors.
		known := filepath.Join(packages, "..", "..", "..", "mypy")
		t.Log(run(t, here, nil, exe, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", known))
	})
	t.Run("wheel", func(t *testing.T) {
		t.Parallel()
		testWheel(t, python, here, packages, binary)
	})
	t.Run("pytest", func(t *testing.T) {
		t.Parallel()
		args := slices.Clone(pytest)
		var env []string
		if os.Getenv(envLong) != "" {
			env = append(env, "DTPNODE_ROOT_PYTHON="+filepath.Join(rootEnvironment(t, here), "bin", "python"))
		}
		if some := os.Getenv(envTests); some != "" {
			t.Log(run(t, here, env, exe, append(args, "-s", some)...))
			return
		}
		args = append(append(args, beside...), "tests")
		if !whole {
			const cpython = "tests/test_cpython.py"
			fmt.Fprintf(os.Stderr, "NOT RUN: %s, since no Python here has the tests of the standard library of 3.12 or newer; "+
				"name one with DTPNODE_PYTHON\n", cpython)
			args = append(args, "--ignore="+cpython)
		}
		t.Log(run(t, here, env, exe, args...))
	})
}

// testWheel makes the wheel, installs it into an environment of its own, and uses what is there then.
func testWheel(t *testing.T, python, here, packages, binary string) {
	dir := t.TempDir()
	made := []string{"DTPNODE_BINARY=" + binary, "PYTHONPATH=" + packages}
	run(t, here, made, python, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps", "--no-index",
		"--no-build-isolation", "-w", dir, ".")
	found, err := filepath.Glob(filepath.Join(dir, "dtpnode-*-py3-none-manylinux_2_17_*.whl"))
	if err != nil || len(found) != 1 {
		t.Fatalf("wheels: %q, %v", found, err)
	}
	listed := run(t, dir, nil, python, "-m", "zipfile", "-l", found[0])
	for _, want := range []string{"dtpnode/py.typed ", "dtpnode/_guard.py ", ".data/scripts/dtpnode "} {
		if !strings.Contains(listed, want) {
			t.Errorf("the wheel lacks %s", want)
		}
	}
	if strings.Contains(listed, "test") {
		t.Errorf("the wheel has tests:\n%s", listed)
	}
	venv := environment(t, python, "", packages)
	run(t, dir, nil, python, "-m", "pip", "--disable-pip-version-check", "--python", venv, "install", "-q", "--no-deps",
		"--no-index", found[0])
	was, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile(filepath.Join(venv, "bin", "dtpnode"))
	if err != nil || !bytes.Equal(was, is) {
		t.Errorf("the program that is installed is not the one that was built: %d bytes of %d, %v", len(is), len(was), err)
	}
	state := t.TempDir()
	env := []string{"XDG_STATE_HOME=" + state, "XDG_CACHE_HOME=" + state, "DTPNODE_STATE=", "PATH=/usr/bin:/bin"}
	const use = "import dtpnode\nwith dtpnode.Client() as c, c.executor() as p: print(sum(p.map(abs, range(-10, 0))))"
	out := run(t, dir, env, filepath.Join(venv, "bin", "python"), "-c", use)
	if strings.TrimSpace(out) != "55" {
		t.Errorf("the installed package computes %q", out)
	}
}

// run runs a command in a folder, and returns what it has printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// interpreter finds the Python that runs the tests. whole says that it has those of the standard library: distributions
// leave them out, so that on most hosts all others are run alone.
func interpreter(ctx context.Context) (exe string, whole bool, err error) {
	all := candidates()
	if exe := os.Getenv("DTPNODE_PYTHON"); exe != "" {
		all = []string{exe}
	}
	var whys []error
	for _, modules := range []string{"venv, ensurepip, test.test_concurrent_futures.util", "venv, ensurepip"} {
		for _, exe := range all {
			path, err := suits(ctx, exe, modules)
			if err == nil {
				return path, len(whys) < len(all), nil
			}
			whys = append(whys, err)
		}
	}
	return "", false, fmt.Errorf("no Python for the tests: want 3.10 or newer with venv: name one with DTPNODE_PYTHON\n%w",
		errors.Join(whys...))
}

// candidates are the interpreters that there may be, the best first.
func candidates() (exes []string) {
	for minor := 13; minor >= 10; minor-- {
		name := fmt.Sprintf("python3.%d", minor)
		if exe, err := exec.LookPath(name); err == nil {
			exes = append(exes, exe)
		}
		home, err := os.UserHomeDir()
		if err != nil {
			continue
		}
		found, _ := filepath.Glob(filepath.Join(home, ".pyenv", "versions", fmt.Sprintf("3.%d.*", minor), "bin", name))
		slices.Reverse(found)
		exes = append(exes, found...)
	}
	return append(exes, "python3")
}

// suits asks an interpreter whether it has some modules, and where it is itself.
func suits(ctx context.Context, exe, modules string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ask := "import sys, " + modules + "; print(sys.executable); sys.exit(sys.version_info < (3, 10))"
	out, err := exec.CommandContext(ctx, exe, "-c", ask).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", exe, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// tools installs packages into an environment in the user's cache, once for each list of them and each interpreter, and
// returns the folder that has them.
func tools(t *testing.T, python, list string) string {
	t.Helper()
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	version := run(t, "", nil, python, "-c", "import sys; print(sys.version)")
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", python, version, text))
	dir := filepath.Join(cache, "dtpnode", "python", "tests-"+hex.EncodeToString(sum[:])[:16])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock := flock.New(dir + ".lock") // others may run the same tests now
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }() // at the latest it goes with the process
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err != nil {
		run(t, "", nil, python, "-m", "venv", "--clear", dir)
		run(t, "", nil, filepath.Join(dir, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q",
			"--require-hashes", "--only-binary=:all:", "-r", list)
		if err := os.WriteFile(whole, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return sitePackages(t, dir)
}

// environment makes an environment of this run, whose interpreters find all that is in folders and run a line first,
// also those that tests start as isolated ones.
func environment(t *testing.T, python, line string, folders ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "venv")
	run(t, "", nil, python, "-m", "venv", "--without-pip", dir)
	text := strings.Join(append(folders, line), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(sitePackages(t, dir), "dtpnode.pth"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sitePackages(t *testing.T, venv string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(venv, "lib", "python3.*", "site-packages"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the environment %s has the folders of packages %q: %v", venv, found, err)
	}
	return found[0]
}
