package rootexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
)

// FindOptions says where to look for ROOT before the usual places.
type FindOptions struct {
	Prefix string // what the user named; nowhere else is looked then
	Cache  string // cache folder, where Install may have put one
}

// Root is one installation of ROOT.
type Root struct {
	Dir      string // prefix
	Version  string // 6.40.00
	Include  string // folder of TTree.h
	Lib      string // folder of libCore.so
	Bin      string // folder of rootcling
	CXX      string // C++ compiler
	Std      string // C++ standard ROOT was built with, c++17
	Platform string // libraries may be shared by hosts of the same Platform: linux-amd64/ROOT 6.40.00/g++ 12.2.0
}

// ErrNoROOT is returned, under errors.Is, if there is no usable ROOT.
var ErrNoROOT = fmt.Errorf("no ROOT found: %w", exec.ErrNone)

// ErrNoCompiler is returned, under errors.Is, if there is a ROOT but no C++ compiler for it.
var ErrNoCompiler = errors.New("no C++ compiler: install g++ (Debian: apt install g++; Fedora: dnf install gcc-c++)")

// NoROOTError says where ROOT was looked for. What to do about it depends on who looked, who says so.
type NoROOTError struct {
	Tried []string // place: what was wrong there
}

func (e *NoROOTError) Error() string {
	return fmt.Sprintf("no ROOT found (%s)", strings.Join(e.Tried, "; "))
}

// Unwrap makes errors.Is(err, ErrNoROOT) true.
func (e *NoROOTError) Unwrap() error { return ErrNoROOT }

// Find looks for ROOT: Prefix alone if it is set, else $ROOTSYS, root-config on the PATH, a python3 that
// can import ROOT, and what Install put into the cache. It does not start ROOT.
func Find(ctx context.Context, opt FindOptions) (*Root, error) {
	places := []place{
		{"$ROOTSYS", func(context.Context) []string { return nonEmpty(os.Getenv("ROOTSYS")) }},
		{"root-config", rootConfigDirs},
		{"python3", pythonDirs},
		{"the cache", func(context.Context) []string { return nonEmpty(installedDir(opt.Cache)) }},
	}
	if opt.Prefix != "" {
		places = []place{{"--root", func(context.Context) []string { return []string{opt.Prefix} }}}
	}
	notFound := &NoROOTError{}
	for _, p := range places {
		dirs := p.dirs(ctx)
		if len(dirs) == 0 {
			notFound.Tried = append(notFound.Tried, p.name+": nothing")
		}
		for _, dir := range dirs {
			r, err := rootAt(ctx, dir)
			if err == nil {
				return r, nil
			}
			if errors.Is(err, ErrNoCompiler) { // another ROOT would lack it too
				return nil, err
			}
			notFound.Tried = append(notFound.Tried, p.name+": "+err.Error())
		}
	}
	return nil, notFound
}

type place struct {
	name string
	dirs func(context.Context) []string // candidates, the best first
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func rootConfigDirs(ctx context.Context) []string {
	exe, err := osexec.LookPath("root-config")
	if err != nil {
		return nil
	}
	var dirs []string
	if out, err := osexec.CommandContext(ctx, exe, "--prefix").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		dirs = append(dirs, filepath.Dir(filepath.Dir(real)))
	}
	return dirs
}

// pythonDirs asks python3 where it would import ROOT from: importing takes a second and more.
func pythonDirs(ctx context.Context) []string {
	const script = `import importlib.util, sys
s = importlib.util.find_spec("ROOT")
print(*(list(s.submodule_search_locations or []) + [sys.prefix] if s else []), sep="\n")`
	out, err := osexec.CommandContext(ctx, "python3", "-c", script).Output()
	if err != nil {
		return nil
	}
	var dirs []string
	for _, d := range strings.Fields(string(out)) {
		dirs = append(dirs, d, filepath.Dir(d), filepath.Dir(filepath.Dir(d)))
	}
	return dirs
}

