package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is what the pages may name: the files of the repository, what Go declares in them, the planted bugs and the
// targets of make.
type source struct {
	files    map[string]bool            // by path from the root, folders with a "/" at their end
	declared map[string]map[string]bool // package -> its functions, types, methods, fields, constants and variables
	tests    map[string]bool            // of all packages
	mutants  map[string]bool
	targets  map[string]bool
}

func readSource(t *testing.T, root string) *source {
	t.Helper()
	s := &source{files: map[string]bool{}, declared: map[string]map[string]bool{}, tests: map[string]bool{},
		mutants: map[string]bool{}, targets: map[string]bool{}}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (name == ".git" || name == "bin" || name == "dist"):
			return fs.SkipDir
		case d.IsDir():
			s.files[name+"/"] = true
			return nil
		}
		s.files[name] = true
		if strings.HasSuffix(name, ".go") {
			return s.declare(file, path.Base(path.Dir(name)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.quoted(t, filepath.Join(root, "internal/mutant/mutant.go"), `(?m)Bug = "([a-z0-9-]+)"`, s.mutants)
	s.quoted(t, filepath.Join(root, "Makefile"), `(?m)^([a-z-]+):`, s.targets)
	s.declarePython(t, filepath.Join(root, "python", "src", "dtpnode"))
	return s
}

// declarePython notes what the package in Python offers, beside what the command of the same name declares: the names
// that it exports, its modules, and what these define.
func (s *source) declarePython(t *testing.T, folder string) {
	t.Helper()
	names := s.declared["dtpnode"]
	s.quoted(t, filepath.Join(folder, "__init__.py"), `(?m)^    "(\w+)",$`, names)
	modules, err := filepath.Glob(filepath.Join(folder, "[a-z]*.py"))
	if err != nil || len(modules) == 0 || !names["Client"] {
		t.Fatalf("the package in Python has the modules %q (%v), and exports Client: %t", modules, err, names["Client"])
	}
	for _, file := range modules {
		names[strings.TrimSuffix(filepath.Base(file), ".py")] = true
		s.quoted(t, file, `(?m)^(?:def|class) (\w+)`, names)
	}
}

// quoted collects what the first group of an expression matches in a file.
func (s *source) quoted(t *testing.T, file, expression string, into map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
		into[m[1]] = true
	}
}

// declare notes what one Go file declares, whatever its build tags.
func (s *source) declare(file, pkg string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	names := s.declared[pkg]
	if names == nil {
		names = map[string]bool{}
		s.declared[pkg] = names
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			names[n.Name.Name] = true
			if strings.HasSuffix(file, "_test.go") {
				s.tests[n.Name.Name] = true
			}
			return false
		case *ast.TypeSpec:
			names[n.Name.Name] = true
		case *ast.ValueSpec:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		case *ast.Field:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		}
		return true
	})
	return nil
}

// hasFile reports whether a page may name a file so: from the root, from a folder below it, or by its name alone after
// another file of the same folder.
func (s *source) hasFile(name, folder string) bool {
	if s.files[name] || folder != "" && s.files[path.Join(folder, name)] {
		return true
	}
	for file := range s.files {
		if strings.Contains(name, "/") && strings.HasSuffix(file, "/"+name) {
			return true
		}
	}
	return false
}

// hasTest reports whether there is a test of a name, or with an "…" at its end, tests that begin so.
func (s *source) hasTest(name string) bool {
	prefix, open := strings.CutSuffix(name, "…")
	if !open {
		return s.tests[name]
	}
	for test := range s.tests {
		if strings.HasPrefix(test, prefix) {
			return true
		}
	}
	return false
}

