package rootexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// Compiled returns the library of src that was compiled on this host, if it is in the cache, whole.
func (e *Executor) Compiled(src Source) (Library, bool) {
	return cachedLibrary(e.cfg.Cache, LibraryKey(src, e.cfg.Root.Platform))
}

// Compile compiles src with ACLiC, optimised, in a process of its own; what is in the cache costs
// nothing. Daemons that share the cache compile once. Code that does not compile is a *Failure of
// KindCode with the compiler's message in Tail.
func (e *Executor) Compile(ctx context.Context, src Source) (Library, error) {
	if err := src.validate(); err != nil {
		return Library{}, err
	}
	key := LibraryKey(src, e.cfg.Root.Platform)
	if lib, ok := cachedLibrary(e.cfg.Cache, key); ok {
		return lib, nil
	}
	dir := libDir(e.cfg.Cache, key)
	err := withLock(ctx, dir+".lock", func() error {
		if _, ok := cachedLibrary(e.cfg.Cache, key); ok {
			return nil
		}
		return e.compile(ctx, src, dir, meta{
			Key:      key,
			Platform: e.cfg.Root.Platform,
			Main:     src.Main,
			So:       soName(src),
			Shape:    src.Shape,
			Compiled: time.Now().UTC(),
		})
	})
	if err != nil {
		return Library{}, err
	}
	lib, ok := cachedLibrary(e.cfg.Cache, key)
	if !ok {
		return Library{}, fmt.Errorf("could not find the library of %q after it was compiled: was %q emptied?", src.Main,
			e.cfg.Cache)
	}
	return lib, nil
}

// compile works in dir itself, for ACLiC writes its path into the library; libMeta makes it whole.
func (e *Executor) compile(ctx context.Context, src Source, dir string, m meta) error {
	if err := writeSources(src, dir); err != nil {
		return err
	}
	if !src.compiled() {
		return seal(dir, m)
	}
	headers, err := UnpackProof(ctx, e.cfg.Root, e.cfg.Cache)
	if err != nil {
		return err
	}
	p, err := e.base.Fork(ctx, roleCompiler)
	if err != nil {
		return err
	}
	defer p.Close()
	sources := under(dir, append(slices.Clone(src.Parts), nonEmpty(src.Main)...))
	limited, cancel := context.WithTimeout(ctx, e.cfg.CompileLimit)
	defer cancel()
	cut := make(chan string, 1)
	asked := time.AfterFunc(e.cfg.SyntaxAfter, func() {
		if text := e.cutShort(limited, sources, append(under(dir, src.Includes), headers.Include)); text != "" {
			cut <- text
			cancel()
		}
	})
	defer asked.Stop()
	_, err = p.Call(limited, compileFrame{
		Op: "compile", Dir: dir, Sources: sourcesDir(dir, src.Main), Main: baseOf(src.Main),
		Lib: strings.TrimSuffix(m.So, ".so"), CXX: e.cfg.Root.CXX, Options: src.Options,
		Proof: headers.Include, Parts: src.partFrames(dir), Code: e.codeFrame(src.Shape, dir, false),
	})
	if limited.Err() != nil && ctx.Err() == nil {
		f := &exec.Failure{
			Kind:  exec.KindCode,
			Op:    "compile " + src.title(),
			Entry: -1,
			Tail:  firstErrors(p.Output()),
			Msg: fmt.Sprintf("not compiled within %v: try it by hand, root -e '.L %s+'", e.cfg.CompileLimit,
				src.title()),
		}
		select {
		case f.Tail = <-cut:
			f.Msg = "the source ends too early: a brace or a bracket is missing"
		default:
		}
		return f
	}
	if f := asFailure(err); f != nil {
		f.Op, f.Tail = "compile "+src.title(), firstErrors(p.Output())
		return explainCompile(f, p.Output())
	}
	if err != nil {
		return err
	}
	if err := freeOfPaths(dir); err != nil {
		return err
	}
	return seal(dir, m)
}

// soName is the base name of the library of the selector's own source, empty where there is none.
func soName(src Source) string {
	if src.Main == "" || src.Interpreted {
		return ""
	}
	return aclicName(src.Main) + ".so"
}

// baseOf is path.Base, but empty for an empty path.
func baseOf(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}

// title names the code for the user.
func (s Source) title() string {
	switch {
	case s.Main != "":
		return path.Base(s.Main)
	case len(s.Parts) > 0:
		return path.Base(s.Parts[len(s.Parts)-1])
	case len(s.Libs) > 0:
		return path.Base(s.Libs[len(s.Libs)-1])
	}
	return "the packages"
}

func writeSources(src Source, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("could not empty %q: %w", dir, err)
	}
	for name, content := range src.Files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("could not unpack sources: %w", err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return fmt.Errorf("could not unpack sources: %w", err)
		}
	}
	return nil
}

// cutShort asks the compiler by itself whether a source ends before it should, and returns what it says then. ROOT's
// dictionary generator waits for the rest of such a source for ever. Any other error is for ACLiC to tell, which
// includes more before the source than is known here.
func (e *Executor) cutShort(ctx context.Context, sources, includes []string) string {
	r := e.cfg.Root
	for _, source := range sources {
		args := []string{"-fsyntax-only", "-w", "-x", "c++", "-std=" + r.Std, "-I" + filepath.Dir(source)}
		for _, dir := range includes {
			args = append(args, "-I"+dir)
		}
		out, err := osexec.CommandContext(ctx, r.CXX, append(args, "-I"+r.Include, source)...).CombinedOutput()
		text := string(out)
		if err != nil && (strings.Contains(text, "at end of input") || strings.Contains(text, "to match this")) {
			return firstErrors(text)
		}
	}
	return ""
}

var errorLine = regexp.MustCompile(`(?m)^.*\b([Ee]rror|fatal)\b.*$`)

// maxErrors bounds what is told of a compiler's output, in bytes.
const maxErrors = 4 << 10

// firstErrors is the compiler's output from its first error on, at most 4 KiB: what follows the first
// error is seldom news.
func firstErrors(s string) string {
	if at := errorLine.FindStringIndex(s); at != nil {
		s = s[at[0]:]
	}
	if short := withoutNoise(s); short != "" {
		s = short
	}
	s = cachePath.ReplaceAllString(s, "")
	if len(s) > maxErrors {
		s = s[:maxErrors] + "\n..."
	}
	return strings.TrimSpace(s)
}

// ErrPack is returned, under errors.Is, for bytes that are no library Unpack accepts.
var ErrPack = errors.New("not a packed library")
