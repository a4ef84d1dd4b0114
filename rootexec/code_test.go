package rootexec

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// par writes a PAR package of files, named by their paths in its folder.
func par(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for path, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name + "/" + path, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".par")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// describe makes a program of a spec.
func describe(t *testing.T, spec Spec) (exec.Description, error) {
	t.Helper()
	out, err := executor(t).Describe(t.Context(), exec.Request{Spec: spec.JSON(), Dir: t.TempDir(), Tell: func(string) {}})
	if err == nil {
		t.Cleanup(out.Program.Release)
	}
	return out, err
}

func mustDescribe(t *testing.T, spec Spec) exec.Description {
	t.Helper()
	out, err := describe(t, spec)
	if err != nil {
		t.Fatal(explain(err))
	}
	return out
}

// prepared is what another node makes of a description.
func prepared(t *testing.T, d exec.Description) exec.Program {
	t.Helper()
	fetch := func(_ context.Context, name string) ([]byte, error) {
		i := slices.IndexFunc(d.Blobs, func(b exec.Blob) bool { return b.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no blob %q", name)
		}
		return d.Blobs[i].Pack()
	}
	p, err := executor(t).Prepare(t.Context(), exec.Order{Work: d.Work, Fetch: fetch})
	if err != nil {
		t.Fatal(explain(err))
	}
	t.Cleanup(p.Release)
	return p
}

// printed runs a program over the ids 0 to 99 in two generations, and returns what it prints on the submitting side.
func printed(t *testing.T, p exec.Program) string {
	t.Helper()
	file := makeData(t, "ids.root", 100, 0)
	var out []string
	session, err := p.Session(t.Context(), exec.SessionSpec{
		Dir: t.TempDir(), Out: func(line string) { out = append(out, line) },
	})
	if err != nil {
		t.Fatal(explain(err))
	}
	input, err := session.Begin(t.Context())
	if err != nil {
		t.Fatal(explain(err))
	}
	var partials []string
	for first := int64(0); first < 100; first += 50 {
		r := newRecorder()
		g, err := p.Start(t.Context(), exec.GenSpec{Dir: t.TempDir(), Input: input}, r)
		if err != nil {
			t.Fatal(explain(err))
		}
		if err := g.Lease(exec.Packet{ID: 1, File: file, Part: "T", First: first, Last: first + 50}); err != nil {
			t.Fatal(err)
		}
		r.wait(t)
		sealed, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "partial"))
		if err != nil {
			t.Fatal(explain(err))
		}
		partials = append(partials, sealed.Path)
	}
	if _, err := session.Finish(t.Context(), partials, filepath.Join(t.TempDir(), "out.root")); err != nil {
		t.Fatal(explain(err))
	}
	session.Close()
	return strings.Join(out, "\n")
}

