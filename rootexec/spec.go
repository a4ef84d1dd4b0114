package rootexec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Spec is what a user asks of ROOT (exec.Request.Spec, as JSON). Paths are absolute.
type Spec struct {
	// path of the selector's source (.C, .cxx, ...); in a retry empty for the code of before; in a new job empty if the
	// class is in libraries
	Selector string `json:"selector,omitempty"`
	// class name, default the file's base name, or else the one selector that the code has
	Class   string `json:"class,omitempty"`
	Options string `json:"options,omitempty"` // g: compile for a debugger; Og: and optimise, as without any
	// Interpret lets ROOT's interpreter run a source that does not compile, as ROOT does with one that is named without +.
	Interpret bool     `json:"interpret,omitempty"`
	Includes  []string `json:"includes,omitempty"` // what the source includes, and further files to ship
	// further sources, compiled before the selector, in this order
	Sources []string `json:"sources,omitempty"`
	// folders in which headers are looked up after the folder of who includes them; headers in them are in Includes
	IncludeDirs []string `json:"include_dirs,omitempty"`
	// shared libraries in the order of loading; those that they need and that other hosts lack are among them
	Libraries []string `json:"libraries,omitempty"`
	// let libraries call functions that nothing defines
	AllowMissingSymbols bool          `json:"allow_missing_symbols,omitempty"`
	Packages            []PackageSpec `json:"packages,omitempty"` // PAR packages, in the order of enabling

	Data []string `json:"data,omitempty"` // files for the working folder of each process
	// those of Data that go along unasked, since the code names them, and files that it names and that do not; as it names
	// them, relative to the user's working folder
	Named     []string `json:"named,omitempty"`
	Unshipped []string `json:"unshipped,omitempty"`
	// variables of the user's environment that the code reads, with their values, which they have in each process; in a
	// retry in place of those of that name
	Env    map[string]string `json:"env,omitempty"`
	Option string            `json:"option,omitempty"` // what GetOption() returns; in a retry that of before is kept

	// parameters in fInput, by name or name:type, see ParamTypes; in a retry in place of those of that name
	Params map[string]string `json:"params,omitempty"`
	// objects of files in fInput, behind the parameters; in a retry in place of all those of before
	Inputs []InputFile `json:"inputs,omitempty"`
	// let no two processes divide a file between them, as for code that names kAbortFile; in a retry as before, or so
	WholeFiles bool `json:"whole_files,omitempty"`

	// let files lack branches that others have; in a retry as before
	AllowMissingBranches bool `json:"allow_missing_branches,omitempty"`

	// how many cycles the selector runs in place of entries of files, as by TProof::Process(selector, n); 0: over files
	Cycles int64 `json:"cycles,omitempty"`
	// seed of gRandom, from which each entry has a stream of its own; null: seeds of chance; in a retry as before
	Seed *uint64 `json:"seed,omitempty"`
	// leave Begin and Terminate to the process of a PROOF session, which gives fInput and gets the merged output; in a
	// retry as before
	Session bool `json:"session,omitempty"`
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

// Title names the code for lists of jobs: the source, or the class, or its library. It is empty for the code of before.
func (s Spec) Title() string {
	switch {
	case s.Selector != "":
		return s.Selector
	case s.Class != "":
		return s.Class
	case len(s.Libraries) > 0:
		return s.Libraries[len(s.Libraries)-1]
	}
	return ""
}

// hasCode reports whether the spec names any code.
func (s Spec) hasCode() bool { return s.Selector != "" || len(s.Libraries)+len(s.Packages) > 0 }

// className is the class that the user named, else the one that ROOT would look for; empty: the one that is there.
func (s Spec) className() string {
	if s.Class != "" || s.Selector == "" {
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
	Session  bool          `msgpack:"x,omitempty"` // Begin and Terminate run in the user's process, see Spec.Session
	Seed     *uint64       `msgpack:"s,omitempty"` // of gRandom; nil: of chance
	Canvases []string      `msgpack:"v,omitempty"` // formats in which canvases are saved after Terminate
	Whole    bool          `msgpack:"w,omitempty"` // no file is divided, see Spec.WholeFiles
	// Dir is the user's working folder: relative names of friends, as ROOT writes them into trees, are looked up there.
	Dir string `msgpack:"d,omitempty"`
	// Casts are the types that the code looks for parameters as, by their names (castsOf).
	Casts map[string]string `msgpack:"q,omitempty"`
	// Env are variables of the user's environment, in the order of their names.
	Env []tasks.Param `msgpack:"e,omitempty"`
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
	all := map[string]tasks.Param{}
	for _, p := range old {
		name, _ := ParamName(p.Name)
		all[name] = p
	}
	for key, value := range more {
		name, _ := ParamName(key)
		all[name] = tasks.Param{Name: key, Value: value}
	}
	out := slices.Collect(maps.Values(all))
	slices.SortFunc(out, func(a, b tasks.Param) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Bounds of what a job may ship, in bytes as it is on the disk.
const (
	maxSourceFile  = 16 << 20
	maxSources     = 64 << 20
	maxLibraryFile = 1 << 30
	maxLibraries   = 2 << 30 // all of them, with their dictionaries and with packages
)

// readSources reads the selector and what goes with it, for a user whose working folder is wd. Names are relative to
// the selector's folder, or to one above it, so far up that "../common/cuts.h" is found where the selector looks for
// it.
func readSources(s Spec, wd string) (Source, error) {
	dir := filepath.Dir(s.Selector)
	if s.Selector == "" {
		dir = wd
	}
	files := slices.Clone(s.Includes)
	for _, p := range s.Sources {
		if !slices.Contains(files, p) {
			files = append(files, p)
		}
	}
	names, above, err := namesFrom(dir, slices.Concat(files, s.IncludeDirs))
	if err != nil {
		return Source{}, err
	}
	r := sourceReader{files: map[string][]byte{}}
	src := Source{Files: r.files, Shape: Shape{Options: s.Options, Lacking: s.AllowMissingSymbols}}
	if s.Selector != "" {
		src.Main = path.Join(above, filepath.Base(s.Selector))
		err = r.read(src.Main, s.Selector)
	}
	for i, p := range files {
		err = errors.Join(err, r.read(path.Join(above, names[i]), p))
	}
	// What --include names may be included by its base name alone.
	for i, p := range files {
		if base := path.Join(above, path.Base(names[i])); !filepath.IsLocal(names[i]) && r.files[base] == nil {
			err = errors.Join(err, r.read(base, p))
		}
	}
	for _, p := range s.Sources {
		src.Parts = append(src.Parts, path.Join(above, names[slices.Index(files, p)]))
	}
	for i := range s.IncludeDirs {
		src.Includes = append(src.Includes, path.Join(above, names[len(files)+i]))
	}
	for _, p := range s.Data {
		err = errors.Join(err, r.read(path.Join(DataDir, dataName(wd, p)), p))
	}
	if err != nil {
		return src, err
	}
	r.total, r.maxFile, r.max = 0, maxLibraryFile, maxLibraries
	if src.Libs, err = readLibraries(s.Libraries, &r); err != nil {
		return src, err
	}
	src.Packages, err = readPackages(s.Packages, &r)
	return src, err
}

// namesFrom are the names of files and folders relative to dir, and the folder in which they are to be joined to them
// so that none leads out.
func namesFrom(dir string, paths []string) (names []string, above string, err error) {
	for _, p := range paths {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return nil, "", fmt.Errorf("could not ship %q: %w", p, err)
		}
		name := filepath.ToSlash(rel)
		if up := aboveFor(dir, name); len(up) > len(above) {
			above = up
		}
		names = append(names, name)
	}
	return names, above, nil
}

// aboveFor is the end of the path dir that name, relative to dir, climbs with "../".
func aboveFor(dir, name string) string {
	above := ""
	for name += "/"; strings.HasPrefix(name, "../"); name = name[len("../"):] {
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

// sourceReader reads files within bounds: those of sources, unless others are set.
type sourceReader struct {
	files        map[string][]byte
	total        int64
	maxFile, max int64
}

func (r *sourceReader) read(name, file string) error {
	if _, taken := r.files[name]; taken {
		return fmt.Errorf("could not ship %q: another file goes by the name %q", file, name)
	}
	if r.max == 0 {
		r.maxFile, r.max = maxSourceFile, maxSources
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("could not read source %q: %w", file, err)
	}
	if info.Size() > r.maxFile {
		return fmt.Errorf("could not ship %q: it has %d bytes, the limit is %d", file, info.Size(), r.maxFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("could not read source %q: %w", file, err)
	}
	if r.total += int64(len(data)); r.total > r.max {
		return fmt.Errorf("could not ship %q: all files together exceed %d bytes", file, r.max)
	}
	r.files[name] = data
	return nil
}

// packedSource is a Source on its way to other nodes: a blob, compressed with zstd: libraries shrink to a third.
type packedSource struct {
	Main  string       `msgpack:"m"`
	Files []packedFile `msgpack:"f"` // sorted by name
	Shape Shape        `msgpack:"s"`
}

type packedFile struct {
	Name string `msgpack:"n"`
	Data []byte `msgpack:"d"`
}

// packSource packs a source but for its libraries, which packLibraries packs.
func packSource(src Source) ([]byte, error) {
	p := packedSource{Main: src.Main, Shape: src.Shape}
	for name, data := range src.Files {
		if !isLibrary(name) {
			p.Files = append(p.Files, packedFile{name, data})
		}
	}
	slices.SortFunc(p.Files, func(a, b packedFile) int { return strings.Compare(a.Name, b.Name) })
	b, err := wire.Marshal(&p)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.EncodeAll(b, nil), nil
}

// maxUnpackedSource bounds what a blob of sources may become; packages are among them.
const maxUnpackedSource = maxSources + maxLibraries

// unpackSource reads packed sources, and calls libraries for what packLibraries has packed if there are any.
func unpackSource(b []byte, libraries func() ([]byte, error)) (Source, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpackedSource))
	if err != nil {
		return Source{}, err
	}
	defer z.Close()
	var p packedSource
	if b, err = z.DecodeAll(b, nil); err == nil {
		err = wire.Unmarshal(b, &p)
	}
	if err != nil {
		return Source{}, fmt.Errorf("could not read packed sources: %w", err)
	}
	src := Source{Main: p.Main, Files: map[string][]byte{}, Shape: p.Shape}
	if len(src.Libs) > 0 {
		if b, err = libraries(); err != nil {
			return Source{}, err
		}
		if src.Files, err = readPack(b, maxLibraries); err != nil {
			return Source{}, err
		}
		maps.DeleteFunc(src.Files, func(name string, _ []byte) bool { return !isLibrary(name) })
	}
	for _, f := range p.Files {
		src.Files[f.Name] = f.Data
	}
	return src, src.validate()
}
