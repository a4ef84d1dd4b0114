package rootexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Source is a selector's source code: the file that ACLiC compiles and what it includes.
type Source struct {
	Main  string            // e.g. "DiMuon.C" or "sel/DiMuon.C"; one of Files
	Files map[string][]byte // relative slash-separated path -> content
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
	return hex.EncodeToString(h.Sum(nil))
}

func (s Source) validate() error {
	if _, ok := s.Files[s.Main]; !ok {
		return fmt.Errorf("could not compile %q: it is not among the source files", s.Main)
	}
	for name := range s.Files {
		if !filepath.IsLocal(name) || strings.ContainsAny(name, "\x00\\") {
			return fmt.Errorf("could not compile %q: the name of source file %q leads out of its folder", s.Main, name)
		}
	}
	return nil
}

// Library is a compiled selector in the cache.
type Library struct {
	Key      string // of sources and Platform
	Dir      string // sources and library
	So       string // the shared library's path
	Sources  string // folder of the file that was compiled
	Platform string // of the host that compiled it
}

const libMeta = "dtpnode.json" // written last: a library without it is not whole

// meta is the content of libMeta.
type meta struct {
	Key      string    `json:"key"`
	Platform string    `json:"platform"`
	Main     string    `json:"main"`
	So       string    `json:"so"` // base name
	Compiled time.Time `json:"compiled"`
}

// LibraryKey names the library that src becomes on hosts of one Platform.
func LibraryKey(src Source, platform string) string {
	h := sha256.Sum256([]byte(src.Hash() + "\n" + platform))
	return hex.EncodeToString(h[:16])
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

func libDir(cache, key string) string { return filepath.Join(cache, "lib", key) }

// Compiled returns the library of src from the cache, if it is there.
func (e *Executor) Compiled(src Source) (Library, bool) {
	return cachedLibrary(e.cfg.Cache, LibraryKey(src, e.cfg.Root.Platform))
}

func cachedLibrary(cache, key string) (Library, bool) {
	dir := libDir(cache, key)
	b, err := os.ReadFile(filepath.Join(dir, libMeta))
	var m meta
	if err != nil || json.Unmarshal(b, &m) != nil || m.Key != key || !filepath.IsLocal(m.So) || !filepath.IsLocal(m.Main) {
		return Library{}, false
	}
	return Library{Key: key, Dir: dir, So: filepath.Join(dir, m.So), Sources: sourcesDir(dir, m.Main), Platform: m.Platform}, true
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
		return e.compile(ctx, src, dir, meta{Key: key, Platform: e.cfg.Root.Platform, Main: src.Main, So: aclicName(src.Main) + ".so", Compiled: time.Now().UTC()})
	})
	if err != nil {
		return Library{}, err
	}
	lib, ok := cachedLibrary(e.cfg.Cache, key)
	if !ok {
		return Library{}, fmt.Errorf("could not find the library of %q after it was compiled: was %q emptied?", src.Main, e.cfg.Cache)
	}
	return lib, nil
}

// compile works in dir itself, for ACLiC writes its path into the library; libMeta makes it whole.
func (e *Executor) compile(ctx context.Context, src Source, dir string, m meta) error {
	if err := writeSources(src, dir); err != nil {
		return err
	}
	p, err := e.fork(ctx, "compiler")
	if err != nil {
		return err
	}
	defer p.close()
	_, err = p.call(ctx, compileFrame{Op: "compile", Dir: dir, Sources: sourcesDir(dir, src.Main), Main: path.Base(src.Main), Lib: strings.TrimSuffix(m.So, ".so"), CXX: e.cfg.Root.CXX})
	if f := asFailure(err); f != nil {
		f.Op, f.Tail = "compile "+path.Base(src.Main), firstErrors(p.out.text())
		return f
	}
	if err != nil {
		return err
	}
	return writeMeta(dir, m)
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

func writeMeta(dir string, m meta) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, libMeta+".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("could not write to the cache: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, libMeta)); err != nil {
		return fmt.Errorf("could not write to the cache: %w", err)
	}
	return nil
}

var errorLine = regexp.MustCompile(`(?m)^.*\b([Ee]rror|fatal)\b.*$`)

// firstErrors is the compiler's output from its first error on, at most 4 KiB: what follows the first
// error is seldom news.
func firstErrors(s string) string {
	if at := errorLine.FindStringIndex(s); at != nil {
		s = s[at[0]:]
	}
	if len(s) > maxTail {
		s = s[:maxTail] + "\n..."
	}
	return strings.TrimSpace(s)
}

// ErrPack is returned, under errors.Is, for bytes that are no library Unpack accepts.
var ErrPack = errors.New("not a packed library")