var (
	code       = regexp.MustCompile("`([^`\n]+)`")
	aFile      = regexp.MustCompile(`^[\w@-][\w./@-]*/[\w.@-]+\.(go|cc|h|md|yml|toml|json|sh|ipynb)$|^[\w-]+\.(go|cc|h)$`)
	aUserFile  = regexp.MustCompile(`\.(png|log|root|json|toml|out|csv)$`)
	aFolder    = regexp.MustCompile(`^[a-z][a-z0-9]*(/[a-z0-9]+)*/$`)
	aName      = regexp.MustCompile(`^([a-z][a-z0-9]*)\.([A-Za-z]\w*…?)(?:\.([A-Za-z]\w*))?$`)
	aTest      = regexp.MustCompile(`^(Test|Fuzz|Example)[A-Z]\w*…?$`)
	aTarget    = regexp.MustCompile(`^make ([a-z-]+)`)
	someMutant = regexp.MustCompile(`mutants? ((?:[a-z]+(?:-[a-z]+)+(?:, | and )?)+)`)
)

// wrong says which names of a page are those of nothing.
func (s *source) wrong(page string) (out []string) {
	folder := ""
	for _, m := range code.FindAllStringSubmatch(page, -1) {
		word := m[1]
		switch {
		case aFile.MatchString(word):
			if !s.hasFile(word, folder) {
				out = append(out, "file "+word)
			}
			if strings.Contains(word, "/") {
				folder = path.Dir(word)
			}
		case aFolder.MatchString(word):
			if !s.files[word] {
				out = append(out, "folder "+word)
			}
		case aTest.MatchString(word):
			if !s.hasTest(word) {
				out = append(out, "test "+word)
			}
		case aTarget.MatchString(word):
			if target := aTarget.FindStringSubmatch(word)[1]; !s.targets[target] {
				out = append(out, "target "+word)
			}
		case aName.MatchString(word) && !aUserFile.MatchString(word):
			part := aName.FindStringSubmatch(word)
			names, known := s.declared[part[1]]
			switch {
			case !known: // of a library, or a file that a user has
			case strings.HasSuffix(part[2], "…"):
				if !s.hasTest(part[2]) {
					out = append(out, "test "+word)
				}
			case !names[part[2]] || part[3] != "" && !names[part[3]]:
				out = append(out, "name "+word)
			}
		}
	}
	for _, m := range someMutant.FindAllStringSubmatch(page, -1) {
		for _, name := range regexp.MustCompile(`, | and `).Split(m[1], -1) {
			if name != "" && !s.mutants[name] {
				out = append(out, "mutant "+name)
			}
		}
	}
	return out
}

// TestNamesExist: what the pages say of the code, where it names a file, a folder, a function, a test, a planted bug or
// a target of make, is there. Without it a page that nobody reads while the code is changed soon leads nowhere.
func TestNamesExist(t *testing.T) {
	s := readSource(t, "..")
	pages, err := filepath.Glob("../*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(pages, more...) {
		if filepath.Base(file) == "CHANGELOG.md" { // tells of what was
			continue
		}
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range s.wrong(string(page)) {
			t.Errorf("%s names a %s, which is not there", filepath.Base(file), what)
		}
	}
}

// TestWrongNamesAreFound: the test above can fail.
func TestWrongNamesAreFound(t *testing.T) {
	s := &source{files: map[string]bool{"a/b.go": true, "a/": true, "a/c/d.cc": true},
		declared: map[string]map[string]bool{"a": {"F": true, "G": true}},
		tests:    map[string]bool{"TestX": true, "TestLyingY": true}, mutants: map[string]bool{"no-audit": true},
		targets: map[string]bool{"soak": true}}
	good := "`a/b.go`, `b.go`, `c/d.cc`, `a/`, `a.F`, `a.F.G`, `TestX`, `TestLying…`, `make soak`, `os.Exit`; mutant " +
		"no-audit"
	if w := s.wrong(good); len(w) > 0 {
		t.Errorf("%q", w)
	}
	bad := "`a/x.go`, `x.go`, `b/`, `a.H`, `a.F.H`, `TestZ`, `TestWrong…`, `make love`; mutants no-audit, no-bug"
	want := []string{"file a/x.go", "file x.go", "folder b/", "name a.H", "name a.F.H", "test TestZ", "test TestWrong…",
		"target make love", "mutant no-bug"}
	if got := s.wrong(bad); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
