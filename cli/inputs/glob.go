package inputs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// globbing expands a glob as filepath.Glob does, but notes the folders that it could not read: filepath.Glob skips
// them, so their files would silently be missing.
type globbing struct {
	trouble []string // folders that cannot be read, quoted, with the reason
	dead    []string // broken links, each of which may stand for a folder or a file
}

func hasMeta(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// names returns the names that match, including broken links.
func (g *globbing) names(pattern string) (out []string) {
	if !hasMeta(pattern) {
		if _, err := os.Lstat(pattern); err == nil {
			out = append(out, pattern)
		} else if !absent(err) {
			g.cannot(pattern, err)
		}
		return out
	}
	dir, base := filepath.Split(pattern)
	dirs := []string{filepath.Clean(dir)}
	if hasMeta(dir) {
		dirs = g.names(dirs[0])
	}
	for _, d := range dirs {
		names := []string{base}
		if hasMeta(base) {
			names = g.list(d)
		} else if !g.has(d, base) {
			continue
		}
		for _, name := range names {
			if ok, err := filepath.Match(base, name); err == nil && ok {
				out = append(out, filepath.Join(d, name))
			}
		}
	}
	return out
}

// list returns the names in a folder; none if there is no such folder.
func (g *globbing) list(dir string) (names []string) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return nil
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(dir)
	}
	g.missed(dir, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// has reports whether a name is in a folder.
func (g *globbing) has(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	if _, to := os.Stat(dir); to != nil {
		err = to
	}
	g.missed(dir, err)
	return err == nil
}

// missed notes why a folder could not be read, unless it does not exist.
func (g *globbing) missed(dir string, err error) {
	if err != nil && !absent(err) {
		g.cannot(dir, err)
		return
	}
	if _, link := os.Lstat(dir); absent(err) && link == nil && !isFolder(dir) && !isFile(dir) {
		g.dead = append(g.dead, fmt.Sprintf("%q (a link that leads nowhere)", dir))
	}
}

func (g *globbing) cannot(dir string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	g.trouble = append(g.trouble, fmt.Sprintf("%q (%v)", dir, err))
}

// absent reports whether an error means that nothing exists under a name, or only a broken link.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}
