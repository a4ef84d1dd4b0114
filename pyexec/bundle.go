package pyexec

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// What takes a source in Python along whose user has no Python package: an archive with the source and its modules.

// sourceMember is the source in an archive that has no pickle; child/code.py has the rest of its layout.
const sourceMember = "code.py"

var (
	tarballPattern = regexp.MustCompile(`\.(tar(\.(gz|xz|bz2|zst))?|tgz|txz|tbz2)$`)
	lockPattern    = regexp.MustCompile(`\.(toml|txt|lock)$`)
)

// ParseEnv says which environment a user means, as env= of the Python package: the path of a lock file or of a tarball,
// by the end of its name, or else the name of an environment that nodes have.
func ParseEnv(text string) (Env, error) {
	path, err := filepath.Abs(text)
	if err != nil {
		return Env{}, err
	}
	switch {
	case tarballPattern.MatchString(text):
		return Env{Tarball: path}, nil
	case lockPattern.MatchString(text):
		return Env{Lock: path}, nil
	case envPattern.MatchString(text):
		return Env{Name: text}, nil
	}
	return Env{}, fmt.Errorf("%q is no environment: want a lock file (.toml, .txt), a tarball of venv-pack or conda-pack "+
		"(.tar.gz, .tar.xz), or the name of one that nodes have (`dtpnode up --python NAME=FILE`)", text)
}

// Needs are what a node has to offer for the environment, beside the runtime.
func (e Env) Needs() []string {
	if e.Name == "" {
		return nil
	}
	return []string{needsNamed(e.Name)}
}

// Bundle makes an archive of a source and modules, each the path of a package's folder, of a source or of a wheel. They
// are found before those of nodes. Modules that are compiled are refused, since they may not fit the nodes.
func Bundle(source []byte, modules []string) ([]byte, error) {
	var out bytes.Buffer
	b := bundle{z: zip.NewWriter(&out), has: map[string]bool{}}
	err := b.add(sourceMember, source)
	for _, path := range modules {
		if err == nil {
			err = b.module(path)
		}
	}
	if err = errors.Join(err, b.z.Close()); err != nil {
		return nil, err
	}
	if out.Len() > MaxCode {
		return nil, fmt.Errorf("the modules have %d bytes as an archive, and may have %d: pack an environment that has "+
			"them, for --env", out.Len(), MaxCode)
	}
	return out.Bytes(), nil
}

type bundle struct {
	z     *zip.Writer
	has   map[string]bool
	bytes int64
}

// maxUnpacked bounds the bytes of all modules.
const maxUnpacked = 4 * MaxCode

func (b *bundle) add(name string, content []byte) error {
	if b.has[name] {
		return nil // by a module that was named twice
	}
	if b.bytes += int64(len(content)); b.bytes > maxUnpacked {
		return fmt.Errorf("the modules have more than %d MB: pack an environment that has them, for --env", maxUnpacked>>20)
	}
	b.has[name] = true
	w, err := b.z.Create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	return err
}

func (b *bundle) module(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("could not send a module: %w", err)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".py")
	switch {
	case strings.HasSuffix(path, ".whl"):
		return b.wheel(path)
	case !modulePattern.MatchString(name):
		return fmt.Errorf("could not send the module %q: %q cannot be imported by that name", path, name)
	case info.IsDir():
		return b.folder(path, name)
	case !strings.HasSuffix(path, ".py"):
		return fmt.Errorf("could not send the module %q: it is no source in Python", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("could not send a module: %w", err)
	}
	return b.add("lib/"+name+".py", content)
}

// modulePattern is what modules are called.
var modulePattern = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*$`)

func (b *bundle) folder(path, name string) error {
	sources := 0
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		base := d.Name()
		switch {
		case err != nil:
			return err
		case file != path && (strings.HasPrefix(base, ".") || base == "__pycache__"):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || strings.HasSuffix(base, ".pyc") || strings.HasSuffix(base, ".pyo"):
			return nil
		}
		if err := pure(base, path); err != nil {
			return err
		}
		if strings.HasSuffix(base, ".py") {
			sources++
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(path, file)
		if err != nil {
			return err
		}
		return b.add("lib/"+name+"/"+filepath.ToSlash(rest), content)
	})
	if err == nil && sources == 0 {
		err = fmt.Errorf("the folder %q has no source in Python", path)
	}
	if err != nil {
		return fmt.Errorf("could not send the module %s: %w", name, err)
	}
	return nil
}

func (b *bundle) wheel(path string) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("could not send the wheel %q: %w", path, err)
	}
	defer func() { _ = z.Close() }() // it was only read
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("could not send the wheel %q: its member %q lies outside of it", path, f.Name)
		}
		if err := pure(f.Name, path); err != nil {
			return err
		}
		if f.UncompressedSize64 > maxUnpacked {
			return fmt.Errorf("could not send the wheel %q: its member %q has %d bytes", path, f.Name, f.UncompressedSize64)
		}
		content, err := fs.ReadFile(z, f.Name)
		if err != nil {
			return fmt.Errorf("could not send the wheel %q: %w", path, err)
		}
		if err := b.add("lib/"+f.Name, content); err != nil {
			return err
		}
	}
	return nil
}

// pure refuses a file that is compiled.
func pure(file, of string) error {
	for _, end := range []string{".so", ".pyd", ".dylib"} {
		if strings.HasSuffix(file, end) {
			return fmt.Errorf("could not send %q: it has %s, which is compiled, and may not fit the nodes: hand an environment "+
				"over that has it, with --env", of, file)
		}
	}
	return nil
}
