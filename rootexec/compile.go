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
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// Source is a selector's source code: the file that ACLiC compiles and what it includes.
type Source struct {
	Main  string            // e.g. "DiMuon.C" or "sel/DiMuon.C"; one of Files
	Files map[string][]byte // relative slash-separated path -> content
	// Options are empty: it is compiled with optimisation; g: for a debugger, without; or Og: both.
	Options string
}

// DataDir is the folder in Source.Files of what is put into the working folder of each generation.
const DataDir = ".data"

// Hash names the source by its content.
func (s Source) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n", len(s.Main), s.Main)
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		fmt.Fprintf(h, "%d %s %d\n", len(name), name, len(s.Files[name]))
		h.Write(s.Files[name])
	}
	if s.Options != "" {
		fmt.Fprintf(h, "options %s\n", s.Options)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s Source) validate() error {
	if _, ok := s.Files[s.Main]; !ok {
		return fmt.Errorf("could not compile %q: it is not among the source files", s.Main)
	}
	if s.Options != "" && s.Options != "g" && s.Options != "Og" {
		return fmt.Errorf("could not compile %q: no such options: %q", s.Main, s.Options)
	}
	for name := range s.Files {
		if !filepath.IsLocal(name) || strings.ContainsAny(name, "\x00\\") {
			return fmt.Errorf("could not compile %q: the name of source file %q leads out of its folder", s.Main, name)
		}
	}
	return nil
}

// aclicName is how ACLiC itself names the library of main. Under another name it overlooks the header
// beside the source.
func aclicName(main string) string {
	base := filepath.Base(main)
	ext := filepath.Ext(base)
	return strings.TrimSuffix(base, ext) + "_" + strings.TrimPrefix(ext, ".")
}

func sourcesDir(dir, main string) string {
	return filepath.Join(dir, filepath.FromSlash(path.Dir(main)))
}

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
			So:       aclicName(src.Main) + ".so",
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
	headers, err := UnpackProof(ctx, e.cfg.Root, e.cfg.Cache)
	if err != nil {
		return err
	}
	p, err := e.base.Fork(ctx, roleCompiler)
	if err != nil {
		return err
	}
	defer p.Close()
	main := filepath.Join(dir, filepath.FromSlash(src.Main))
	limited, cancel := context.WithTimeout(ctx, e.cfg.CompileLimit)
	defer cancel()
	cut := make(chan string, 1)
	asked := time.AfterFunc(e.cfg.SyntaxAfter, func() {
		if text := e.cutShort(limited, main, headers.Include); text != "" {
			cut <- text
			cancel()
		}
	})
	defer asked.Stop()
	_, err = p.Call(limited, compileFrame{
		Op: "compile", Dir: dir, Sources: sourcesDir(dir, src.Main), Main: path.Base(src.Main),
		Lib: strings.TrimSuffix(m.So, ".so"), CXX: e.cfg.Root.CXX, Options: src.Options,
		Proof: headers.Include,
	})
	if limited.Err() != nil && ctx.Err() == nil {
		f := &exec.Failure{
			Kind:  exec.KindCode,
			Op:    "compile " + path.Base(src.Main),
			Entry: -1,
			Tail:  firstErrors(p.Output()),
			Msg: fmt.Sprintf("not compiled within %v: try it by hand, root -e '.L %s+'", e.cfg.CompileLimit,
				path.Base(src.Main)),
		}
		select {
		case f.Tail = <-cut:
			f.Msg = "the source ends too early: a brace or a bracket is missing"
		default:
		}
		return f
	}
	if f := asFailure(err); f != nil {
		f.Op, f.Tail = "compile "+path.Base(src.Main), firstErrors(p.Output())
		return f
	}
	if err != nil {
		return err
	}
	return seal(dir, m)
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
func (e *Executor) cutShort(ctx context.Context, main, headers string) string {
	r := e.cfg.Root
	cmd := osexec.CommandContext(ctx, r.CXX, "-fsyntax-only", "-w", "-x", "c++", "-std="+r.Std,
		"-I"+filepath.Dir(main), "-I"+headers, "-I"+r.Include, main)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "at end of input") && !strings.Contains(string(out), "to match this") {
		return ""
	}
	return firstErrors(string(out))
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
	if len(s) > maxErrors {
		s = s[:maxErrors] + "\n..."
	}
	return strings.TrimSpace(s)
}

// ErrPack is returned, under errors.Is, for bytes that are no library Unpack accepts.
var ErrPack = errors.New("not a packed library")
