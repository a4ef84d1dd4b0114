package exec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// outputMark is the extended attribute of files that a job has written. Its value says which jobs may replace the file:
// those with the same mark. Behind the mark stand the file's size in bytes and when it was changed last, in nanoseconds
// since 1970, with a blank before each: a file that its user has changed since is the user's. rootexec/child/results.cc
// sets and reads it too.
const outputMark = "user.dtpnode.output"

// OutputMark is the mark of the files that jobs of one submitter and one code write: their names come from whoever
// worked, so that a job must not replace what another has written. The code is what its user calls it, such as the path
// of a source: mended code replaces what it wrote before.
func OutputMark(submitter, kind, code string) string {
	sum := sha256.New()
	for _, s := range []string{submitter, kind, code} {
		fmt.Fprintf(sum, "%d %s\n", len(s), s)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Placed is a file of a result that was written to a folder.
type Placed struct {
	Path   string
	Before string // name that a file has now which was there, and which has another mark; empty for none
}

// PlaceFiles writes files of a result to their names below a folder, each whole or not at all. Their names come from
// the node that made the result: so none follows a link out of the folder, what is there gets another name unless a job
// of that mark (OutputMark) has written it, and a path that kept names, such as that of an input, is not used; kept may
// be nil. What was written before an error stays.
func PlaceFiles(
	r io.ReaderAt, files []ResultFile, dir, mark string, kept func(path string) bool,
) ([]Placed, error) {
	mark = cmp.Or(mark, NoMark)
	var placed []Placed
	for _, f := range files {
		if !localName(f.Name) {
			return placed, ErrResult
		}
		p := Placed{Path: below(dir, filepath.FromSlash(f.Name))}
		if kept != nil && kept(p.Path) {
			p.Path = numbered(p.Path, "merged")
		}
		if err := os.MkdirAll(filepath.Dir(p.Path), 0o777); err != nil {
			return placed, fmt.Errorf("could not write %q: %w", p.Path, err)
		}
		err := durable.PlaceSynced(p.Path, func(to *os.File) error {
			if _, err := io.Copy(to, io.NewSectionReader(r, f.Offset, f.Size)); err != nil {
				return err
			}
			if info, err := to.Stat(); err == nil {
				// Where the file system has no marks the next one is careful.
				_ = unix.Fsetxattr(int(to.Fd()), outputMark, []byte(mark+stampOf(info)), 0)
			}
			before, err := spare(p.Path, mark)
			p.Before = before
			return errors.Join(err, to.Chmod(0o644))
		})
		if err != nil {
			return placed, err
		}
		placed = append(placed, p)
	}
	return placed, nil
}

// below is the path of a name in a folder, or of its last part, where a link in the name leads out of the folder.
func below(dir, name string) string {
	path := filepath.Join(dir, name)
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return path // nothing is there yet
	}
	for at := filepath.Dir(path); len(at) > len(filepath.Clean(dir)); at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(at); err != nil {
				continue
			}
		}
		if rel, relErr := filepath.Rel(root, real); err != nil || relErr != nil || !filepath.IsLocal(rel) {
			return filepath.Join(dir, filepath.Base(name))
		}
		break
	}
	return path
}

// Marked reports whether a job of that mark has written a file, and nobody has changed it since.
func Marked(path, mark string) bool { return markOf(path) == cmp.Or(mark, NoMark) }

// Written reports whether some job has written a file, and nobody has changed it since.
func Written(path string) bool { return markOf(path) != "" }

// markOf is the mark of a file, empty if it has none that counts.
func markOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	value := make([]byte, markSize)
	n, err := unix.Getxattr(path, outputMark, value)
	if err != nil {
		return ""
	}
	mark, ok := strings.CutSuffix(string(value[:n]), stampOf(info))
	if !ok {
		return ""
	}
	return mark
}

// stampOf is what stands behind the mark of a file.
func stampOf(info fs.FileInfo) string {
	return fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
}

// NoMark stands for an empty OutputMark on disk, and markSize is more than any mark has with what stands behind it.
const (
	NoMark   = "1"
	markSize = 200
)

// spare gives what is at path another name unless a job of that mark has written it, and returns that.
func spare(path, mark string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", nil //nolint:nilerr // nothing is there, or a link to nothing, which is replaced itself
	}
	if Marked(path, mark) {
		return "", nil
	}
	for i := 1; ; i++ {
		mark := "before"
		if i > 1 {
			mark = fmt.Sprintf("before-%d", i)
		}
		other := numbered(path, mark)
		err := os.Link(path, other)
		if err == nil {
			return filepath.Base(other), nil
		}
		if !errors.Is(err, fs.ErrExist) || i == 10_000 {
			return "", fmt.Errorf("could not give %q another name: %w", path, err)
		}
	}
}

// numbered is a path with a mark before its ending.
func numbered(path, mark string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + mark + ext
}
