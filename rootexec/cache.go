package rootexec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/rootexec/proof"
)

// Compiled libraries lie in the folder "lib" of the cache, one folder for each, named by the key of sources and
// platform: these were compiled on this host. What a member had compiled elsewhere lies in "foreign", in a folder of
// that member: it runs for jobs of that member alone, for nobody can tell what it was compiled from. What is not used
// any more goes (prune.go).

// Library is a compiled selector in the cache.
type Library struct {
	Key      string // of sources and Platform, and of whose it is, if it was not compiled here
	Dir      string // sources and library
	So       string // path of the selector's own library; empty: the class is in others, or the source is interpreted
	Sources  string // folder of the file that was compiled
	Platform string // of the host that compiled it
	Main     string // of the Source
	Shape    Shape
	Proof    bool // what stands for PROOF is loaded whether the code names it or not
}

// Origin names a library that came from another member: the submitter that has signed its hash.
type Origin struct {
	Submitter string // peer id
	SHA256    string // of the packed library, hex
}

const libMeta = "dtpnode.json" // written last: a library without it is not whole

// meta is the content of libMeta.
type meta struct {
	Key      string    `json:"key"`
	Platform string    `json:"platform"`
	Main     string    `json:"main"`
	So       string    `json:"so"` // base name, or empty
	Shape    Shape     `json:"shape"`
	Compiled time.Time `json:"compiled"`
	// SHA-256, hex, of each file beside this one: what is cut short or damaged is not used
	Files map[string]string `json:"files"`
}

// ErrDamaged is returned, under errors.Is, for a cached library that is not what it was when it was written.
var ErrDamaged = errors.New("damaged library")

// LibraryKey names the library that src becomes on hosts of one Platform.
func LibraryKey(src Source, platform string) string {
	text := src.Hash() + "\n" + platform
	if src.needsProof() {
		text += "\n" + proof.Hash() // other headers, another library
	}
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:16])
}

// key names the library in the cache, apart from all that were compiled here or come from others.
func (o Origin) key(local string) string {
	h := sha256.Sum256([]byte(local + "\n" + o.SHA256))
	return ownerKey(o.Submitter) + hex.EncodeToString(h[:16])
}

// ownerKey is what the keys of a member's libraries begin with; no key of another one does.
func ownerKey(submitter string) string {
	h := sha256.Sum256([]byte(submitter))
	return hex.EncodeToString(h[:16]) + "."
}

func libDir(cache, key string) string {
	if owner, own, foreign := strings.Cut(key, "."); foreign {
		return filepath.Join(cache, "foreign", owner, own)
	}
	return filepath.Join(cache, "lib", key)
}

// cachedLibrary finds a library in the cache that is whole.
func cachedLibrary(cache, key string) (Library, bool) {
	dir := libDir(cache, key)
	m, err := readMeta(dir)
	if err != nil || m.Key != key || !m.local() {
		return Library{}, false
	}
	lib := Library{
		Key:      key,
		Dir:      dir,
		Sources:  sourcesDir(dir, m.Main),
		Platform: m.Platform,
		Main:     m.Main,
		Shape:    m.Shape,
	}
	if m.So != "" {
		lib.So = filepath.Join(dir, m.So)
	}
	if m.So != "" && m.Files[m.So] == "" || lib.Check() != nil {
		return Library{}, false
	}
	noteUse(dir)
	return lib, true
}

// local reports whether all that is to be compiled or loaded is in the library's folder.
func (m meta) local() bool {
	all := slices.Concat(nonEmpty(m.So), nonEmpty(m.Main), m.Shape.Parts, m.Shape.Includes, m.Shape.Libs)
	return !slices.ContainsFunc(all, func(name string) bool { return !filepath.IsLocal(name) })
}

// Check compares a library's files with what they were when they were written.
func (l Library) Check() error {
	m, err := readMeta(l.Dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for name, want := range m.Files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%w: %q is no file of it", ErrDamaged, name)
		}
		path := filepath.Join(l.Dir, filepath.FromSlash(name))
		if got, err := fileSum(path); err != nil || got != want {
			return fmt.Errorf("%w: %q has the SHA-256 %s, not %s: %w", ErrDamaged, path, got, want, cmpErr(err))
		}
	}
	return nil
}

// cmpErr is the error of reading, or that there was none.
func cmpErr(err error) error {
	if err == nil {
		return errors.New("it was cut short or changed")
	}
	return err
}

func readMeta(dir string) (m meta, err error) {
	b, err := os.ReadFile(filepath.Join(dir, libMeta))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// seal makes what lies in dir a library: all of it goes to disk, with its checksums, before the file that says so.
func seal(dir string, m meta) error {
	m.Files = map[string]string{}
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			dirs = append(dirs, path)
			return nil
		case !e.Type().IsRegular():
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == libMeta {
			return err
		}
		m.Files[filepath.ToSlash(name)], err = fileSum(path)
		return errors.Join(err, durable.Sync(path))
	})
	b, jsonErr := json.Marshal(m)
	if err = errors.Join(err, jsonErr); err != nil {
		return fmt.Errorf("could not write to the cache: %w", err)
	}
	slices.Reverse(dirs) // what a folder holds is on disk before the folder
	for _, d := range dirs {
		err = errors.Join(err, durable.Sync(d))
	}
	if err == nil {
		err = durable.PlaceSynced(filepath.Join(dir, libMeta), durable.Bytes(b))
	}
	if err = errors.Join(err, durable.Sync(filepath.Dir(dir))); err != nil {
		return fmt.Errorf("could not write to the cache: %w", err)
	}
	return nil
}

// Unpacked returns the library of src that came from another member, if it is in the cache.
func (e *Executor) Unpacked(src Source, from Origin) (Library, bool) {
	return cachedLibrary(e.cfg.Cache, from.key(LibraryKey(src, e.cfg.Root.Platform)))
}

// Forget drops the libraries that came from a member, and its selectors that are loaded for no job any more.
func (e *Executor) Forget(submitter string) error {
	owner := ownerKey(submitter)
	e.selectors.forget(owner)
	if err := os.RemoveAll(filepath.Dir(libDir(e.cfg.Cache, owner+"x"))); err != nil {
		return fmt.Errorf("could not drop the compiled code of a member: %w", err)
	}
	return nil
}
