package plan

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// matcher looks for the files that match another member's globs, within bounds. filepath.Glob has no bounds: it
// collects all that matches, and goes on when nobody waits any more, so that a short pattern could cost a host much
// memory and time.
type matcher struct {
	ctx   context.Context // of one walk
	room  int             // bytes of names that are left
	look  int             // names that may still be looked at
	names []string
}

// matching lists the files that match globs, with at most so many bytes of names and globLook looks, for as long as ctx
// lasts.
func matching(ctx context.Context, globs []string, room int) []string {
	m := matcher{ctx: ctx, room: room, look: globLook, names: []string{}}
	for _, g := range globs {
		if len(g) > globPattern || !filepath.IsAbs(g) || strings.ContainsRune(g, 0) {
			continue
		}
		m.walk("/", strings.Split(strings.Trim(filepath.Clean(g), "/"), "/"))
	}
	slices.Sort(m.names)
	return slices.Compact(m.names)
}

// over reports whether the walk is to end.
func (m *matcher) over() bool { return m.look <= 0 || m.room < 0 || m.ctx.Err() != nil }

// walk takes what is below a folder and matches a pattern, folder by folder.
func (m *matcher) walk(dir string, parts []string) {
	switch m.look--; {
	case m.over():
	case len(parts) == 0:
		m.found(dir)
	case !strings.ContainsAny(parts[0], `*?[\`):
		m.walk(filepath.Join(dir, parts[0]), parts[1:])
	default:
		for _, name := range m.list(dir, parts[0], len(parts) > 1) {
			m.walk(filepath.Join(dir, name), parts[1:])
		}
	}
}

// found takes a name, if it is one of a file.
func (m *matcher) found(name string) {
	if info, err := os.Stat(name); err != nil || info.IsDir() {
		return
	}
	if m.room -= len(name) + 3; m.room >= 0 {
		m.names = append(m.names, name)
	}
}

// listBatch is how many names of a folder are read at once.
const listBatch = 1024

// list are the names in a folder that match; only what may be a folder itself, if folders is set.
func (m *matcher) list(dir, pattern string, folders bool) (names []string) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() { // to open something else might wait for ever
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	for !m.over() {
		entries, err := f.ReadDir(listBatch)
		m.look -= len(entries)
		for _, e := range entries {
			if ok, _ := filepath.Match(pattern, e.Name()); ok && (!folders || e.IsDir() || e.Type()&fs.ModeSymlink != 0) {
				names = append(names, e.Name())
			}
		}
		if err != nil || len(entries) == 0 {
			break
		}
	}
	slices.Sort(names)
	return names
}
