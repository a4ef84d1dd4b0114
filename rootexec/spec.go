package rootexec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Spec is what a user asks of ROOT (exec.Request.Spec, as JSON). Paths are absolute.
type Spec struct {
	// path of the selector's source (.C, .cxx, ...); in a retry empty for the code of before
	Selector string   `json:"selector,omitempty"`
	Class    string   `json:"class,omitempty"`    // class name, default the file's base name
	Options  string   `json:"options,omitempty"`  // g: compile for a debugger; Og: and optimise, as without any
	Includes []string `json:"includes,omitempty"` // what the source includes, and further files to ship
	Data     []string `json:"data,omitempty"`     // files for the working folder of each process
	Option   string   `json:"option,omitempty"`   // what GetOption() returns; in a retry that of before is kept

	// TNamed objects in fInput; in a retry in place of those of that name
	Params map[string]string `json:"params,omitempty"`

	// let files lack branches that others have; in a retry as before
	AllowMissingBranches bool `json:"allow_missing_branches,omitempty"`

	// how many cycles the selector runs in place of entries of files, as by TProof::Process(selector, n); 0: over files
	Cycles int64 `json:"cycles,omitempty"`
	// seed of gRandom, from which each entry has a stream of its own; null: seeds of chance; in a retry as before
	Seed *uint64 `json:"seed,omitempty"`
	// formats in which the canvases are saved that are there after Terminate, see CanvasFormats; in a retry as before
	Canvases []string `json:"canvases,omitempty"`
}

// JSON is the spec as it goes into a request.
func (s Spec) JSON() json.RawMessage {
	b, _ := json.Marshal(s) // strings and booleans alone
	return b
}

// ParseSpec reads the spec of a request.
func ParseSpec(text []byte) (s Spec, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("could not read what the job wants of ROOT: %w", err)
	}
	return s, nil
}

// className is the class that the user named, else the one that ROOT would look for.
func (s Spec) className() string {
	if s.Class != "" {
		return s.Class
	}
	base := filepath.Base(s.Selector)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// work is what other nodes make a program of, beside the packed sources (tasks.Work.Spec, as msgpack).
type work struct {
	Main     string        `msgpack:"m"` // file to compile, among the sources
	Class    string        `msgpack:"c"`
	Platform string        `msgpack:"p"` // of the host that compiled the library that is shipped
	Option   string        `msgpack:"o,omitempty"`
	Params   []tasks.Param `msgpack:"a,omitempty"` // in the order of their names
	Lax      bool          `msgpack:"l,omitempty"` // branches that a file lacks pass with a warning
	Seed     *uint64       `msgpack:"s,omitempty"` // of gRandom; nil: of chance
	Canvases []string      `msgpack:"v,omitempty"` // formats in which canvases are saved after Terminate
}

func readWork(w tasks.Work) (out work, err error) {
	if w.Kind != Kind {
		return out, fmt.Errorf("could not prepare a job of the kind %q with ROOT", w.Kind)
	}
	if err := wire.Unmarshal(w.Spec, &out); err != nil {
		return out, fmt.Errorf("could not read what the job wants of ROOT: %w", err)
	}
	return out, nil
}

// merged are parameters with others in place of those of the same name, in the order of their names.
func merged(old []tasks.Param, more map[string]string) []tasks.Param {
	all := map[string]string{}
	for _, p := range old {
		all[p.Name] = p.Value
	}
	for name, value := range more {
		all[name] = value
	}
	var out []tasks.Param
	for name, value := range all {
		out = append(out, tasks.Param{Name: name, Value: value})
	}
	slices.SortFunc(out, func(a, b tasks.Param) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Bounds of what a job may ship.
const (
	maxSourceFile = 16 << 20
	maxSources    = 64 << 20
)

// readSources reads the selector and what goes with it, for a user whose working folder is wd. Names are relative to
// the selector's folder, or to one above it, so far up that "../common/cuts.h" is found where the selector looks for
// it.
func readSources(s Spec, wd string) (Source, error) {
	dir := filepath.Dir(s.Selector)
	above := ""
	names := make([]string, len(s.Includes))
	for i, p := range s.Includes {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return Source{}, fmt.Errorf("could not ship %q: %w", p, err)
		}
		names[i] = filepath.ToSlash(rel)
		if up := aboveFor(dir, names[i]); len(up) > len(above) {
			above = up
		}
	}
	r := sourceReader{files: map[string][]byte{}}
	main := path.Join(above, filepath.Base(s.Selector))
	err := r.read(main, s.Selector)
	for i, p := range s.Includes {
		err = errors.Join(err, r.read(path.Join(above, names[i]), p))
	}
	// What --include names may be included by its base name alone.
	for i, p := range s.Includes {
		if base := path.Join(above, path.Base(names[i])); !filepath.IsLocal(names[i]) && r.files[base] == nil {
			err = errors.Join(err, r.read(base, p))
		}
	}
	for _, p := range s.Data {
		err = errors.Join(err, r.read(path.Join(DataDir, dataName(wd, p)), p))
	}
	return Source{Main: main, Files: r.files, Options: s.Options}, err
}

// aboveFor is the end of the path dir that name, relative to dir, climbs with "../".
func aboveFor(dir, name string) string {
	above := ""
	for ; strings.HasPrefix(name, "../"); name = name[len("../"):] {
		above, dir = path.Join(filepath.Base(dir), above), filepath.Dir(dir)
	}
	return above
}

// dataName is the name of a data file in the working folder of a child: the one it has in the user's.
func dataName(dir, p string) string {
	if rel, err := filepath.Rel(dir, p); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return filepath.Base(p)
}

type sourceReader struct {
	files map[string][]byte
	total int
}

func (r *sourceReader) read(name, file string) error {
	if _, taken := r.files[name]; taken {
		return fmt.Errorf("could not ship %q: another file goes by the name %q", file, name)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("could not read source %q: %w", file, err)
	}
	if info.Size() > maxSourceFile {
		return fmt.Errorf("could not ship %q: it has %d bytes, the limit is %d", file, info.Size(), maxSourceFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("could not read source %q: %w", file, err)
	}
	if r.total += len(data); r.total > maxSources {
		return fmt.Errorf("could not ship %q: all files together exceed %d bytes", file, maxSources)
	}
	r.files[name] = data
	return nil
}

// packedSource is a Source on its way to other nodes: a blob.
type packedSource struct {
	Main    string       `msgpack:"m"`
	Files   []packedFile `msgpack:"f"` // sorted by name
	Options string       `msgpack:"o,omitempty"`
}

type packedFile struct {
	Name string `msgpack:"n"`
	Data []byte `msgpack:"d"`
}

func packSource(src Source) ([]byte, error) {
	p := packedSource{Main: src.Main, Options: src.Options}
	for name, data := range src.Files {
		p.Files = append(p.Files, packedFile{name, data})
	}
	slices.SortFunc(p.Files, func(a, b packedFile) int { return strings.Compare(a.Name, b.Name) })
	return wire.Marshal(&p)
}

func unpackSource(b []byte) (Source, error) {
	var p packedSource
	if err := wire.Unmarshal(b, &p); err != nil {
		return Source{}, fmt.Errorf("could not read packed sources: %w", err)
	}
	src := Source{Main: p.Main, Files: map[string][]byte{}, Options: p.Options}
	for _, f := range p.Files {
		src.Files[f.Name] = f.Data
	}
	return src, nil
}
