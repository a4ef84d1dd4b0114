package pyexec

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"time"

	"crypto/sha256"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
)

// childFiles is the child's own code.
//
//go:embed child/*.py
var childFiles embed.FS

// unusedFor is how long the code of a child stays in the cache that no daemon uses: that of another version may be
// started again.
const unusedFor = 7 * 24 * time.Hour

// holdChild says that a daemon uses the code of a child, until the lock is closed, and removes that of versions which
// none has used for long.
func holdChild(dir string) (*flock.Flock, error) {
	lock := flock.New(dir + ".lock")
	if err := lock.RLock(); err != nil {
		return nil, fmt.Errorf("could not use the cache: %w", err)
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // otherwise it is removed earlier
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "child-*"))
	for _, other := range others {
		info, err := os.Stat(other)
		if other == dir || err != nil || !info.IsDir() || now.Sub(info.ModTime()) < unusedFor {
			continue
		}
		theirs := flock.New(other + ".lock")
		if ok, err := theirs.TryLock(); err == nil && ok {
			_ = os.RemoveAll(other) // the next daemon tries again
			_ = os.Remove(other + ".lock")
		}
		_ = theirs.Close() // the kernel unlocks it else
	}
	return lock, nil
}

// requirements are the libraries that the child needs. An interpreter that has some of its own, of whatever version,
// uses those: code must be unpickled with what its user has.
var requirements = []string{"cloudpickle==3.1.2", "msgpack==1.1.2"}

// placeChild writes the child's code into the cache, once for each content, and returns its folder.
func placeChild(cache string) (string, error) {
	names, err := fs.Glob(childFiles, "child/*.py")
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	h := sha256.New()
	for _, name := range names {
		b, err := childFiles.ReadFile(name)
		if err != nil {
			return "", err
		}
		files[filepath.Base(name)] = b
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
	}
	dir := filepath.Join(cache, "python", "child-"+hex.EncodeToString(h.Sum(nil))[:16])
	for name, b := range files {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := durable.Write(path, b); err != nil {
			return "", fmt.Errorf("could not place the Python child: %w", err)
		}
	}
	return dir, nil
}

// missing has an interpreter print the names of the modules of requirements that it lacks.
const missing = `import importlib.util
print(*[m for m in ("cloudpickle", "msgpack") if importlib.util.find_spec(m) is None])`

// elsewhere is the folder in which interpreters run that are asked for modules, since they look there first. Each host
// has it, and nobody has files there with names of modules, as the one who has started the daemon may have, and whoever
// writes to the folder for temporary files, which may also be gone by now.
const elsewhere = "/"

// findLibs returns the folder of the libraries that the child needs, installed there the first time; it is empty if the
// interpreter has them.
func findLibs(ctx context.Context, info exec.Info, cache string, tell func(string)) (string, error) {
	probe := osexec.CommandContext(ctx, info.Dir, "-c", missing)
	probe.Dir = elsewhere
	out, err := outputOf(probe)
	if err != nil {
		return "", fmt.Errorf("could not ask the Python at %s for its modules: %s", info.Dir, saidIn(err, missing))
	}
	lacks := strings.Fields(string(out))
	if len(lacks) == 0 {
		return "", nil
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s %v", info.Platform, requirements))
	dir := filepath.Join(cache, "python", "libs-"+hex.EncodeToString(h[:])[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", fmt.Errorf("could not install what the Python child needs: %w", err)
	}
	tell("installing cloudpickle and msgpack for Python " + info.Version)
	temp, err := os.MkdirTemp(filepath.Dir(dir), durable.TempPrefix+"libs-")
	if err != nil {
		return "", fmt.Errorf("could not install what the Python child needs: %w", err)
	}
	if err := install(ctx, info.Dir, temp); err != nil {
		_ = os.RemoveAll(temp)
		way := ""
		if !strings.Contains(err.Error(), "No module named pip") {
			way = fmt.Sprintf("where there is a network: `%s -m pip install %s`; or ", info.Dir, strings.Join(lacks, " "))
		}
		return "", fmt.Errorf("the Python at %s lacks %s, and pip could not install that: %w; %sname a Python that has it: "+
			"`dtpnode up --python FILE`", info.Dir, strings.Join(lacks, " and "), err, way)
	}
	if err := os.Rename(temp, dir); err != nil {
		_ = os.RemoveAll(temp)
		if _, there := os.Stat(dir); there != nil { // nobody else was quicker
			return "", errors.Join(errors.New("could not install what the Python child needs"), err)
		}
	}
	return dir, nil
}

// install has an interpreter install the requirements into a folder. The error is what pip says of it at last.
func install(ctx context.Context, exe, folder string) error {
	args := []string{"-m", "pip", "--disable-pip-version-check", "install", "-q", "--retries", "2", "--target", folder}
	cmd := osexec.CommandContext(ctx, exe, append(args, requirements...)...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PIP_USER=0", "PIP_REQUIRE_VIRTUALENV=0") // a user's settings that forbid a folder
	out, err := runAll(cmd)
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("%s (%w)", strings.TrimPrefix(lines[len(lines)-1], "ERROR: "), err)
}
