// Package proof has the C++ headers of PROOF that ROOT no longer ships, with sources that make a library of them, so
// that selectors and macros that include them compile and do here what they did there. Nothing of it is PROOF: the
// classes have the names and the calls that user code makes, and work on this pool.
//
// include has what user code includes, src what only the library needs, compiled in the units that Units tells.
// src/LinkDef.h lists the classes with a dictionary. Who adds a class puts its header into include, its source into src
// and its name into the list.
package proof

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed include/*.h src/*.cxx src/*.h
var sources embed.FS

// Library is the base name of the library without its suffix: that of PROOF's own, so that R__LOAD_LIBRARY(libProof)
// and gSystem->Load find it, and so that where ROOT still has PROOF nothing loads both.
const Library = "libProof"

// Aliases are further libraries that PROOF had, as macros load them. They are links to the one.
var Aliases = []string{"libProofPlayer", "libProofDraw", "libProofBench", "libProofx"}

// Headers lists the headers that user code may include, sorted.
func Headers() []string { return names("include", ".h") }

// Units are the files to compile, as their names and texts: each includes sources that use the same large headers,
// which take most of the time of compiling. So sources of one unit cannot have the same name in their unnamed
// namespaces, which the compiler tells.
func Units() map[string]string {
	units := map[string]string{}
	for _, name := range names("src", ".cxx") {
		b, err := sources.ReadFile(path.Join("src", name))
		if err != nil {
			panic(err) // as below
		}
		unit := "unit-classes.cc"
		if bytes.Contains(b, []byte("<nlohmann/json.hpp>")) {
			unit = "unit-session.cc"
		}
		units[unit] += fmt.Sprintf("#include %q\n", name)
	}
	return units
}

func names(dir, suffix string) []string {
	entries, err := sources.ReadDir(dir)
	if err != nil {
		panic(err) // they are part of the binary
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out
}

// Hash names the content of all files, in hex.
var Hash = sync.OnceValue(func() string {
	h := sha256.New()
	err := fs.WalkDir(sources, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := sources.ReadFile(name)
		fmt.Fprintf(h, "%s %d\n", name, len(b))
		h.Write(b)
		return err
	})
	if err != nil {
		panic(err) // as above
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
})

// Unpack writes the files of one folder, include or src, into dir.
func Unpack(folder, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := sources.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := sources.ReadFile(path.Join(folder, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, e.Name()), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var included = regexp.MustCompile(`(?m)^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]`)

// Included reports whether a source includes one of the headers of PROOF. TChain.h, which ROOT has too, is none.
func Included(source []byte) bool {
	for _, m := range included.FindAllSubmatch(source, -1) {
		name := path.Base(string(m[1]))
		if _, found := slices.BinarySearch(Headers(), name); found && name != "TChain.h" {
			return true
		}
	}
	return false
}

// words occur in the names of nearly all classes of the library and in the pointers that code tests.
var words = [][]byte{
	[]byte("Proof"), []byte("TDSet"), []byte("TDataSetManager"), []byte("TEventIter"), []byte("TDrawFeedback"),
	[]byte("TStatsFeedback"), []byte("TPerfStats"), []byte("TQueryResult"), []byte("TSlave"), []byte("TPackMgr"),
	[]byte("TVirtualPacketizer"), []byte("TOutputListSelectorDataMap"),
}

// Named reports whether compiled code names something of the library, as a symbol or as text for the interpreter. That
// it does for another reason costs a library that is loaded in vain.
func Named(object []byte) bool {
	return slices.ContainsFunc(words, func(w []byte) bool { return bytes.Contains(object, w) })
}