func codeFile(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "code", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// partsSpec is the selector of several sources, whose class in a namespace has the name of its file, with two packages
// of which the one given first depends on the other.
func partsSpec(t *testing.T) Spec {
	first := par(t, "first", map[string]string{
		"PROOF-INF/BUILD.sh": "#!/bin/sh\necho '#define GENERATED 42' > generated.h\necho built\n",
		"PROOF-INF/SETUP.C":  "int SETUP(const char *text) { gSystem->Setenv(\"PACKAGE_ARGS\", text); return 0; }\n",
	})
	second := par(t, "second", map[string]string{
		"PROOF-INF/depends": "first\n",
		"PROOF-INF/BUILD.sh": "grep -q 42 ../../*/first/generated.h || exit 1\n" +
			"case \"$ROOTINCLUDEPATH\" in *first*) ;; *) exit 2;; esac\n",
		"PROOF-INF/SETUP.C": `void SETUP(TList *args) {
  auto *named = dynamic_cast<TNamed *>(args->FindObject("level"));
  gSystem->Setenv("PACKAGE_ARGS", TString::Format("%s then %s of %d", gSystem->Getenv("PACKAGE_ARGS"),
    named ? named->GetTitle() : "nothing", args->GetSize()));
}
`,
	})
	return Spec{
		Selector:    codeFile(t, "Parts.C"),
		Includes:    []string{codeFile(t, "Parts.h"), codeFile(t, "Tally2.h"), codeFile(t, "include/scale.h")},
		Sources:     []string{codeFile(t, "Tally2.cxx"), codeFile(t, "scale.cxx")},
		IncludeDirs: []string{codeFile(t, "include")},
		Packages: []PackageSpec{
			{File: second, Args: []string{"level=3"}}, {File: first, Args: []string{"a \"b\""}},
			{File: second, Args: []string{"plain"}},
		},
	}
}

// TestCodeOfSeveralSources: sources that need each other, packages, a class in a namespace, one of the user's in the
// output; then the libraries that were compiled of it, as libraries of a user.
func TestCodeOfSeveralSources(t *testing.T) {
	d := mustDescribe(t, partsSpec(t))
	// the sum of 2*id+1 over 100 ids
	const want = `sum 10000 offset 1 package 42 a "b" then 3 of 2`
	if got := printed(t, d.Program); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if got := printed(t, prepared(t, d)); got != want {
		t.Errorf("on another node printed %q, want %q", got, want)
	}
	lib := filepath.Dir(loadedSo(t, d))
	byName := Spec{
		Libraries: []string{
			filepath.Join(lib, "Tally2_cxx.so"), filepath.Join(lib, "scale_cxx.so"), filepath.Join(lib, "Parts_C.so"),
		},
		Includes: []string{codeFile(t, "Parts.h"), codeFile(t, "Tally2.h"), codeFile(t, "include/scale.h")},
	}
	byName.IncludeDirs = []string{codeFile(t, ".")}
	d = mustDescribe(t, byName)
	if len(d.Blobs) != 2 || !slices.Contains(d.Work.Needs, arch()) {
		t.Errorf("ships %d blobs and needs %q, want the libraries alone and %q", len(d.Blobs), d.Work.Needs, arch())
	}
	if got := printed(t, prepared(t, d)); !strings.HasPrefix(got, "sum 10000 offset 1 package 42") {
		t.Errorf("from libraries printed %q", got)
	}
	for _, c := range []struct {
		class string
		libs  []string
		want  []string
	}{
		{"Part", byName.Libraries, []string{"no class Part in the libraries", "ana::Parts", "--class"}},
		{"", byName.Libraries[1:2], []string{"scale_cxx.so lacks the symbol offset()", "--lib", "--source"}},
		{"", byName.Libraries[:1], []string{"no selector in the libraries"}},
	} {
		_, err := describe(t, Spec{
			Class: c.class, Libraries: c.libs, Includes: byName.Includes, IncludeDirs: byName.IncludeDirs,
		})
		f := asFailure(err)
		for _, text := range c.want {
			if f == nil || f.Kind != exec.KindCode || !strings.Contains(f.Msg, text) {
				t.Errorf("%q of %q: %v lacks %q", c.class, c.libs, err, text)
			}
		}
	}
	lacking := Spec{Libraries: byName.Libraries[1:2], AllowMissingSymbols: true}
	if _, err := describe(t, lacking); asFailure(err) == nil || !strings.Contains(err.Error(), "no selector") {
		t.Errorf("a library that may lack symbols: %v", err)
	}
}

// loadedSo is the selector's own library.
func loadedSo(t *testing.T, d exec.Description) string {
	t.Helper()
	i := slices.IndexFunc(d.Blobs, func(b exec.Blob) bool { return b.Name == libraryBlob })
	if i < 0 {
		t.Fatal("no library was compiled")
	}
	dir := libDir(executor(t).cfg.Cache, d.Blobs[i].Key)
	all, err := filepath.Glob(filepath.Join(dir, "Parts_C.so"))
	if err != nil || len(all) != 1 {
		t.Fatalf("in %s are %q, %v", dir, all, err)
	}
	return all[0]
}

// TestInterpreted: a macro that does not compile is interpreted where its name did not ask for compilation.
func TestInterpreted(t *testing.T) {
	spec := Spec{Selector: codeFile(t, "Loose.C")}
	_, err := describe(t, spec)
	if f := asFailure(err); f == nil || f.Kind != exec.KindCode || !strings.Contains(f.Tail, "Loose.C:2") ||
		strings.Contains(f.Tail, "rootcling") {
		t.Fatalf("compiled: %s", explain(err))
	}
	spec.Interpret = true
	d := mustDescribe(t, spec)
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "Loose.C is interpreted") {
		t.Errorf("notes %q", d.Notes)
	}
	if got := printed(t, prepared(t, d)); got != "sum 4950" {
		t.Errorf("printed %q", got)
	}
	broken := filepath.Join(t.TempDir(), "Broken.C")
	if err := os.WriteFile(broken, []byte("class Broken : public TSelector { nosuchtype x; };\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = describe(t, Spec{Selector: broken, Interpret: true})
	if f := asFailure(err); f == nil || !strings.Contains(f.Tail, "nosuchtype") ||
		!strings.Contains(f.Msg, "nor is it interpreted") {
		t.Errorf("what neither takes: %s", explain(err))
	}
	// ROOT's interpreter answers a missing header with all headers of a dictionary that it could not read then.
	if err := os.WriteFile(broken, []byte("#include <TSelector.h>\n#include <TProof.h>\n#include <TNowhere.h>\n"+
		"class Broken : public TSelector { void SlaveBegin(TTree *) { gProof->GetListOfSlaveInfos(); } };\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	_, err = describe(t, Spec{Selector: broken, Interpret: true})
	if f := asFailure(err); f == nil || !strings.Contains(f.Msg, "Broken.C, line 3, includes TNowhere.h") ||
		!strings.Contains(f.Msg, "up --root") || strings.Contains(f.Msg, "\n") || strings.Contains(f.Msg, "interpreted") {
		t.Errorf("a header that is nowhere: %s", explain(err))
	}
}

func TestHeadersThatAreNotThere(t *testing.T) {
	for header, want := range map[string]string{
		"mine.h":                "--include",
		"TProofBench.h":         "dtpnode bench",
		"TPacketizerAdaptive.h": "dealt out",
	} {
		path := filepath.Join(t.TempDir(), "Lacks.C")
		if err := os.WriteFile(path, []byte("\n#include <"+header+">\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := describe(t, Spec{Selector: path})
		f := asFailure(err)
		if f == nil || !strings.Contains(f.Msg, "Lacks.C, line 2, includes "+header) || !strings.Contains(f.Msg, want) ||
			strings.Count(f.Tail, "\n") > 3 {
			t.Errorf("%s: %s", header, explain(err))
		}
	}
}

func TestPackagesThatFail(t *testing.T) {
	loose := codeFile(t, "Loose.C")
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"nobuild": {
			map[string]string{"PROOF-INF/BUILD.sh": "echo what went wrong; exit 3\n"},
			[]string{"BUILD.sh failed", "exit status 3", "what went wrong"},
		},
		"nosetup": {
			map[string]string{"PROOF-INF/SETUP.C": "int SETUP() { Error(\"here\", \"no good\"); return -1; }\n"},
			[]string{"SETUP() of the package nosetup returned -1", "no good"},
		},
		"nodepend": {
			map[string]string{"PROOF-INF/depends": "other\n"},
			[]string{"nodepend", "other", "--package other.par"},
		},
	} {
		spec := Spec{Selector: loose, Interpret: true, Packages: []PackageSpec{{File: par(t, name, c.files)}}}
		_, err := describe(t, spec)
		for _, text := range c.want {
			if err == nil || !strings.Contains(explain(err), text) {
				t.Errorf("%s: %v lacks %q", name, err, text)
			}
		}
	}
	for name, files := range map[string]map[string]string{
		"evil": {"../../x": ""}, "ok": {"PROOF-INF/SETUP.C": ""},
	} {
		b, err := os.ReadFile(par(t, name, files))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPackage(name, b); (err == nil) != (name == "ok") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBuiltPackages lists and removes what is built.
func TestBuiltPackages(t *testing.T) {
	cache := t.TempDir()
	for _, dir := range []string{"k1/event", "k2/event", "k3/other"} {
		if err := os.MkdirAll(filepath.Join(cache, "packages", dir), 0o700); err != nil {
			t.Fatal(err)
		}
		mark := filepath.Join(cache, "packages", filepath.Dir(dir), builtFile)
		if err := os.WriteFile(mark, []byte(filepath.Base(dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		built, err := BuiltPackages(cache)
		if err != nil {
			t.Fatal(err)
		}
		return len(built)
	}
	for _, step := range []struct {
		name          string
		removed, left int
	}{{"nothing", 0, 3}, {"event", 2, 1}, {"", 1, 0}} {
		n, err := RemovePackage(t.Context(), cache, step.name)
		if err != nil || n != step.removed || count() != step.left {
			t.Errorf("removing %q: %d, %v, %d left", step.name, n, err, count())
		}
	}
}

// TestLibrariesOfOthers: of another ROOT, another processor, or no library.
func TestLibrariesOfOthers(t *testing.T) {
	executor(t)
	so, err := os.ReadFile(suite.lib.So)
	if err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(so)
	other[18] = byte(elf.EM_AARCH64)
	if machine() == elf.EM_AARCH64 {
		other[18] = byte(elf.EM_X86_64)
	}
	pcm := []byte{'r', 'o', 'o', 't', 0, 0, 0xf6, 0x18} // 63000
	for _, c := range []struct {
		files map[string][]byte
		want  string
	}{
		{map[string][]byte{".lib/libX.so": []byte("text")}, "no library"},
		{map[string][]byte{".lib/libX.so": other}, "another processor"},
		{map[string][]byte{".lib/libX.so": so, ".lib/libX_rdict.pcm": pcm}, "ROOT 6.30.00"},
		{map[string][]byte{".lib/libX.so": so}, ""},
	} {
		src := Source{Files: c.files, Shape: Shape{Libs: []string{".lib/libX.so"}}}
		err := checkLibraries(src, suite.root)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestPackedCode: all that a source says reaches other nodes, and what is wrong with it is refused there.
func TestPackedCode(t *testing.T) {
	src := Source{
		Main:  "A.C",
		Files: map[string][]byte{"A.C": nil, "b.cxx": nil, ".lib/libX.so": []byte("x"), "inc/h.h": nil},
		Shape: Shape{
			Options: "g", Parts: []string{"b.cxx"}, Includes: []string{"inc"}, Libs: []string{".lib/libX.so"}, Lacking: true,
		},
	}
	b, err := packSource(src)
	if err != nil {
		t.Fatal(err)
	}
	libraries := func(src Source) func() ([]byte, error) { return func() ([]byte, error) { return packLibraries(src) } }
	got, err := unpackSource(b, libraries(src))
	if err != nil || got.Hash() != src.Hash() {
		t.Errorf("%+v, %v", got, err)
	}
	for name, spoil := range map[string]func(*Source){
		"outside":  func(s *Source) { s.Includes = []string{"../x"} },
		"not lib":  func(s *Source) { s.Libs = []string{"b.cxx"} },
		"missing":  func(s *Source) { s.Parts = []string{"c.cxx"} },
		"twice":    func(s *Source) { s.Files["x/A.C"] = nil; s.Parts = []string{"x/A.C"} },
		"package":  func(s *Source) { s.Packages = []Package{{Name: "p"}} },
		"no code":  func(s *Source) { s.Main, s.Libs = "", nil },
		"no main":  func(s *Source) { s.Main = "B.C" },
		"options":  func(s *Source) { s.Options = "x" },
		"dictator": func(s *Source) { s.Files["../../y"] = nil },
	} {
		bad := src
		bad.Files = map[string][]byte{}
		for name, text := range src.Files {
			bad.Files[name] = text
		}
		if spoil(&bad); bad.validate() == nil {
			t.Errorf("%s is taken", name)
		}
		packed, err := packSource(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unpackSource(packed, libraries(bad)); err == nil {
			t.Errorf("%s is taken from others", name)
		}
	}
}
