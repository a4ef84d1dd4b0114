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

	"crypto/sha256"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
)

// childFiles is the child's own code.
//
//go:embed child/*.py
var childFiles embed.FS

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

// findLibs returns the folder of the libraries that the child needs, installed there the first time; it is empty if the
// interpreter has them.
func findLibs(ctx context.Context, info exec.Info, cache string, tell func(string)) (string, error) {
	probe := osexec.CommandContext(ctx, info.Dir, "-c", "import cloudpickle, msgpack")
	probe.Dir = os.TempDir() // not that of a user who has files of these names
	if err := probe.Run(); err == nil {
		return "", nil
	} else if ctx.Err() != nil {
		return "", ctx.Err()
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s %v", info.Platform, requirements))
	dir := filepath.Join(cache, "python", "libs-"+hex.EncodeToString(h[:])[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", fmt.Errorf("could not install what the Python child needs: %w", err)
	}
	tell("installing cloudpickle and msgpack")
	temp, err := os.MkdirTemp(filepath.Dir(dir), durable.TempPrefix+"libs-")
	if err != nil {
		return "", fmt.Errorf("could not install what the Python child needs: %w", err)
	}
	args := []string{"-m", "pip", "--disable-pip-version-check", "install", "-q", "--target", temp}
	args = append(args, requirements...)
	if out, err := osexec.CommandContext(ctx, info.Dir, args...).CombinedOutput(); err != nil {
		_ = os.RemoveAll(temp)
		return "", fmt.Errorf("the Python at %s lacks cloudpickle or msgpack, and they could not be installed (%w): install "+
			"them yourself\n%s", info.Dir, err, out)
	}
	if err := os.Rename(temp, dir); err != nil {
		_ = os.RemoveAll(temp)
		if _, there := os.Stat(dir); there != nil { // nobody else was quicker
			return "", errors.Join(errors.New("could not install what the Python child needs"), err)
		}
	}
	return dir, nil
}
