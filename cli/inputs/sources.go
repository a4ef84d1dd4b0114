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
// ++, +O, +g; selectors are always compiled, so of these endings only g changes something: see CompileOptions.
func Selector(name string) (string, error) {
	path := name
	if !isFile(path) {
		path = aclic.ReplaceAllString(name, "")
	}
	if !isFile(path) {
		why := "no such file"
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			why = "it is a folder"
		}
		return "", &api.Error{
			Message: fmt.Sprintf("could not find the selector %q: %s", path, why),
			Hint:    "name the source file of a TSelector, e.g. DiMuon.C+",
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("could not make %q absolute: %w", path, err)
	}
	return abs, nil
}

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

// include matches a quoted #include. One whose name is a macro is not followed; use --include for that.
var include = regexp.MustCompile(`^\s*#\s*include\s*"([^"]+)"`)

// Sources returns the files to ship with a selector, as absolute paths in order: those that it includes
// with quotes, directly or through one another, and that exist relative to the file that includes
// them; then extra, and what those include. Others are left to the compiler's search path.
func Sources(selector string, extra []string) ([]string, error) {
	s := sources{seen: map[string]bool{selector: true}}
	if err := s.scan(selector); err != nil {
		return nil, err
	}
	for _, name := range extra {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("could not make %q absolute: %w", name, err)
		}
		if !isFile(abs) {
			return nil, fmt.Errorf("could not find %q, named by --include: no such file", name)
		}
		if err := s.add(abs); err != nil {
			return nil, err
		}
	}
	return s.files, nil
}

type sources struct {
	seen  map[string]bool
	files []string
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

// scan adds the files that path includes.
func (s *sources) scan(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("could not read the source %q: %w", path, err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20) // generated code has long lines
	for sc.Scan() {
		m := include.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		header := m[1]
		if !filepath.IsAbs(header) {
			header = filepath.Join(filepath.Dir(path), header)
		}
		if !isFile(header) {
			continue
		}
		if err := s.add(header); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("could not read the source %q: %w", path, err)
	}
	return nil
}

// sourceLike distinguishes C++ from data files, which --include may ship too.
func sourceLike(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return slices.Contains([]string{"", ".h", ".hh", ".hpp", ".hxx", ".h++", ".c", ".cc", ".cpp", ".cxx", ".c++", ".icc",
		".inc", ".ipp", ".tpp"}, ext)
}
