package inputs

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// aclic is the suffix that asks TSelector and ACLiC for compilation: + or ++ and their options.
var aclic = regexp.MustCompile(`\+{1,2}[kfcgOdsv]*$`)

// source matches the endings of selectors' source files.
var source = regexp.MustCompile(`\.(C|cc|cp|cpp|cxx|c\+\+)(\+{1,2}[kfcgOdsv]*)?$`)

// IsSource reports whether a name looks like that of a selector's source file, with or without ACLiC's suffix.
func IsSource(name string) bool { return source.MatchString(name) }

// Selector returns the absolute path of a selector's source. The name may end as for ACLiC: DiMuon.C+,
// ++, +O, +g. Of these endings g changes how it is compiled, see CompileOptions, and any, that it must be: see
// MayInterpret.
func Selector(name string) (string, error) {
	return sourceFile(name, "selector",
		"name the source file of a TSelector, e.g. DiMuon.C+, or a class, with the library that has it: --lib")
}

// Source returns the absolute path of a further source, whose name may end as that of a selector.
func Source(name string) (string, error) {
	return sourceFile(name, "source", "--source names a file with C++, e.g. Tools.C; a library is given with --lib")
}

func sourceFile(name, what, hint string) (string, error) {
	path := name
	if !isFile(path) {
		path = aclic.ReplaceAllString(name, "")
	}
	if !isFile(path) {
		why := "no such file"
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			why = "it is a folder"
		}
		return "", &api.Error{Message: fmt.Sprintf("could not find the %s %q: %s", what, path, why), Hint: hint}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("could not make %q absolute: %w", path, err)
	}
	return abs, nil
}

// MayInterpret reports whether ROOT would interpret a selector of this name, as it does with all that do not ask for
// compilation by a + at the end.
func MayInterpret(name string) bool { return isFile(name) || !aclic.MatchString(name) }

// CompileOptions returns the options in a selector name's ACLiC suffix that matter here: g compiles for a debugger and
// without optimisation, unless there is an O too. Empty means optimisation alone.
func CompileOptions(name string) string {
	if isFile(name) {
		return ""
	}
	options := aclic.FindString(name)
	switch {
	case !strings.Contains(options, "g"):
		return ""
	case strings.Contains(options, "O"):
		return "Og"
	}
	return "g"
}

// include matches an #include. One whose name is a macro is not followed; use --include for that.
var include = regexp.MustCompile(`^\s*#\s*include\s*(["<])([^">]+)[">]`)

// What sources name besides headers: libraries to load, and folders to look for headers in.
var (
	loads = regexp.MustCompile(`^[^/]*(?:R__LOAD_LIBRARY\(\s*"?([^")]+?)"?\s*\)|gSystem\s*->\s*Load\(\s*"([^"]+)"|` +
		`#\s*pragma\s+cling\s+load\s*\(\s*"([^"]+)")`)
	looks = regexp.MustCompile(`^[^/]*(?:R__ADD_INCLUDE_PATH\(\s*"?([^")]+?)"?\s*\)|` +
		`gSystem\s*->\s*AddIncludePath\(\s*"([^"]+)"|#\s*pragma\s+cling\s+add_include_path\s*\(\s*"([^"]+)")`)
)

// Code is what a selector's sources need beside them. All paths are absolute.
type Code struct {
	Files     []string // what they include, and what else is to be shipped
	Dirs      []string // folders in which headers of these are looked up
	Libraries []string // names of libraries that they load, as they are written there
}

// maxFolderFiles is how many files a folder of --include may hold.
const maxFolderFiles = 5000

// Collect finds what sources include: with quotes beside the file that includes them, and in folders, those that are
// given and those that sources name, where they exist; directly or through one another. extra are files to ship
// besides, with what they include, and folders, all of whose files are shipped. What is not found is left to the
// compiler's search path.
//
// libraries are those that the user names: the headers that ROOT may read for their dictionaries are looked for too.
func Collect(mains, extra, dirs, libraries []string) (Code, error) {
	if err := checkFolders(dirs); err != nil {
		return Code{}, err
	}
	s := sources{seen: map[string]bool{}, used: map[string]bool{}}
	for _, dir := range slices.Concat(dirs, filepath.SplitList(os.Getenv("ROOT_INCLUDE_PATH"))) {
		s.lookIn(dir)
	}
	for _, main := range mains {
		s.seen[main] = true
	}
	for _, main := range mains {
		if err := s.scan(main); err != nil {
			return Code{}, err
		}
	}
	for _, name := range extra {
		if err := s.extra(name); err != nil {
			return Code{}, err
		}
	}
	headers, folders := HeadersOf(libraries)
	if len(headers) > 0 {
		for _, dir := range folders {
			s.lookIn(dir)
		}
	}
	for _, header := range headers {
		if path := s.find(header, false, ""); path != "" {
			if err := s.add(path); err != nil {
				return Code{}, err
			}
		}
	}
	code := Code{Files: s.files, Libraries: s.libraries}
	for _, dir := range s.dirs {
		if s.used[dir] {
			code.Dirs = append(code.Dirs, dir)
		}
	}
	return code, nil
}

