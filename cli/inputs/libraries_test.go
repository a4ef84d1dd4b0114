package inputs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// link makes a shared library out of a source, in the working folder.
func link(t *testing.T, out, text string, args ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("source.c", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cc", append([]string{"-shared", "-fPIC", "-nostdlib", "source.c", "-o", out}, args...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// TestLibraries: a library comes after those that it needs, by its run path, by $LD_LIBRARY_PATH, and by a path that
// the linker has written into it, relative to the working folder.
func TestLibraries(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	link(t, "deep/libdeep.so", "int deep(void) { return 1; }")
	link(t, "named/libnamed.so", "int named(void) { return 1; }", "-Wl,-soname,libnamed.so")
	link(t, "far/libfar.so", "int far(void) { return 1; }", "-Wl,-soname,libfar.so")
	link(t, "top/libtop.so",
		"int deep(void); int named(void); int far(void); int top(void) { return deep() + named() + far(); }",
		"deep/libdeep.so", "-Wl,-rpath,$ORIGIN/../named", "named/libnamed.so", "far/libfar.so")
	t.Setenv("LD_LIBRARY_PATH", filepath.Join(dir, "far"))
	want := []string{"deep/libdeep.so", "named/libnamed.so", "far/libfar.so", "top/libtop.so"}
	for i := range want {
		want[i] = filepath.Join(dir, want[i])
	}
	for _, name := range []string{"top/libtop.so", "top/libtop", "top/top", filepath.Join(dir, "top", "libtop.so")} {
		got, err := Libraries([]string{name}, []string{"libc.so.6", "nosuch"}, nil)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := Libraries(nil, []string{"far"}, nil); err != nil || len(got) != 1 {
		t.Errorf("one that a source loads: %q, %v", got, err)
	}
	for name, want := range map[string]string{"none": "could not find", "source.c": "it is none", "a.cxx": "--source"} {
		if name == "a.cxx" {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Libraries([]string{name}, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestLibraryOf finds the library of a class as ROOT's class maps have it.
func TestLibraryOf(t *testing.T) {
	t.Chdir(t.TempDir())
	text := "{ decls }\nnamespace a {  }\n\n[ libA.so libB.so ]\n# classes\nclass a::X\nheader A.h\n\n" +
		"[ libC.so ]\nclass Y\n"
	if err := os.WriteFile("all.rootmap", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for class, want := range map[string]string{"a::X": "libA.so", "Y": "libC.so", "X": ""} {
		if got := LibraryOf(class); got != want {
			t.Errorf("%s is in %q, want %q", class, got, want)
		}
	}
}

// TestCollect follows headers through folders, those of $ROOT_INCLUDE_PATH and of a source too, and notes what a source
// loads.
func TestCollect(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for name, text := range map[string]string{
		"sel/S.C": "R__LOAD_LIBRARY(libEvent)\nR__ADD_INCLUDE_PATH(../own)\n#include <given.h>\n#include \"own.h\"\n" +
			"#include <TH1.h>\n  gSystem->Load(\"libOther.so\");\n// gSystem->Load(\"libNot.so\");\n",
		"given/given.h":    "#include \"../common/common.h\"\n",
		"common/common.h":  "#include <env.h>\n",
		"env/env.h":        "",
		"own/own.h":        "",
		"unused/unused.h":  "",
		"root/TObject.h":   "",
		"root/TH1.h":       "",
		"all/a.h":          "",
		"all/deep/b.dat":   "",
		"all/.hidden/c.h":  "",
		"elsewhere/TH1F.h": "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ROOT_INCLUDE_PATH", filepath.Join(dir, "env")+":"+filepath.Join(dir, "root"))
	got, err := Collect([]string{filepath.Join(dir, "sel/S.C")}, []string{"all"}, []string{"given", "unused"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, filepath.Join(dir, n))
		}
		return out
	}
	want := in("given/given.h", "common/common.h", "env/env.h", "own/own.h", "all/a.h", "all/deep/b.dat")
	if !slices.Equal(got.Files, want) {
		t.Errorf("files %q, want %q", got.Files, want)
	}
	if want := in("given", "env", "own", "all"); !slices.Equal(got.Dirs, want) {
		t.Errorf("folders %q, want %q", got.Dirs, want)
	}
	if want := []string{"libEvent", "libOther.so"}; !slices.Equal(got.Libraries, want) {
		t.Errorf("libraries %q, want %q", got.Libraries, want)
	}
}
