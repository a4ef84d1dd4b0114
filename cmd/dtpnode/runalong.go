package main

import (
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/pyexec"
)

// alongFlags say what goes to the nodes beside code in Python. Files are those of --files.
type alongFlags struct {
	env     string
	modules []string
}

// add adds the flags.
func (a *alongFlags) add(f *pflag.FlagSet) {
	f.StringVar(&a.env, "env", "", "of code in Python: `environment` it runs in, a lock file (pylock.toml, "+
		"requirements.txt with hashes), a tarball (venv-pack, conda-pack), or a name that nodes have one by")
	f.StringArrayVar(&a.modules, "modules", nil,
		"of code in Python: `module` that nodes lack, a path or a name; repeatable")
}

// refuse refuses them for selectors.
func (a *alongFlags) refuse() error {
	if a.env == "" && len(a.modules) == 0 {
		return nil
	}
	return usagef("could not use --env or --modules with a selector: they are for code in Python, JOB.py; --extra and " +
		"--lib have files go along with a selector")
}

// setAlong names in a spec what goes along with code in Python, and returns what nodes need for it. Where there are
// modules the code is an archive with them, which done removes once the daemon has read it.
func (o *runOptions) setAlong(
	ctx context.Context, g *globals, spec *pyexec.Spec,
) (needs []string, done func(), err error) {
	done = func() {}
	if o.along.env != "" {
		env, err := pyexec.ParseEnv(o.along.env)
		if err != nil {
			return nil, done, usageError{err}
		}
		spec.Env, needs = &env, env.Needs()
	}
	if spec.Files, err = placedFiles(o.files); err != nil || len(o.along.modules) == 0 {
		return needs, done, err
	}
	paths := make([]string, len(o.along.modules))
	for i, m := range o.along.modules {
		if paths[i], err = g.modulePath(ctx, m); err != nil {
			return nil, done, err
		}
	}
	source, err := os.ReadFile(spec.Code)
	if err != nil {
		return nil, done, fmt.Errorf("could not read the code: %w", err)
	}
	archive, err := pyexec.Bundle(source, paths)
	if err != nil {
		return nil, done, err
	}
	f, err := os.CreateTemp("", "dtpnode-*.zip")
	if err != nil {
		return nil, done, fmt.Errorf("could not pack the modules: %w", err)
	}
	done = func() { _ = os.Remove(f.Name()) } // else it stays in the folder for temporary files
	_, err = f.Write(archive)
	if bad := f.Close(); err == nil {
		err = bad
	}
	if err != nil {
		done()
		return nil, func() {}, fmt.Errorf("could not pack the modules: %w", err)
	}
	spec.Name, spec.Code = filepath.Base(spec.Code), f.Name()
	return needs, done, nil
}

// placedFiles are files for the working folders of processes, each FILE or NAME=FILE.
func placedFiles(given []string) (files []pyexec.File, err error) {
	for _, text := range given {
		name, path, named := strings.Cut(text, "=")
		if _, err := os.Stat(text); err == nil || !named {
			name, path = filepath.Base(text), text
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, usagef("could not send a file along: %v; --files FILE, or NAME=FILE, stands in the working folder of "+
				"code in Python, and what it runs over is --items", err)
		}
		files = append(files, pyexec.File{Name: name, Path: path})
	}
	return files, nil
}

// whereIs prints where a module is that Python imports: its folder, if it is a package.
const whereIs = `import importlib.util, os, sys
sys.path.insert(0, os.getcwd())
spec = importlib.util.find_spec(sys.argv[1].partition(".")[0])
print((spec.submodule_search_locations or [spec.origin])[0] if spec else "")`

// modulePath is the path of a module that is named by it, or by the name that Python on this host imports it by.
func (g *globals) modulePath(ctx context.Context, given string) (string, error) {
	if strings.ContainsRune(given, filepath.Separator) || strings.HasSuffix(given, ".py") ||
		strings.HasSuffix(given, ".whl") {
		return filepath.Abs(given)
	}
	info, err := g.python(ctx)
	if err != nil {
		return "", fmt.Errorf("could not look for the module %s: %w; name it by its path, ./%s", given, err, given)
	}
	out, err := osexec.CommandContext(ctx, info, "-c", whereIs, given).Output()
	path := strings.TrimSpace(string(out))
	if err != nil || !filepath.IsAbs(path) {
		return "", fmt.Errorf("could not find the module %s: %s imports none of that name from a file; name it by its path",
			given, info)
	}
	return path, nil
}
