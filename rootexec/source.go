package rootexec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Source is a selector's code: what ACLiC compiles, or ROOT's interpreter runs, and what goes with it.
type Source struct {
	// Main is the file of the selector, e.g. "DiMuon.C" or "sel/DiMuon.C", one of Files; empty: the class is in Libs.
	Main  string
	Files map[string][]byte // relative slash-separated path -> content
	Shape
}

// Shape says how the files of a Source are used. All names are keys of Source.Files, or folders of them.
type Shape struct {
	// Options are empty: it is compiled with optimisation; g: for a debugger, without; or Og: both.
	Options string `json:"options,omitempty" msgpack:"o,omitempty"`
	// Parts are further sources, which are compiled and loaded before Main, in this order.
	Parts []string `json:"parts,omitempty" msgpack:"p,omitempty"`
	// Includes are folders in which headers are looked up, in this order, after the folder of who includes them.
	Includes []string `json:"includes,omitempty" msgpack:"i,omitempty"`
	// Libs are libraries in LibDir, in the order in which they are loaded.
	Libs []string `json:"libs,omitempty" msgpack:"l,omitempty"`
	// Packages are enabled in this order, before all else.
	Packages []Package `json:"packages,omitempty" msgpack:"k,omitempty"`
	// Interpreted: ROOT's interpreter runs Main and Parts, nothing is compiled.
	Interpreted bool `json:"interpreted,omitempty" msgpack:"n,omitempty"`
	// Lacking: libraries may call functions that nothing defines; such a call ends the process.
	Lacking bool `json:"lacking,omitempty" msgpack:"a,omitempty"`
}

// Package is one PAR package of a Source: PackageDir/Name.par of its files.
type Package struct {
	Name string   `json:"name" msgpack:"n"`
	Args []string `json:"args,omitempty" msgpack:"a,omitempty"` // of SETUP()
	// Sum is a SHA-256, hex, of the PAR file and those before it; with the platform it names what is built.
	Sum string `json:"sum" msgpack:"h"`
}

// Folders in Source.Files of what is not compiled.
const (
	DataDir    = ".data"     // what is put into the working folder of each generation
	LibDir     = ".lib"      // libraries of the user, with their dictionaries
	PackageDir = ".packages" // PAR files
)

// isData tells a file for the working folder of each process from one to be compiled.
func isData(name string) bool { return strings.HasPrefix(name, DataDir+"/") }

// isLibrary tells a library of the user, or what is beside it, from the rest.
func isLibrary(name string) bool { return strings.HasPrefix(name, LibDir+"/") }

// isCode tells a source or a header from data, libraries and packages.
func isCode(name string) bool {
	return !isData(name) && !isLibrary(name) && !strings.HasPrefix(name, PackageDir+"/")
}

// Hash names the source by its content.
func (s Source) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n", len(s.Main), s.Main)
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		fmt.Fprintf(h, "%d %s %d\n", len(name), name, len(s.Files[name]))
		h.Write(s.Files[name])
	}
	if s.Options != "" {
		fmt.Fprintf(h, "options %s\n", s.Options)
	}
	more := s.Shape
	if more.Options = ""; len(more.Parts)+len(more.Includes)+len(more.Libs)+len(more.Packages) > 0 ||
		more.Interpreted || more.Lacking {
		text, _ := json.Marshal(more) // strings and booleans alone
		h.Write(append(text, '\n'))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s Source) validate() error {
	if s.Main == "" && len(s.Libs)+len(s.Packages) == 0 {
		return errors.New("could not make a selector of nothing: neither a source nor a library is given")
	}
	if s.Options != "" && s.Options != "g" && s.Options != "Og" {
		return fmt.Errorf("could not compile %q: no such options: %q", s.Main, s.Options)
	}
	for name := range s.Files {
		if !filepath.IsLocal(name) || strings.ContainsAny(name, "\x00\\") {
			return fmt.Errorf("could not compile %q: the name of source file %q leads out of its folder", s.Main, name)
		}
	}
	sources := slices.Clone(s.Parts)
	if s.Main != "" {
		sources = append(sources, s.Main)
	}
	libraries := map[string]string{}
	for _, name := range sources {
		if _, ok := s.Files[name]; !ok {
			return fmt.Errorf("could not compile %q: it is not among the source files", name)
		}
		if other, taken := libraries[aclicName(name)]; taken {
			return fmt.Errorf("could not compile %q beside %q: their libraries would have one name; rename one", name, other)
		}
		libraries[aclicName(name)] = name
	}
	for _, name := range s.Libs {
		if _, ok := s.Files[name]; !ok || path.Dir(name) != LibDir {
			return fmt.Errorf("could not load %q: it is not among the libraries", name)
		}
	}
	for _, dir := range s.Includes {
		if !filepath.IsLocal(dir) {
			return fmt.Errorf("could not look for headers in %q: it leads out of the sources' folder", dir)
		}
	}
	return s.validatePackages()
}

// compiled reports whether a compiler is needed.
func (s Source) compiled() bool { return !s.Interpreted && (s.Main != "" || len(s.Parts) > 0) }

// aclicName is how ACLiC itself names the library of main. Under another name it overlooks the header
// beside the source.
func aclicName(main string) string {
	base := filepath.Base(main)
	ext := filepath.Ext(base)
	return strings.TrimSuffix(base, ext) + "_" + strings.TrimPrefix(ext, ".")
}

func sourcesDir(dir, main string) string {
	return filepath.Join(dir, filepath.FromSlash(path.Dir(main)))
}

// under are names of Source.Files as paths in the folder into which they were written.
func under(dir string, names []string) []string {
	var out []string
	for _, name := range names {
		out = append(out, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return out
}

// partFrames say how the further sources in dir are compiled.
func (s Shape) partFrames(dir string) []partFrame {
	var out []partFrame
	for _, name := range s.Parts {
		out = append(out, partFrame{Sources: sourcesDir(dir, name), Main: path.Base(name), Lib: aclicName(name)})
	}
	return out
}

// codeFrame says what is loaded beside a selector whose files are in dir. Libraries of the further sources are there if
// they are compiled already.
func (e *Executor) codeFrame(s Shape, dir string, compiled bool) codeFrame {
	code := codeFrame{Includes: under(dir, s.Includes), Libs: under(dir, s.Libs)}
	for _, p := range s.Packages {
		code.Packages = append(code.Packages, packageFrame{Dir: e.packageDir(p), Name: p.Name, Args: p.Args})
	}
	if compiled {
		for _, name := range s.Parts {
			code.Parts = append(code.Parts, filepath.Join(dir, aclicName(name)+".so"))
		}
	}
	return code
}
