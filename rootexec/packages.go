package rootexec

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
)

// A PAR package is a gzipped tar of one folder, named as the package, with PROOF-INF/BUILD.sh, a shell script that
// builds it, PROOF-INF/SETUP.C, a macro whose function SETUP() loads it into a process, and PROOF-INF/depends, the
// names of packages that it needs; each may be missing. It is built once for each host, platform and content, in the
// cache's folder packages/KEY/NAME; KEY/built says that it was, and in what time.

// PackageSpec is a package that a user asks for.
type PackageSpec struct {
	File string   `json:"file"`           // absolute path, NAME.par
	Args []string `json:"args,omitempty"` // of SETUP(): the first for a const char *, all for a TList *
}

// Bounds of a PAR file.
const (
	maxPackageFiles = 20_000
	maxPackageBytes = 1 << 30 // unpacked
)

var packageName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@:+-]*$`)

// PackageName is the name of the package in a PAR file.
func PackageName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".par") }

// readPackages reads PAR files into files. A package that is named more than once has the arguments of all.
func readPackages(specs []PackageSpec, r *sourceReader) (out []Package, err error) {
	for _, spec := range specs {
		name := PackageName(spec.File)
		if at := slices.IndexFunc(out, func(p Package) bool { return p.Name == name }); at >= 0 {
			out[at].Args = append(out[at].Args, spec.Args...)
			continue
		}
		file := packageFile(name)
		if err := r.read(file, spec.File); err != nil {
			return nil, err
		}
		out = append(out, Package{Name: name, Args: spec.Args})
	}
	if out, err = inOrder(out, r.files); err != nil {
		return nil, err
	}
	for i, sum := range chain(out, r.files) {
		out[i].Sum = sum
	}
	return out, nil
}

// chain are sums of packages, each over the files of those before it too, of which it may be made.
func chain(packages []Package, files map[string][]byte) []string {
	h := sha256.New()
	var out []string
	for _, p := range packages {
		file := files[packageFile(p.Name)]
		fmt.Fprintf(h, "%s %d\n", p.Name, len(file))
		h.Write(file)
		out = append(out, hex.EncodeToString(h.Sum(nil)))
	}
	return out
}

func packageFile(name string) string { return path.Join(PackageDir, name+".par") }

// inOrder sorts packages such that those that others depend on come first, and keeps their order else.
func inOrder(packages []Package, files map[string][]byte) (out []Package, err error) {
	depends := map[string][]string{}
	for _, p := range packages {
		if depends[p.Name], err = dependsOf(p.Name, files[packageFile(p.Name)]); err != nil {
			return nil, err
		}
	}
	state := map[string]int{} // 1: being placed, 2: placed
	var place func(p Package) error
	place = func(p Package) error {
		switch state[p.Name] {
		case 1:
			return fmt.Errorf("could not order the packages: %q depends on itself, through PROOF-INF/depends", p.Name)
		case 2:
			return nil
		}
		state[p.Name] = 1
		for _, name := range depends[p.Name] {
			at := slices.IndexFunc(packages, func(q Package) bool { return q.Name == name })
			if at < 0 {
				return fmt.Errorf("could not use the package %q: its PROOF-INF/depends names %q, which is not given; add "+
					"--package %s.par", p.Name, name, name)
			}
			if err := place(packages[at]); err != nil {
				return err
			}
		}
		state[p.Name] = 2
		out = append(out, p)
		return nil
	}
	for _, p := range packages {
		if err := place(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func dependsOf(name string, par []byte) (out []string, err error) {
	err = walkPackage(name, par, func(h *tar.Header, r io.Reader) error {
		if path.Clean(h.Name) != path.Join(name, "PROOF-INF", "depends") {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(r, 1<<16))
		out = strings.Fields(string(text))
		return err
	})
	return out, err
}

// walkPackage calls f for each entry of a PAR file, all of which lie in the package's folder.
func walkPackage(name string, par []byte, f func(*tar.Header, io.Reader) error) error {
	fail := func(why any) error { return fmt.Errorf("could not read the package %s.par: %v", name, why) }
	if !packageName.MatchString(name) {
		return fail("a package's name is made of letters, digits, and _ . @ : + -")
	}
	z, err := gzip.NewReader(bytes.NewReader(par))
	if err != nil {
		return fail("it is no gzipped tar: " + err.Error())
	}
	defer z.Close()
	tooLarge := fmt.Sprintf("it has more than %d bytes unpacked", int64(maxPackageBytes))
	unpacked := &io.LimitedReader{R: z, N: maxPackageBytes + 1}
	t := tar.NewReader(unpacked)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			return fail("it is empty")
		case errors.Is(err, io.EOF):
			return nil
		case unpacked.N == 0:
			return fail(tooLarge)
		case err != nil:
			return fail(err)
		case n == maxPackageFiles:
			return fail(fmt.Sprintf("it has more than %d files", maxPackageFiles))
		}
		at := path.Clean(h.Name)
		if at == "." {
			continue
		}
		if !inPackage(name, at) {
			return fail(fmt.Sprintf("it holds %q: all of it must be in a folder %s/, as `tar czf %s.par %s` makes it", h.Name,
				name, name, name))
		}
		if err := f(h, t); err != nil && unpacked.N == 0 {
			return fail(tooLarge)
		} else if err != nil {
			return err
		}
	}
}

// inPackage reports whether a path in a PAR file is that of its folder, or of something in it.
func inPackage(name, at string) bool {
	return filepath.IsLocal(at) && (at == name || strings.HasPrefix(at, name+"/"))
}

// unpackPackage writes a PAR file's folder into dir.
func unpackPackage(name string, par []byte, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return walkPackage(name, par, func(h *tar.Header, r io.Reader) error { return unpackEntry(root, name, h, r) })
}

// unpackEntry writes one entry of a PAR file.
func unpackEntry(root *os.Root, name string, h *tar.Header, r io.Reader) error {
	at := path.Clean(h.Name)
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(at, 0o700)
	}
	if err := root.MkdirAll(path.Dir(at), 0o700); err != nil {
		return err
	}
	leadsOut := fmt.Errorf("could not unpack the package %s: the link %q leads out of it", name, h.Name)
	switch h.Typeflag {
	case tar.TypeReg:
		f, err := root.OpenFile(at, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600|os.FileMode(h.Mode)&0o700)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	case tar.TypeSymlink:
		if filepath.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(at), h.Linkname)) {
			return leadsOut
		}
		return root.Symlink(h.Linkname, at)
	case tar.TypeLink: // tar writes one for each further name of a file
		if !inPackage(name, path.Clean(h.Linkname)) {
			return leadsOut
		}
		return root.Link(path.Clean(h.Linkname), at)
	}
	return nil // devices and the like
}

// packageKey names what a package becomes on hosts of one platform.
func packageKey(sum, platform string) string {
	h := sha256.Sum256([]byte("package " + sum + "\n" + platform))
	return hex.EncodeToString(h[:16])
}

// packageDir is the folder of the package on this host, once it is built.
func (e *Executor) packageDir(p Package) string {
	return filepath.Join(e.cfg.Cache, "packages", packageKey(p.Sum, e.cfg.Root.Platform), p.Name)
}

// builtFile marks a package that is built whole; it holds the package's name.
const builtFile = "built"

func (s Source) validatePackages() error {
	for i, sum := range chain(s.Packages, s.Files) {
		p := s.Packages[i]
		if _, ok := s.Files[packageFile(p.Name)]; !ok || !packageName.MatchString(p.Name) || p.Sum != sum {
			return fmt.Errorf("could not use the package %q: it is not among the files", p.Name)
		}
	}
	return nil
}

// BuildPackages builds the packages of a source that are not built on this host yet, each once however many ask. A
// package that cannot be built, or set up, is a *Failure of KindCode with what BUILD.sh printed in Tail.
func (e *Executor) BuildPackages(ctx context.Context, src Source, tell func(string)) error {
	for i, p := range src.Packages {
		dir := filepath.Dir(e.packageDir(p))
		if exists(filepath.Join(dir, builtFile)) {
			continue
		}
		err := withLock(ctx, dir+".lock", func() error {
			if exists(filepath.Join(dir, builtFile)) {
				return nil
			}
			if tell != nil {
				tell("building the package " + p.Name)
			}
			return e.buildPackage(ctx, src, src.Packages[:i+1], dir)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// buildPackage builds the last of packages, on which the others may have an influence, and sets all of them up once, so
// that what SETUP() compiles is there for the processes to come.
func (e *Executor) buildPackage(ctx context.Context, src Source, packages []Package, dir string) error {
	p := packages[len(packages)-1]
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	par := src.Files[packageFile(p.Name)]
	if err := unpackPackage(p.Name, par, dir); err != nil {
		return packageFailure(p, err.Error(), "")
	}
	if err := e.runBuild(ctx, packages); err != nil {
		return err
	}
	proc, err := e.base.Fork(ctx, roleCompiler)
	if err != nil {
		return err
	}
	defer proc.Close()
	limited, cancel := context.WithTimeout(ctx, e.cfg.CompileLimit)
	defer cancel()
	code := e.codeFrame(Shape{Packages: packages}, dir, false)
	_, err = proc.Call(limited, setupFrame{Op: "setup", Code: code})
	if limited.Err() != nil && ctx.Err() == nil {
		return packageFailure(p, fmt.Sprintf("SETUP() did not end within %v", e.cfg.CompileLimit), proc.Output())
	}
	if f := asFailure(err); f != nil {
		f.Kind, f.Op, f.Tail = exec.KindCode, "set up the package "+p.Name, lastLines(proc.Output())
		return f
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, builtFile), []byte(p.Name), 0o600)
}

func packageFailure(p Package, msg, output string) error {
	return &exec.Failure{
		Kind: exec.KindCode, Op: "build the package " + p.Name, Entry: -1, Msg: msg, Tail: lastLines(output),
	}
}

// lastLines are the last of what a script printed, where its errors are, at most 4 KiB.
func lastLines(s string) string {
	s = strings.TrimSpace(s)
	if len(s) <= maxErrors {
		return s
	}
	s = s[len(s)-maxErrors:]
	if _, rest, ok := strings.Cut(s, "\n"); ok {
		s = rest
	}
	return "...\n" + s
}

// runBuild runs BUILD.sh of the last of packages in its folder. As with PROOF, ROOTINCLUDEPATH holds the folders of
// headers, here those of the packages before it.
func (e *Executor) runBuild(ctx context.Context, packages []Package) error {
	p := packages[len(packages)-1]
	dir := e.packageDir(p)
	script := filepath.Join("PROOF-INF", "BUILD.sh")
	if !exists(filepath.Join(dir, script)) {
		return nil
	}
	var includes []string
	for _, other := range packages[:len(packages)-1] {
		includes = append(includes, "-I"+e.packageDir(other))
	}
	includes = append(includes, "-I"+e.cfg.Root.Include)
	limited, cancel := context.WithTimeout(ctx, e.cfg.CompileLimit)
	defer cancel()
	cmd := osexec.CommandContext(limited, "/bin/sh", script)
	if text, err := os.ReadFile(filepath.Join(dir, script)); err == nil && bytes.HasPrefix(text, []byte("#!")) {
		if err := os.Chmod(filepath.Join(dir, script), 0o700); err != nil {
			return err
		}
		cmd = osexec.CommandContext(limited, "./"+script) // another shell than sh
	}
	cmd.Dir = dir
	env := childEnv(e.cfg.Root, os.Environ())
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "ROOTSYS=") }) {
		env = append(env, "ROOTSYS="+e.cfg.Root.Dir)
	}
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "CPATH=") }) {
		// root-config of a ROOT that was moved, as a Python wheel is, names a folder that is not there
		env = append(env, "CPATH="+e.cfg.Root.Include)
	}
	cmd.Env = append(env, "ROOTINCLUDEPATH="+strings.Join(includes, " "), "CXX="+e.cfg.Root.CXX)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // make, and what it started
	cmd.WaitDelay = 5 * time.Second
	var out tailWriter
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return packageFailure(p, fmt.Sprintf("PROOF-INF/BUILD.sh did not end within %v", e.cfg.CompileLimit), out.String())
	case err != nil:
		return packageFailure(p, "PROOF-INF/BUILD.sh failed: "+err.Error(), out.String())
	}
	return nil
}

// tailWriter keeps the last of what is written to it.
type tailWriter struct{ b []byte }

func (w *tailWriter) Write(b []byte) (int, error) {
	w.b = append(w.b, b...)
	if over := len(w.b) - 4*maxErrors; over > 0 {
		w.b = append(w.b[:0], w.b[over:]...)
	}
	return len(b), nil
}

func (w *tailWriter) String() string { return string(w.b) }

// BuiltPackage is a package as it is built in the cache of a host.
type BuiltPackage struct {
	Name  string    `json:"name"`
	Dir   string    `json:"dir"`
	Bytes int64     `json:"bytes"`
	Built time.Time `json:"built"`
}

// BuiltPackages lists what is built in the cache, in the order of their names, newest first.
func BuiltPackages(cache string) ([]BuiltPackage, error) {
	marks, err := filepath.Glob(filepath.Join(cache, "packages", "*", builtFile))
	if err != nil {
		return nil, err
	}
	var out []BuiltPackage
	for _, mark := range marks {
		name, err := os.ReadFile(mark)
		info, statErr := os.Stat(mark)
		if err != nil || statErr != nil || !packageName.Match(name) {
			continue // it is being removed
		}
		p := BuiltPackage{Name: string(name), Dir: filepath.Join(filepath.Dir(mark), string(name)), Built: info.ModTime()}
		p.Bytes = bytesIn(p.Dir)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b BuiltPackage) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return b.Built.Compare(a.Built)
	})
	return out, nil
}

func bytesIn(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what vanishes while it is counted counts nothing
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// RemovePackage removes what is built of the package of a name, all if it is empty, and returns how many were there.
// Processes that have loaded it go on with what they have.
func RemovePackage(ctx context.Context, cache, name string) (int, error) {
	built, err := BuiltPackages(cache)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range built {
		if name != "" && p.Name != name {
			continue
		}
		dir := filepath.Dir(p.Dir)
		err := withLock(ctx, dir+".lock", func() error {
			return errors.Join(os.Remove(filepath.Join(dir, builtFile)), os.RemoveAll(dir))
		})
		if err != nil {
			return n, fmt.Errorf("could not remove the package %s: %w", p.Name, err)
		}
		n++
	}
	return n, nil
}

// CheckPackage refuses bytes that are no PAR file of the package name.
func CheckPackage(name string, par []byte) error {
	return walkPackage(name, par, func(*tar.Header, io.Reader) error { return nil })
}

// KeepPackage writes a PAR file into a folder of them, whole or not at all.
func KeepPackage(dir, name string, par []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("could not keep the package: %w", err)
	}
	return durable.Place(filepath.Join(dir, name+".par"), durable.Bytes(par))
}
