package rootexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/rootexec/proof"
)

// ProofLib is what stands for PROOF beside a ROOT, in the cache: the headers, which are always there, and the library,
// which is built when the first code needs it.
type ProofLib struct {
	Include string // folder of TProof.h
	Lib     string // folder of the library, its dictionary and its rootmap
}

// So is the path of the library.
func (p ProofLib) So() string { return filepath.Join(p.Lib, proof.Library+".so") }

// proofDir is the folder in the cache for one content of the sources, ROOT and compiler.
func proofDir(root *Root, cache string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%v\n", root.Dir, root.Platform, root.CXX, proof.Hash(), proofFlags(root))
	return filepath.Join(cache, "proof", hex.EncodeToString(h.Sum(nil)[:12]))
}

// UnpackProof puts the headers beside each other into the cache, once for each version of them and each ROOT.
func UnpackProof(ctx context.Context, root *Root, cache string) (ProofLib, error) {
	dir := proofDir(root, cache)
	p := ProofLib{Include: filepath.Join(dir, "include"), Lib: filepath.Join(dir, "lib")}
	if exists(p.Include) {
		return p, nil
	}
	err := withLock(ctx, dir+".lock", func() error {
		if exists(p.Include) {
			return nil
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		tmp, err := os.MkdirTemp(dir, "unpack-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(tmp) }()
		if err := proof.Unpack("include", tmp); err != nil {
			return err
		}
		return os.Rename(tmp, p.Include)
	})
	if err != nil {
		return ProofLib{}, fmt.Errorf("could not unpack the headers of PROOF: %w", err)
	}
	return p, nil
}

// BuildProof compiles the library as well, once; parallel callers, of several daemons too, wait for the first.
func BuildProof(ctx context.Context, root *Root, cache string, progress func(string)) (ProofLib, error) {
	p, err := UnpackProof(ctx, root, cache)
	if err != nil || exists(p.So()) {
		return p, err
	}
	dir := proofDir(root, cache)
	err = withLock(ctx, dir+".lock", func() error {
		if exists(p.So()) {
			return nil
		}
		if progress != nil {
			progress(fmt.Sprintf("compiling what stands for PROOF against ROOT %s (once)", root.Version))
		}
		return buildProof(ctx, root, dir, p)
	})
	if err != nil {
		return ProofLib{}, fmt.Errorf("could not build what stands for PROOF: %w", err)
	}
	return p, nil
}

// proofFlags compile one unit of the library.
func proofFlags(root *Root) []string {
	return []string{"-std=" + root.Std, "-pthread", "-fPIC", "-Wall", "-Wextra", "-Werror", "-O1"}
}

// proofLibs are the ROOT libraries that the library calls.
var proofLibs = []string{"-lCore", "-lRIO", "-lNet", "-lTree", "-lTreePlayer", "-lHist", "-lMathCore"}

func buildProof(ctx context.Context, root *Root, dir string, p ProofLib) error {
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := proof.Unpack("src", tmp); err != nil {
		return err
	}
	jobs, jctx := errgroup.WithContext(ctx)
	jobs.SetLimit(2)
	const dictionary = "G__Proof.cxx"
	units := map[string]string{dictionary: ""}
	maps.Copy(units, proof.Units())
	var objects []string
	for unit, text := range units {
		objects = append(objects, unit+".o")
		jobs.Go(func() error {
			if unit == dictionary {
				if err := proofDictionary(jctx, root, tmp, p); err != nil {
					return err
				}
			} else if err := os.WriteFile(filepath.Join(tmp, unit), []byte(text), 0o600); err != nil {
				return err
			}
			args := append(proofFlags(root), "-I", p.Include, "-isystem", root.Include, "-c", unit, "-o", unit+".o")
			return compiler(jctx, root, tmp, args...)
		})
	}
	if err := jobs.Wait(); err != nil {
		return err
	}
	// The name inside the library is what compiled code asks the loader for, whatever folder it lies in.
	args := append([]string{"-shared", "-pthread", "-Wl,-soname," + proof.Library + ".so", "-Wl,--allow-shlib-undefined",
		"-Wl,-rpath," + root.Lib}, objects...)
	args = append(append(args, "-L"+root.Lib), proofLibs...)
	if err := compiler(ctx, root, tmp, append(args, "-o", proof.Library+".so")...); err != nil {
		return err
	}
	return placeProof(tmp, p)
}

// proofDictionary makes the dictionary of the classes, which the compiler then compiles like any source.
func proofDictionary(ctx context.Context, root *Root, tmp string, p ProofLib) error {
	args := []string{"-f", "G__Proof.cxx", "-s", proof.Library + ".so", "-rml", proof.Library + ".so",
		"-rmf", proof.Library + ".rootmap", "-I" + p.Include}
	args = append(append(args, proof.Headers()...), "LinkDef.h")
	cmd := osexec.CommandContext(ctx, filepath.Join(root.Bin, "rootcling"), args...)
	cmd.Dir = tmp
	cmd.Env = childEnv(root, os.Environ())
	endWhole(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rootcling: %w\n%s", err, out)
	}
	return nil
}

// placeProof moves what was built to its folder, the library, whose presence says that all is there, at the end.
func placeProof(tmp string, p ProofLib) error {
	if err := os.MkdirAll(p.Lib, 0o700); err != nil {
		return err
	}
	var err error
	for _, alias := range proof.Aliases {
		link := filepath.Join(p.Lib, alias+".so")
		if exists(link) {
			continue
		}
		err = errors.Join(err, os.Symlink(proof.Library+".so", link))
	}
	for _, name := range []string{proof.Library + "_rdict.pcm", proof.Library + ".rootmap", proof.Library + ".so"} {
		if err == nil {
			err = os.Rename(filepath.Join(tmp, name), filepath.Join(p.Lib, name))
		}
	}
	return err
}

// needsProof reports whether sources include a header of PROOF.
func (s Source) needsProof() bool {
	for name, text := range s.Files {
		if isCode(name) && proof.Included(text) {
			return true
		}
	}
	return false
}

// proofFor builds the library if the code names something of it, and returns its path, else "".
func (e *Executor) proofFor(ctx context.Context, lib Library) (string, error) {
	objects := slices.Concat(nonEmpty(lib.So), under(lib.Dir, lib.Shape.Libs),
		e.codeFrame(lib.Shape, lib.Dir, !lib.Shape.Interpreted).Parts)
	if lib.Proof {
		p, err := BuildProof(ctx, e.cfg.Root, e.cfg.Cache, func(step string) { e.cfg.Log.Info(step) })
		return p.So(), err
	}
	var sources []string
	if lib.Shape.Interpreted {
		sources = under(lib.Dir, append(slices.Clone(lib.Shape.Parts), lib.Main))
	}
	for i, file := range append(objects, sources...) {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if i < len(objects) && !proof.Named(b) || i >= len(objects) && !proof.Included(b) {
			continue
		}
		p, err := BuildProof(ctx, e.cfg.Root, e.cfg.Cache, func(step string) { e.cfg.Log.Info(step) })
		return p.So(), err
	}
	return "", nil
}
