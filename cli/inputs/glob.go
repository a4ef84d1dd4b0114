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

// globbing expands a glob as filepath.Glob does, and notes the folders of which it cannot be told what is in them: that
// passes them over, and their files would be missing without a word.
type globbing struct {
	trouble []string // folders that cannot be read, quoted, and why
	dead    []string // what may be a folder, or a file: links that lead nowhere
}

func hasMeta(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// names are those that match, links that lead nowhere among them.
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

// list are the names in a folder; none if there is no such folder.
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

// missed notes why it cannot be told what is in a folder.
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

// absent reports whether nothing is there under a name, or a link that leads nowhere.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}
