package rootexec

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

//go:embed child/*.cc child/*.h
var childSources embed.FS

const childName = "dtpnode-root"

// childLibs are the ROOT libraries the child itself calls; user code loads what else it needs.
var childLibs = []string{"-lCore", "-lRIO", "-lNet", "-lTree", "-lTreePlayer", "-lHist", "-lPhysics", "-lMathCore"}

// BuildChild compiles the child against root, once for each version of its sources, ROOT and compiler;
// parallel callers, of several daemons too, wait for the first. The executable is in the cache folder.
func BuildChild(ctx context.Context, root *Root, cache string, progress func(string)) (exe string, err error) {
	if progress == nil {
		progress = func(string) {}
	}
	key, err := childKey(root)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "child", key)
	exe = filepath.Join(dir, childName)
	if exists(exe) {
		return exe, nil
	}
	err = withLock(ctx, dir+".lock", func() error {
		if exists(exe) {
			return nil
		}
		return buildChild(ctx, root, dir, progress)
	})
	if err != nil {
		return "", fmt.Errorf("could not build the ROOT child: %w", err)
	}
	return exe, nil
}

func childKey(root *Root) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", root.Dir, root.Platform, root.CXX)
	files, err := childSources.ReadDir("child")
	if err != nil {
		return "", err
	}
	var sources []string
	for _, f := range files {
		b, err := childSources.ReadFile(path.Join("child", f.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", f.Name(), len(b))
		h.Write(b)
		sources = append(sources, f.Name())
	}
	fmt.Fprintf(h, "%v\n", childUnits(sources)) // how it is compiled changes the executable too
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}

func buildChild(ctx context.Context, root *Root, dir string, progress func(string)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	sources, err := unpackSources(tmp)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("compiling dtpnode's ROOT child against ROOT %s (once)", root.Version))
	jobs, jctx := errgroup.WithContext(ctx)
	var objects []string
	for _, u := range childUnits(sources) {
		objects = append(objects, u.name+".o")
		jobs.Go(func() error { return u.compile(jctx, root, tmp) })
	}
	if err := jobs.Wait(); err != nil {
		return err
	}
	// Symbols of the program stay visible for stack traces. What ROOT's libraries need in turn, the
	// loader finds by their own run paths, which the linker does not follow.
	args := append([]string{"-rdynamic", "-pthread", "-Wl,--allow-shlib-undefined", "-Wl,-rpath," + root.Lib}, objects...)
	args = append(append(args, "-L"+root.Lib), childLibs...)
	if err := compiler(ctx, root, tmp, append(args, "-o", childName)...); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, childName), filepath.Join(dir, childName))
}

// unpackSources writes the embedded sources to dir and returns the names of those to compile.
func unpackSources(dir string) ([]string, error) {
	files, err := childSources.ReadDir("child")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		b, err := childSources.ReadFile(path.Join("child", f.Name()))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), b, 0o600); err != nil {
			return nil, err
		}
		if strings.HasSuffix(f.Name(), ".cc") {
			out = append(out, f.Name())
		}
	}
	return out, nil
}

// setupOnly are the sources that run when a process starts, a job is loaded or ends, and not for every packet or
// partial. The rest is optimized more.
var setupOnly = []string{
	"client.cc", "code.cc", "inputlist.cc", "listing.cc", "main.cc", "outputfile.cc", "proof.cc", "results.cc",
	"roles.cc", "selector.cc", "warm.cc", "world.cc", "zygote.cc",
}

// childUnit is one translation unit: one file that includes sources. Nearly all the time of compiling a source goes
// into the headers of ROOT and of JSON and into the templates they instantiate, which a unit pays for once. Two units
// of about the same cost, compiled side by side, take a third of the time of 13. The price is that two sources of one
// unit cannot have the same name in their unnamed namespaces, which the compiler tells.
type childUnit struct {
	name     string // of its file, without .cc
	optimize string // compiler flag
	sources  []string
}

// childUnits groups the C++ sources among files.
func childUnits(files []string) []childUnit {
	work := childUnit{name: "unit-work", optimize: "-O2"}
	setup := childUnit{name: "unit-setup", optimize: "-O1"}
	for _, src := range files {
		switch {
		case path.Ext(src) != ".cc":
		case slices.Contains(setupOnly, src):
			setup.sources = append(setup.sources, src)
		default:
			work.sources = append(work.sources, src)
		}
	}
	return []childUnit{work, setup}
}

func (u childUnit) compile(ctx context.Context, root *Root, dir string) error {
	var text strings.Builder
	for _, src := range u.sources {
		fmt.Fprintf(&text, "#include %q\n", src)
	}
	if err := os.WriteFile(filepath.Join(dir, u.name+".cc"), []byte(text.String()), 0o600); err != nil {
		return err
	}
	// ROOT's headers warn of another standard than ROOT's own, which is no error here: see childStandard.
	return compiler(ctx, root, dir, "-std="+childStandard(root.Std), "-pthread", "-Wall", "-Wextra", "-Werror",
		"-Wno-cpp", u.optimize,
		"-isystem", root.Include, "-c", u.name+".cc", "-o", u.name+".o")
}

func compiler(ctx context.Context, root *Root, dir string, args ...string) error {
	cmd := osexec.CommandContext(ctx, root.CXX, args...)
	cmd.Dir = dir
	endWhole(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		if lacks := lackedBy(out); lacks != "" {
			return fmt.Errorf("the ROOT in %s is not whole: %s is neither there nor elsewhere on this host; "+
				"install this ROOT anew, or name another with --root (%s: %w)\n%s", root.Dir, lacks, root.CXX, err, out)
		}
		return fmt.Errorf("%s: %w\n%s", root.CXX, err, out)
	}
	return nil
}

// endWhole has a command's whole group of processes killed when its context ends: what it has started would hold its
// output open else, and be waited for.
func endWhole(cmd *osexec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// lackedFile matches what g++, clang and the linker print of a header or a library that they do not find.
var lackedFile = regexp.MustCompile(
	`fatal error: '?([^:'\n]+)'?(?:: No such file or directory| file not found)|cannot find -l(\w+)`)

// lackedBy is the header or the library that a compiler did not find, empty if it complains of something else.
func lackedBy(out []byte) string {
	switch m := lackedFile.FindSubmatch(out); {
	case m == nil:
		return ""
	case len(m[1]) > 0:
		return "the header " + string(m[1])
	default:
		return "the library " + string(m[2])
	}
}
