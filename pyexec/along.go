package pyexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Env is the environment that code is to run in: one of its fields is set.
type Env struct {
	// Lock is the path of a lock file on this host, a pylock.toml (PEP 751) or requirements of pip with hashes. Each node
	// makes the environment of it once, with uv where it is found, and else with pip.
	Lock string `json:"lock,omitempty"`
	// Tarball is the path of an environment that was packed by venv-pack, conda-pack or in another way that lets it be
	// used from any folder: bin/python is at its top, or in one folder.
	Tarball string `json:"tarball,omitempty"`
	// Name is that of an environment which nodes have: `dtpnode up --python NAME=FILE`.
	Name string `json:"name,omitempty"`
}

// File is a file of this host that is to stand in the working folder of each process.
type File struct {
	Name string `json:"name"` // there, without folders
	Path string `json:"path"` // here, absolute
}

// workEnv is an environment as other nodes are told of it.
type workEnv struct {
	Kind string `msgpack:"kind"` // envLock, envTarball or envName
	Name string `msgpack:"name"` // of the file, or of the environment
	Hash string `msgpack:"hash"` // SHA-256 of the file, in hex; empty for envName
}

const (
	envLock    = "lock"
	envTarball = "tarball"
	envName    = "name"
)

// Words that nodes offer, and jobs need: nodes of earlier versions, which have none of them, would run the code
// without what it needs.
const (
	needsEnvs  = "environments" // workEnv is known
	needsFiles = "placed-files" // work.Files is known
)

// needsNamed is the word of a named environment.
func needsNamed(name string) string { return exec.Needed(exec.NeedsEnvironment, name) }

// envPattern is what names of environments look like.
var envPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// maxFiles bounds the files in a job's working folders that are blobs of their own.
const maxFiles = tasks.MaxShips - 8

// source is where what a program needs beside its code comes from.
type source struct {
	tell    func(step string)
	lock    func(ctx context.Context) ([]byte, error)
	tarball func(ctx context.Context) (string, error)
	blobs   []exec.Blob

	own   []File   // of this host's user, as long as no copies of them were made
	names []string // of files for working folders
	sums  []string // SHA-256 of these, in hex
	// original is a path of such a file, by its number, that no process of the job is told of, and its SHA-256.
	original func(ctx context.Context, number int) (path, sum string, err error)
}

// needs are what a runtime must offer for work beside its version.
func (w work) needs() (out []string) {
	switch {
	case w.Env == nil:
	case w.Env.Kind == envName:
		out = append(out, needsNamed(w.Env.Name))
	default:
		out = append(out, needsEnvs)
	}
	if len(w.Files) > 0 {
		out = append(out, needsFiles)
	}
	return out
}

// check refuses work of another node that no honest one describes.
func (w work) check() error {
	if e := w.Env; e != nil {
		hashed := tasks.JobID(e.Hash).Valid()
		if e.Kind != envName && (e.Kind != envLock && e.Kind != envTarball || !hashed) || len(e.Name) > 255 {
			return fmt.Errorf("the job needs an environment of a kind that this version of dtpnode does not know: %q", e.Kind)
		}
	}
	seen := map[string]bool{}
	for _, name := range w.Files {
		if checkFileName(name) != nil || seen[name] {
			return fmt.Errorf("the job has a file of the name %q, which is none, or is another's", name)
		}
		seen[name] = true
	}
	return nil
}

// checkFileName refuses names that files in a working folder cannot have.
func checkFileName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q cannot be the name of a file in the working folder: it has no folders", name)
	}
	return nil
}

// takeAlong looks at the environment and the files that a request names, and says in w what other nodes need of them.
func (r *Runtime) takeAlong(
	ctx context.Context, spec Spec, earlier *exec.Order, w *work, tell func(string),
) (s source, err error) {
	if spec.Code == "" && earlier != nil { // codeOf has read w of it
		return r.again(ctx, *earlier, *w, tell)
	}
	s.tell = tell
	if err := s.takeEnv(spec.Env, w); err != nil {
		return s, err
	}
	return s, s.takeFiles(spec.Files, w)
}

// keepFiles makes copies of the user's own files, which may be written to at any time, in a folder, and has the job
// ship those.
func (s *source) keepFiles(folder string) error {
	paths := make([]string, len(s.own))
	for i, f := range s.own {
		paths[i] = filepath.Join(folder, tasks.FileShip(i))
		sum, err := copyFile(f.Path, paths[i])
		if err != nil {
			return err
		}
		s.sums = append(s.sums, sum)
		s.blobs = append(s.blobs, exec.Blob{Name: tasks.FileShip(i), Keep: true, File: paths[i]})
	}
	if len(paths) > 0 {
		sums := s.sums
		s.original = func(_ context.Context, i int) (path, sum string, err error) { return paths[i], sums[i], nil }
	}
	return nil
}

