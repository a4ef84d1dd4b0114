package pyexec

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxLock bounds the bytes of a lock file.
const maxLock = 16 << 20

// pylock is what of a lock file of PEP 751 is needed to install what it names with a pip that does not read it.
type pylock struct {
	LockVersion string       `toml:"lock-version"`
	Packages    []pylockPart `toml:"packages"`
}

type pylockPart struct {
	Name      string         `toml:"name"`
	Version   string         `toml:"version"`
	Marker    string         `toml:"marker"`
	Index     string         `toml:"index"`
	Wheels    []pylockFile   `toml:"wheels"`
	Sdist     pylockFile     `toml:"sdist"`
	VCS       map[string]any `toml:"vcs"`
	Directory map[string]any `toml:"directory"`
	Archive   map[string]any `toml:"archive"`
}

type pylockFile struct {
	Hashes map[string]string `toml:"hashes"`
}

// isPylock reports whether the content of a lock file is of the form of PEP 751, and not requirements of pip.
func isPylock(content []byte) bool {
	return regexp.MustCompile(`(?m)^lock-version\s*=`).Match(content)
}

// requirementsOf turns a lock file of PEP 751 into requirements with hashes.
func requirementsOf(content []byte) ([]byte, error) {
	var lock pylock
	if err := toml.Unmarshal(content, &lock); err != nil {
		return nil, fmt.Errorf("the lock file cannot be read: %w", err)
	}
	var out bytes.Buffer
	indexes := map[string]bool{}
	for _, p := range lock.Packages {
		line, err := p.requirement()
		if err != nil {
			return nil, err
		}
		if p.Index != "" && !indexes[p.Index] && !strings.Contains(p.Index, "pypi.org") {
			indexes[p.Index] = true
			fmt.Fprintf(&out, "--extra-index-url %s\n", p.Index)
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes(), nil
}

func (p pylockPart) requirement() (string, error) {
	const install = "; install uv there, which reads such lock files itself"
	switch {
	case len(p.VCS)+len(p.Directory)+len(p.Archive) > 0 || p.Version == "":
		return "", fmt.Errorf("the lock file has %s from elsewhere than an index, which pip cannot install by it%s", p.Name,
			install)
	case strings.Contains(p.Marker, "extras") || strings.Contains(p.Marker, "dependency_groups"):
		return "", fmt.Errorf("the lock file has %s for some extras or groups alone (%s), which pip cannot choose%s", p.Name,
			p.Marker, install)
	}
	var hashes []string
	for _, f := range append(p.Wheels, p.Sdist) {
		for name, hash := range f.Hashes {
			hashes = append(hashes, " --hash="+name+":"+hash)
		}
	}
	if len(hashes) == 0 {
		return "", fmt.Errorf("the lock file has no hash of %s", p.Name)
	}
	slices.Sort(hashes)
	line := p.Name + "==" + p.Version
	if p.Marker != "" {
		line += " ; " + p.Marker
	}
	return line + strings.Join(slices.Compact(hashes), ""), nil
}

// checkLock refuses a lock file that names files of its host, which others do not have, or has no hashes. name is that
// of the file, of which one that ends in .toml can only be of PEP 751.
func checkLock(name string, content []byte) error {
	if len(content) > maxLock {
		return fmt.Errorf("the lock file %s has %d bytes, and may have %d", name, len(content), maxLock)
	}
	if isPylock(content) || strings.HasSuffix(name, ".toml") {
		var lock pylock
		if err := toml.Unmarshal(content, &lock); err != nil {
			return noTOML(name, err)
		}
		if lock.LockVersion == "" {
			return fmt.Errorf("%s is no lock file: it has no lock-version, as a pylock.toml of PEP 751 has: make one with `uv "+
				"export --format pylock.toml` or `pip lock`", name)
		}
		for _, p := range lock.Packages {
			if _, local := p.Directory["path"]; local || p.Archive["path"] != nil {
				return fmt.Errorf("the lock file %s has %s from a folder or file of this host, which other nodes do not have: "+
					"leave it out, and hand it over with modules=", name, p.Name)
			}
		}
		return nil
	}
	return checkRequirements(name, strings.ReplaceAll(string(content), "\\\n", " "))
}

// noTOML says where a file is no TOML.
func noTOML(name string, err error) error {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return fmt.Errorf("the lock file %s cannot be read: %w", name, err)
	}
	line, column := at.Position()
	return fmt.Errorf("the lock file %s is no valid TOML: line %d, column %d: %s", name, line, column,
		strings.TrimPrefix(at.Error(), "toml: "))
}

// checkRequirements is checkLock for requirements of pip, of which no line is continued on the next.
func checkRequirements(name, text string) error {
	some := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		first, _, _ := strings.Cut(strings.ReplaceAll(line, "=", " "), " ")
		if slices.Contains([]string{"-e", "--editable"}, first) {
			return fmt.Errorf("the lock file %s has an editable package, which is a folder of one host and has no hash: %.80s: "+
				"leave it out, and hand it over with modules=", name, line)
		}
		if slices.Contains([]string{"-r", "--requirement", "-c", "--constraint"}, first) {
			return fmt.Errorf("the lock file %s names another file, which other nodes do not have: %.80s: make one file of all "+
				"with `uv pip compile --generate-hashes`", name, line)
		}
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "/") || strings.Contains(line, "file:") {
			return fmt.Errorf("the lock file %s names a file of this host, which other nodes do not have: %.80s", name, line)
		}
		some = some || !strings.HasPrefix(line, "-")
		if !strings.HasPrefix(line, "-") && !strings.Contains(line, "--hash") {
			return fmt.Errorf("the lock file %s has no hash for %.60s: make it with `uv pip compile --generate-hashes`, "+
				"`pip-compile --generate-hashes` or `uv export`, or as a pylock.toml", name, line)
		}
	}
	if !some {
		return fmt.Errorf("the lock file %s names no package", name)
	}
	return nil
}
