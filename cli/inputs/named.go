package inputs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
)

// Bounds of what goes with a selector unasked: less than of what --include may name, and each process gets a copy.
const (
	maxNamedFile  = 8 << 20  // bytes of one file
	maxNamedFiles = 32 << 20 // bytes of all
	maxNamed      = 500      // files
)

// Named are the data files that code opens by a relative name: weights, calibrations, lists of good runs. In one
// process ROOT finds them in the folder that it was started in; elsewhere the code finds them only if they go with it.
type Named struct {
	Files []string // as the code finds them: relative to the working folder
	// Env are the variables that literals of the code name where it reads the environment, with their values here.
	Env  map[string]string
	Left []string // those that do not go along unasked: too large, too many, or outside of that folder
}

// DataNamed finds the files of the working folder that literals of sources name, whole or as patterns of printf, and
// those that texts, such as parameters, name. Names that the code writes to by what stands in the same line are none. A
// literal that ends in a slash names all files of a folder. What is in given goes along anyhow.
func DataNamed(sources, given, texts []string) (out Named, err error) {
	out.Env = map[string]string{}
	n := naming{seen: map[string]bool{}, named: &out}
	for _, path := range slices.Concat(sources, given) {
		n.skip(path)
	}
	for _, path := range sources {
		if !sourceLike(path) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return out, fmt.Errorf("could not read the source %q: %w", path, err)
		}
		for _, m := range getenv.FindAllStringSubmatch(string(text), -1) {
			if value := os.Getenv(m[1]); value != "" && !ofHost[m[1]] {
				out.Env[m[1]] = value
			}
		}
		for _, l := range literals(string(text)) {
			if !writes.MatchString(l.line) && !include.MatchString(l.line) {
				n.literal(l.text)
			}
		}
	}
	for _, text := range texts {
		n.file(text)
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;:=|", r) }) {
			n.file(word)
		}
	}
	return out, nil
}

var (
	// writes finds lines that make the file that they name.
	writes = regexp.MustCompile(`(?i)"(re)?create"|"new"|ofstream|saveas|(->|\.)\s*print\s*\(|` +
		`fopen\s*\([^)]*"[wa]|tproofoutputfile|openfile`)
	// getenv finds what is read from the environment.
	getenv = regexp.MustCompile(`[gG]etenv\s*\(\s*"(\w+)"`)
	// ofHost are variables that mean something else on each host.
	ofHost = map[string]bool{
		"HOME": true, "USER": true, "LOGNAME": true, "HOST": true, "HOSTNAME": true, "PWD": true, "PATH": true, "SHELL": true,
		"TMPDIR": true, "LD_LIBRARY_PATH": true, "LD_PRELOAD": true, "ROOTSYS": true, "PYTHONPATH": true, "DISPLAY": true,
	}
	// verb matches what printf replaces.
	verb = regexp.MustCompile(`%[-+ #0-9.]*(hh|h|ll|l|z)?[diouxXfeEgGsc]`)
	// command matches what ROOT's interpreter puts before the name of a macro, and behind it.
	command = regexp.MustCompile(`^\s*\.[xXL]\s+|\+{1,2}[kfcgOdsv]*$|\([^()]*\)\s*$`)
)

type naming struct {
	seen  map[string]bool // by path
	bytes int64
	named *Named
}

func (n *naming) skip(path string) {
	if abs, err := filepath.Abs(path); err == nil {
		n.seen[abs] = true
	}
}

func (n *naming) literal(text string) {
	text = command.ReplaceAllString(command.ReplaceAllString(text, ""), "")
	switch {
	case verb.MatchString(text):
		plain := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(text)
		pattern := verb.ReplaceAllString(plain, "*")
		if strings.Trim(pattern, "*./") == "" || filepath.IsAbs(pattern) {
			return // it would match anything
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			return // it is no pattern of names
		}
		for _, name := range names {
			n.file(name)
		}
	case strings.HasSuffix(text, "/") && strings.Trim(text, "./") != "":
		n.folder(text)
	default:
		n.file(text)
	}
}

// folder adds the files of a small folder; a large one may be anything.
func (n *naming) folder(name string) {
	if !filepath.IsLocal(name) || !isFolder(name) {
		return
	}
	files, err := FilesIn(name)
	if err != nil || len(files) > maxNamed {
		return
	}
	for _, file := range files {
		n.file(file)
	}
}

func (n *naming) file(name string) {
	if name == "" || filepath.IsAbs(name) || !isFile(name) {
		return
	}
	abs, err := filepath.Abs(name)
	if err != nil || n.seen[abs] {
		return
	}
	n.seen[abs] = true
	info, err := os.Stat(abs)
	if err != nil || exec.Written(abs) {
		return
	}
	size := info.Size()
	tooMuch := size > maxNamedFile || n.bytes+size > maxNamedFiles || len(n.named.Files) >= maxNamed
	if tooMuch || !filepath.IsLocal(name) {
		n.named.Left = append(n.named.Left, filepath.Clean(name))
		return
	}
	n.bytes += size
	n.named.Files = append(n.named.Files, filepath.Clean(name))
}

type literal struct{ text, line string }

// literals are the texts in quotes of a C++ source that stand in no comment, with the line in which each ends.
func literals(src string) (out []literal) {
	begin := 0 // of the line
	for i := 0; i < len(src); i++ {
		rest := src[i:]
		switch {
		case rest[0] == '\n':
			begin = i + 1
		case strings.HasPrefix(rest, "//"):
			i += max(strings.IndexByte(rest+"\n", '\n')-1, 0)
		case strings.HasPrefix(rest, "/*"):
			i += 2 + max(strings.Index(rest[2:]+"*/", "*/"), 0) + 1
		case strings.HasPrefix(rest, `'"'`), strings.HasPrefix(rest, `'\"'`):
			i += strings.IndexByte(rest[1:], '\'') + 1
		case rest[0] == '"':
			end := 1
			for end < len(rest) && rest[end] != '"' && rest[end] != '\n' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(rest))
			line := src[begin:]
			if at := strings.IndexByte(line[i-begin:], '\n'); at >= 0 {
				line = line[:i-begin+at]
			}
			out = append(out, literal{rest[1:end], line})
			i += end
			if i < len(src) && src[i] == '\n' {
				begin = i + 1
			}
		}
	}
	return out
}