// Sources returns the files to ship with a selector, as Collect finds them.
func Sources(selector string, extra []string) ([]string, error) {
	code, err := Collect([]string{selector}, extra, nil, nil)
	return code.Files, err
}

type sources struct {
	seen      map[string]bool
	files     []string
	dirs      []string // in which headers are looked up
	used      map[string]bool
	libraries []string
}

// lookIn adds a folder in which headers are looked up. ROOT's own is on every node.
func (s *sources) lookIn(dir string) {
	abs, err := filepath.Abs(expand(dir))
	if err != nil || dir == "" || slices.Contains(s.dirs, abs) || isFile(filepath.Join(abs, "TObject.h")) {
		return
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		s.dirs = append(s.dirs, abs)
	}
}

// checkFolders checks those that a user gives to look up headers in: a mistyped one would be left out, and be missed,
// if at all, as a header that is not found, or one of its name elsewhere be taken.
func checkFolders(dirs []string) error {
	for _, dir := range dirs {
		if info, err := os.Stat(expand(dir)); err != nil || !info.IsDir() {
			return &api.Error{
				Message: fmt.Sprintf("could not look up headers in %q: there is no such folder", dir),
				Hint:    "-I names a folder, once for each; a header itself is given with --include",
			}
		}
	}
	return nil
}

// expand replaces environment variables, $A, ${A} and ROOT's $(A), and a ~ at the front, as ROOT does in paths.
func expand(name string) string {
	name = os.ExpandEnv(dollarParens.ReplaceAllString(name, "$${$1}"))
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			name = filepath.Join(home, rest)
		}
	}
	return name
}

var dollarParens = regexp.MustCompile(`\$\((\w+)\)`)

// extra adds what --include names.
func (s *sources) extra(name string) error {
	abs, err := filepath.Abs(name)
	if err != nil {
		return fmt.Errorf("could not make %q absolute: %w", name, err)
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		files, err := FilesIn(abs)
		if err != nil {
			return err
		}
		s.lookIn(abs)
		s.used[abs] = true
		for _, file := range files {
			if err := s.add(file); err != nil {
				return err
			}
		}
		return nil
	}
	if !isFile(abs) {
		return &api.Error{
			Message: fmt.Sprintf("could not find %q, named by --include: no such file", name),
			Hint:    "--include names a file, or a folder of them, to ship; a folder to look up headers in is given with -I",
		}
	}
	return s.add(abs)
}

// FilesIn are the regular files in a folder and those below it, but for hidden ones.
func FilesIn(dir string) (out []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return filepath.SkipDir
			}
		case isFile(path):
			out = append(out, path)
		}
		if len(out) > maxFolderFiles {
			return fmt.Errorf("it holds more than %d files", maxFolderFiles)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("could not ship the folder %q: %w", dir, err)
	}
	return out, nil
}

func (s *sources) add(path string) error {
	if s.seen[path] {
		return nil
	}
	s.seen[path] = true
	s.files = append(s.files, path)
	if !sourceLike(path) {
		return nil
	}
	return s.scan(path)
}

// scan adds the files that path includes, and notes the libraries that it loads.
func (s *sources) scan(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("could not read the source %q: %w", path, err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20) // generated code has long lines
	for sc.Scan() {
		line := sc.Text()
		if m := loads.FindStringSubmatch(line); m != nil {
			if name := m[1] + m[2] + m[3]; !slices.Contains(s.libraries, name) {
				s.libraries = append(s.libraries, name)
			}
		}
		if m := looks.FindStringSubmatch(line); m != nil {
			for _, dir := range strings.Fields(m[1] + m[2] + m[3]) {
				dir = expand(strings.Trim(strings.TrimPrefix(dir, "-I"), `"'`))
				s.lookIn(dir)
				if !filepath.IsAbs(dir) {
					s.lookIn(filepath.Join(filepath.Dir(path), dir))
				}
			}
		}
		m := include.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if header := s.find(m[2], m[1] == `"`, path); header != "" {
			if err := s.add(header); err != nil {
				return err
			}
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("could not read the source %q: %w", path, err)
	}
	return nil
}

// find is the path of a header, empty if it is none of the user's.
func (s *sources) find(header string, quoted bool, from string) string {
	if filepath.IsAbs(header) {
		if quoted && isFile(header) {
			return header
		}
		return ""
	}
	if beside := filepath.Join(filepath.Dir(from), header); quoted && isFile(beside) {
		return beside
	}
	for _, dir := range s.dirs {
		if path := filepath.Join(dir, header); isFile(path) {
			s.used[dir] = true
			return path
		}
	}
	return ""
}

// sourceLike distinguishes C++ from data files, which --include may ship too.
func sourceLike(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return slices.Contains([]string{"", ".h", ".hh", ".hpp", ".hxx", ".h++", ".c", ".cc", ".cpp", ".cxx", ".c++", ".icc",
		".inc", ".ipp", ".tpp"}, ext)
}
