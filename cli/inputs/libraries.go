package inputs

import (
	"bufio"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

var library = regexp.MustCompile(`\.so(\.[0-9]+)*$`)

// IsLibrary reports whether a name looks like that of a shared library.
func IsLibrary(name string) bool { return library.MatchString(name) }

// Libraries returns the paths of shared libraries in the order in which they are to be loaded. named are those that the
// user gives, mentioned those that sources load, which may be ROOT's own or of other hosts and are left out where they
// are not found. Each follows those that it needs, as the loader would find them here, except for those of the system
// and of ROOT, which are on every node. Names are looked up as ROOT does, with or without lib and .so, in the working
// folder, in folders, and in $LD_LIBRARY_PATH.
func Libraries(named, mentioned, folders []string) ([]string, error) {
	l := libraries{folders: append([]string{"."}, folders...), seen: map[string]bool{}}
	l.folders = append(l.folders, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	for _, name := range named {
		path := l.find(name)
		switch {
		case isElf(path) == "" && IsSource(name):
			return nil, fmt.Errorf("could not use %q as a library: it is a source; give it with --source, or as the selector",
				name)
		case path == "":
			return nil, &api.Error{
				Message: fmt.Sprintf("could not find the library %q", name),
				Hint:    "name its path; without one it is looked up in the working folder and in $LD_LIBRARY_PATH",
			}
		case isElf(path) == "":
			return nil, fmt.Errorf("could not use %q as a library: it is none", path)
		case filepath.Ext(path) == ".o" || isElf(path) != "shared":
			return nil, fmt.Errorf("could not use %q as a library: it is no shared one; link it with -shared", path)
		}
		if err := l.add(path); err != nil {
			return nil, err
		}
	}
	for _, name := range mentioned {
		if path := l.find(expand(name)); path != "" && isElf(path) == "shared" && !elsewhere(path) {
			if err := l.add(path); err != nil {
				return nil, err
			}
		}
	}
	return l.paths, nil
}

type libraries struct {
	folders []string
	seen    map[string]bool
	paths   []string
}

// find is the path of a library, empty if there is none.
func (l *libraries) find(name string) string {
	names := []string{name, name + ".so"}
	if base := filepath.Base(name); !strings.HasPrefix(base, "lib") {
		dir := strings.TrimSuffix(name, base)
		names = append(names, dir+"lib"+base, dir+"lib"+base+".so")
	}
	folders := l.folders
	if filepath.IsAbs(name) {
		folders = []string{""}
	}
	for _, folder := range folders {
		for _, n := range names {
			if path := filepath.Join(folder, n); isFile(path) {
				if abs, err := filepath.Abs(path); err == nil {
					return abs
				}
			}
		}
	}
	return ""
}

// elsewhere reports whether a library is one of the system or of ROOT.
func elsewhere(path string) bool {
	dir := filepath.Dir(path)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if isFile(filepath.Join(dir, "libCore.so")) {
		return true
	}
	for _, system := range []string{"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64"} {
		if dir == system || strings.HasPrefix(dir, system+"/") {
			return true
		}
	}
	return false
}

// add adds a library after those that it needs.
func (l *libraries) add(path string) error {
	if l.seen[path] {
		return nil
	}
	l.seen[path] = true
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("could not read the library %q: %w", path, err)
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("could not read what the library %q needs: %w", path, err)
	}
	folders := runPaths(f, path)
	for _, name := range needed {
		dep := l.needed(name, folders)
		if dep == "" || elsewhere(dep) { // the loader tells, where it finds it nowhere
			continue
		}
		if err := l.add(dep); err != nil {
			return err
		}
	}
	for _, other := range l.paths {
		if filepath.Base(other) == filepath.Base(path) {
			return fmt.Errorf("could not ship the library %q beside %q: they have one name", path, other)
		}
	}
	l.paths = append(l.paths, path)
	return nil
}

// runPaths are the folders in which the loader looks for what a library needs, and its own.
func runPaths(f *elf.File, path string) (out []string) {
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		texts, err := f.DynString(tag)
		if err != nil {
			continue
		}
		for _, text := range texts {
			for _, dir := range filepath.SplitList(text) {
				out = append(out, strings.NewReplacer("$ORIGIN", filepath.Dir(path), "${ORIGIN}", filepath.Dir(path)).Replace(dir))
			}
		}
	}
	return append(out, filepath.Dir(path))
}

func (l *libraries) needed(name string, folders []string) string {
	if strings.Contains(name, "/") {
		if abs, err := filepath.Abs(name); err == nil && isFile(abs) {
			return abs
		}
		name = filepath.Base(name)
	}
	for _, dir := range slices.Concat(folders, l.folders) {
		if path := filepath.Join(dir, name); isFile(path) {
			if abs, err := filepath.Abs(path); err == nil {
				return abs
			}
		}
	}
	return ""
}

// isElf is "shared" for a shared library, "object" for other compiled code, and empty for anything else.
func isElf(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if f.Type == elf.ET_DYN {
		return "shared"
	}
	return "object"
}

// IsCompiled reports whether a file holds compiled code, whatever its name.
func IsCompiled(path string) bool { return isElf(path) != "" }

var className = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*$`)

// IsClass reports whether a name may be that of a class, and is that of no file.
func IsClass(name string) bool { return className.MatchString(name) && !isFile(name) }

// LibraryOf finds the library of a class in the class maps (*.rootmap) that ROOT would read in the working folder and
// in $LD_LIBRARY_PATH; it is empty if none names the class.
func LibraryOf(class string) string {
	for _, dir := range append([]string{"."}, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...) {
		maps, _ := filepath.Glob(filepath.Join(dir, "*.rootmap")) // a bad pattern finds none
		for _, name := range maps {
			if lib := mapped(name, class); lib != "" {
				return filepath.Join(dir, lib)
			}
		}
	}
	return ""
}

// mapped is the library that one class map names for a class.
func mapped(name, class string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	lib := ""
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		switch {
		case strings.HasPrefix(line, "["):
			if fields := strings.Fields(strings.Trim(line, "[] ")); len(fields) > 0 {
				lib = fields[0]
			}
		case line == "class "+class && lib != "":
			return lib
		}
	}
	return ""
}

// HeadersOf are the headers that the class maps beside libraries name, which ROOT reads for what the dictionaries do
// not say, and the folders in which they may be.
func HeadersOf(libraries []string) (headers, folders []string) {
	for _, lib := range libraries {
		stem, _, _ := strings.Cut(filepath.Base(lib), ".so")
		dir := filepath.Dir(lib)
		b, err := os.ReadFile(filepath.Join(dir, stem+".rootmap"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if header, ok := strings.CutPrefix(strings.TrimSpace(line), "header "); ok && !slices.Contains(headers, header) {
				headers = append(headers, header)
			}
		}
		folders = append(folders, dir, filepath.Join(dir, "..", "include"), filepath.Join(dir, "..", "inc"))
	}
	return headers, append(folders, ".", "include", "inc")
}