// again takes along what an earlier job did.
func (r *Runtime) again(ctx context.Context, o exec.Order, w work, tell func(string)) (source, error) {
	s, err := r.brought(ctx, o, w)
	if err != nil {
		return s, err
	}
	s.tell = tell
	for i := range s.names {
		path, _, err := s.original(ctx, i)
		if err != nil {
			return s, err
		}
		s.blobs = append(s.blobs, exec.Blob{Name: tasks.FileShip(i), Keep: true, File: path})
	}
	if w.Env == nil || w.Env.Kind == envName {
		return s, nil
	}
	path, err := o.FetchFile(ctx, tasks.EnvironmentShip)
	s.blobs = append(s.blobs, exec.Blob{Name: tasks.EnvironmentShip, Keep: true, File: path})
	return s, err
}

func (s *source) takeEnv(env *Env, w *work) error {
	switch {
	case env == nil:
		return nil
	case env.Name != "":
		if !envPattern.MatchString(env.Name) {
			return fmt.Errorf("%q cannot be the name of an environment: those have letters, digits, '.', '_' and '-'", env.Name)
		}
		w.Env = &workEnv{Kind: envName, Name: env.Name}
		return nil
	case env.Lock != "":
		return s.takeLock(env.Lock, w)
	case env.Tarball != "":
		return s.takeTarball(env.Tarball, w)
	}
	return errors.New("the job asks for an environment, and names none")
}

func (s *source) takeLock(path string, w *work) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("could not read the lock file: %w", err)
	}
	if err := checkLock(filepath.Base(path), content); err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	w.Env = &workEnv{Kind: envLock, Name: filepath.Base(path), Hash: hex.EncodeToString(sum[:])}
	s.lock = func(context.Context) ([]byte, error) { return content, nil }
	s.blobs = append(s.blobs, exec.Blob{
		Name: tasks.EnvironmentShip, Keep: true, Pack: func() ([]byte, error) { return content, nil },
	})
	return nil
}

func (s *source) takeTarball(path string, w *work) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("could not read the tarball of the environment: %w", err)
	case info.IsDir():
		return fmt.Errorf("could not use the folder %q as an environment: pack it, with `venv-pack -p %s` or `conda-pack -p "+
			"%s`", path, path, path)
	case info.Size() > tasks.MaxEnvironment:
		return fmt.Errorf("the tarball %q has %d bytes, and may have %d: have nodes keep the environment by a name instead, "+
			"`dtpnode up --python NAME=FILE`", path, info.Size(), int64(tasks.MaxEnvironment))
	}
	s.tell("reading " + filepath.Base(path))
	hash, err := hashOf(path)
	if err != nil {
		return fmt.Errorf("could not read the tarball of the environment: %w", err)
	}
	w.Env = &workEnv{Kind: envTarball, Name: filepath.Base(path), Hash: hash}
	s.tarball = func(context.Context) (string, error) { return path, nil }
	s.blobs = append(s.blobs, exec.Blob{Name: tasks.EnvironmentShip, Keep: true, File: path, Foreign: true})
	return nil
}

func (s *source) takeFiles(files []File, w *work) error {
	if len(files) > maxFiles {
		return fmt.Errorf("the job has %d large files for its working folders, and may have %d: pack them into one",
			len(files), maxFiles)
	}
	for _, f := range files {
		info, err := os.Stat(f.Path)
		if err == nil {
			err = checkFileName(f.Name)
		}
		switch {
		case err != nil:
			return fmt.Errorf("could not take a file along: %w", err)
		case !info.Mode().IsRegular():
			return fmt.Errorf("could not take %q along: it is no file", f.Path)
		case info.Size() > tasks.MaxInput:
			return fmt.Errorf("could not take %q along: it has %d bytes, and may have %d: have the code open a file that all "+
				"hosts see", f.Path, info.Size(), int64(tasks.MaxInput))
		}
		w.Files = append(w.Files, f.Name)
		s.names, s.own = append(s.names, f.Name), append(s.own, f)
	}
	return nil
}

// brought is what work of another node needs beside its code, as its blobs have it.
func (r *Runtime) brought(_ context.Context, o exec.Order, w work) (source, error) {
	s := source{names: w.Files, tell: func(step string) {
		if r.log != nil {
			r.log.Info("making an environment for a job", "step", step)
		}
	}}
	s.lock = func(ctx context.Context) ([]byte, error) { return o.Fetch(ctx, tasks.EnvironmentShip) }
	s.tarball = func(ctx context.Context) (string, error) { return o.FetchFile(ctx, tasks.EnvironmentShip) }
	s.original = func(ctx context.Context, i int) (path, sum string, err error) {
		path, err = o.FetchFile(ctx, tasks.FileShip(i))
		return path, s.sums[i], err
	}
	for i := range w.Files {
		ship, ok := o.Work.Ship(tasks.FileShip(i))
		if !ok {
			return s, fmt.Errorf("the job ships no %s", tasks.FileShip(i))
		}
		s.sums = append(s.sums, ship.SHA256)
	}
	return s, nil
}

// lacking makes an error in making an environment a failure of this node, or what its user is told who waits here.
func lacking(err error, asked bool) error {
	var f *exec.Failure
	if errors.As(err, &f) || errors.Is(err, context.Canceled) || errors.Is(err, exec.ErrClosed) {
		return err
	}
	if asked {
		return &exec.LacksError{Err: err}
	}
	return &exec.Failure{Kind: exec.KindLacks, Op: "prepare", Entry: -1, Msg: err.Error()}
}

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