// rootAt describes the ROOT installed in dir, which may be its prefix or a Python environment that has
// it.
func rootAt(ctx context.Context, dir string) (*Root, error) {
	if w, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages", "ROOT")); len(w) > 0 {
		if r, err := rootAt(ctx, w[0]); err == nil {
			return r, nil
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("could not make %q absolute: %w", dir, err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	r := &Root{Dir: dir}
	r.Include = firstWith(dir, "TTree.h", "include", "include/root")
	r.Lib = firstWith(dir, "libCore.so", "lib", "lib/root", "lib64", "lib64/root", "lib/"+multiarch(),
		"lib/"+multiarch()+"/root")
	r.Bin = firstWith(dir, "rootcling", "bin")
	if r.Include == "" || r.Lib == "" || r.Bin == "" {
		return nil, fmt.Errorf("%s has no complete ROOT (include/TTree.h, lib/libCore.so, bin/rootcling)", dir)
	}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	return r, r.findCompiler(ctx)
}

func firstWith(dir, file string, subs ...string) string {
	for _, s := range subs {
		if exists(filepath.Join(dir, s, file)) {
			return filepath.Join(dir, s)
		}
	}
	return ""
}

// multiarch is Debian's name of this platform.
func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

var (
	versionPart = regexp.MustCompile(`#define ROOT_VERSION_(MAJOR|MINOR|PATCH)\s+(\d+)`)
	release     = regexp.MustCompile(`#define ROOT_RELEASE\s+"([^"]+)"`)
	stdFlag     = regexp.MustCompile(`-std=(\S+?)["\s]`)
)

func (r *Root) readVersion() error {
	for _, h := range []string{"ROOT/RVersion.hxx", "RVersion.h"} {
		b, err := os.ReadFile(filepath.Join(r.Include, h))
		if err != nil {
			continue
		}
		if m := release.FindSubmatch(b); m != nil {
			r.Version = canonicalVersion(string(m[1]))
		} else if parts := versionPart.FindAllSubmatch(b, -1); len(parts) == 3 {
			r.Version = fmt.Sprintf("%s.%02s.%02s", parts[0][2], parts[1][2], parts[2][2])
		}
		if r.Version != "" {
			break
		}
	}
	if r.Version == "" {
		return fmt.Errorf("could not read the version of the ROOT in %q", r.Dir)
	}
	if why := tooOld(r.Version); why != "" {
		return fmt.Errorf("the ROOT in %q cannot be used: %s", r.Dir, why)
	}
	r.Std = "c++17"
	if b, err := os.ReadFile(filepath.Join(r.Include, "compiledata.h")); err == nil {
		if m := stdFlag.FindSubmatch(b); m != nil {
			r.Std = string(m[1])
		}
	}
	return nil
}

// findCompiler takes $CXX, or the usual names.
func (r *Root) findCompiler(ctx context.Context) error {
	for _, name := range append(nonEmpty(os.Getenv("CXX")), "c++", "g++", "clang++") {
		exe, err := osexec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := osexec.CommandContext(ctx, exe, "--version").Output()
		if err != nil {
			continue
		}
		r.CXX = exe
		r.Platform = fmt.Sprintf("%s-%s/ROOT %s/%s", runtime.GOOS, runtime.GOARCH, r.Version, compilerName(string(out)))
		return nil
	}
	return fmt.Errorf("ROOT is in %q, but there is %w", r.Dir, ErrNoCompiler)
}

var dotted = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

// compilerName shortens the first line of --version: "g++ 12.2.0".
func compilerName(version string) string {
	line, _, _ := strings.Cut(version, "\n")
	kind := "g++"
	if strings.Contains(line, "clang") {
		kind = "clang"
	}
	all := dotted.FindAllString(line, -1)
	if len(all) == 0 {
		return kind
	}
	return kind + " " + all[len(all)-1]
}
