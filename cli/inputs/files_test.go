package inputs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/node/api"
)

// tree makes files below a new working folder, with their text.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

func dataset(t *testing.T) string {
	return tree(t, map[string]string{
		"data/b.root": "", "data/a.root": "", "data/sub/c.root": "", "data/odd[1].root": "",
		"lists/all.txt": "# two kinds of relative paths\n\n  near.root  \ndata/a.root # from the working folder\n" +
			"*.root/U\nroot://h//x.root\n",
		"lists/near.root": "", "lists/far.root": "",
		"lists/nested.txt": "@all.txt\n", "lists/wrong.txt": "near.root\nnone.root\n",
	})
}

func TestFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		specs []string
		want  []string // "path" or "path tree"; $ is the working folder
		err   string
	}{
		{"glob is sorted", []string{"data/[ab].root"}, []string{"$/data/a.root", "$/data/b.root"}, ""},
		{"order of specs", []string{"data/b.root", "data/a.root"}, []string{"$/data/b.root", "$/data/a.root"}, ""},
		{"tree in a path", []string{"data/a.root/dir/T"}, []string{"$/data/a.root dir/T"}, ""},
		{"tree in a glob", []string{"data/[ab].root/T"}, []string{"$/data/a.root T", "$/data/b.root T"}, ""},
		{"tree as TChain::Add has it", []string{"data/a.root?#dir/T", "data/b.root#T", "data/sub/*.root?#T"},
			[]string{"$/data/a.root dir/T", "$/data/b.root T", "$/data/sub/c.root T"}, ""},
		{"URL with a tree behind ?#", []string{"root://h//d/a.root?#T", "root://h//d/b.root?x=1#t=2"},
			[]string{"root://h//d/a.root T", "root://h//d/b.root?x=1#t=2"}, ""},
		{"glob in folders", []string{"data/*/*.root"}, []string{"$/data/sub/c.root"}, ""},
		{"a name with glob characters", []string{"data/odd[1].root"}, []string{"$/data/odd[1].root"}, ""},
		{"two trees of a file", []string{"data/a.root", "data/a.root/U", "data/a.root/dir/T"},
			[]string{"$/data/a.root", "$/data/a.root U", "$/data/a.root dir/T"}, ""},
		{"file URL", []string{"file://$/data/a.root"}, []string{"$/data/a.root"}, ""},
		{"URL", []string{"root://h//d/a.root"}, []string{"root://h//d/a.root"}, ""},
		{"URL with a tree", []string{"root://h//d.root/a.root/dir/T"}, []string{"root://h//d.root/a.root dir/T"}, ""},
		{"URL in a folder that looks like a file", []string{"root://h//d.root/a.root"}, []string{"root://h//d.root/a.root"},
			""},
		{"list", []string{"@lists/all.txt"},
			[]string{"$/lists/near.root", "$/data/a.root", "$/lists/far.root U", "$/lists/near.root U", "root://h//x.root"}, ""},

		{"missing file", []string{"data/a.root", "none.root", "no/*.root"}, nil,
			`no such file: "none.root"; no file matches "no/*.root"`},
		{"missing in a list", []string{"@lists/wrong.txt"}, nil, `"none.root"`},
		{"empty list", []string{"@/dev/null"}, nil, "@/dev/null names none"},
		{"missing list", []string{"@none.txt"}, nil, `"none.txt"`},
		{"list in a list", []string{"@lists/nested.txt"}, nil, "nested.txt:1"},
		{"folder", []string{"data"}, nil, `a folder is no file: "data"`},
		{"bad glob", []string{"data/[.root"}, nil, "data/[.root"},
		{"glob in a URL", []string{"root://h//*.root"}, nil, "globs work for local files only"},
		{"twice", []string{"data/a.root", "data/../data/a.root"}, nil, "counted twice"},
		{"twice, by the default tree", []string{"data/a.root", "data/a.root/T"}, nil, "counted twice"},
		{"twice, by the cycle", []string{"data/a.root/T", "data/a.root/T;1"}, nil, "counted twice"},
		{"twice, by default tree and cycle", []string{"data/*.root/T;2", "data/a.root"}, nil, "counted twice"},
		{"twice, by slashes", []string{"data/a.root/dir/U", "data/a.root/dir//U"}, nil, "counted twice"},
		{"URL twice, by the default tree", []string{"root://h//a.root", "root://h//a.root/T;1"}, nil, "counted twice"},
		{"unseen file twice, by the default tree", []string{"/mnt/none/a.root", "/mnt/none/a.root/T"}, nil, "counted twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := dataset(t)
			for i, s := range tc.specs {
				tc.specs[i] = strings.ReplaceAll(s, "$", dir)
			}
			got, _, err := Files(tc.specs, "T", false)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("got %v, %v; want an error with %q", got, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range got {
				names = append(names, strings.TrimSpace(strings.ReplaceAll(f.URL, dir, "$")+" "+f.Part))
			}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFilesOfOtherHosts: an absolute path that does not exist here may exist on others; a glob or relative path must be
// found here.
func TestFilesOfOtherHosts(t *testing.T) {
	dir := dataset(t)
	got, _, err := Files([]string{"data/a.root", "/mnt/none/x.root", "/mnt/none/y.root/dir/T"}, "T", false)
	want := []api.InputFile{
		{URL: filepath.Join(dir, "data/a.root")},
		{URL: "/mnt/none/x.root", Unseen: true},
		{URL: "/mnt/none/y.root", Part: "dir/T", Unseen: true},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := NotHere(got); err == nil ||
		!strings.Contains(err.Error(), `no such file: "/mnt/none/x.root", "/mnt/none/y.root"`) {
		t.Error(err)
	}
	if err := NotHere(got[:1]); err != nil {
		t.Error(err)
	}
	if _, _, err := Files([]string{"/mnt/none/*.root"}, "T", false); err == nil {
		t.Error("a glob that matches nothing is taken")
	}
}

// TestGlobsAreNamed: globs that match are returned, as absolute paths and without the tree after them.
func TestGlobsAreNamed(t *testing.T) {
	dir := dataset(t)
	_, globs, err := Files([]string{"data/[ab].root/U", "data/sub/*.root", "data/odd[1].root", "root://h//x.root",
		"@lists/all.txt"}, "T", true)
	want := []string{filepath.Join(dir, "data/[ab].root"), filepath.Join(dir, "data/sub/*.root"),
		filepath.Join(dir, "lists/*.root")}
	if diff := cmp.Diff(want, globs); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestFilesAllowDuplicates(t *testing.T) {
	dir := dataset(t)
	got, _, err := Files([]string{"data/a.root", "data/a.root"}, "T", true)
	f := api.InputFile{URL: filepath.Join(dir, "data/a.root")}
	if diff := cmp.Diff([]api.InputFile{f, f}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSelector(t *testing.T) {
	dir := tree(t, map[string]string{"Sel.C": "", "odd.C+": ""})
	for _, name := range []string{"Sel.C", "Sel.C+", "Sel.C++", "Sel.C+O", "Sel.C+g", "Sel.C++Og"} {
		if got, err := Selector(name); err != nil || got != filepath.Join(dir, "Sel.C") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"Sel.C":     "",
		"Sel.C+":    "",
		"Sel.C+O":   "",
		"Sel.C+g":   "g",
		"Sel.C++Og": "Og",
		"Sel.C+gO":  "Og",
		"odd.C+":    "",
	} {
		if got := CompileOptions(name); got != want {
			t.Errorf("%s is compiled with %q, want %q", name, got, want)
		}
	}
	if got, err := Selector("odd.C+"); err != nil || got != filepath.Join(dir, "odd.C+") {
		t.Errorf("a file that ends in +: %s, %v", got, err)
	}
	for _, name := range []string{"None.C+", "Sel.C+x", "+", ""} {
		if got, err := Selector(name); err == nil {
			t.Errorf("%q gave %s", name, got)
		}
	}
}

func TestSources(t *testing.T) {
	dir := tree(t, map[string]string{
		"ana/Sel.C": "#include \"Sel.h\"\n  #  include \"../common/cuts.h\" // shared\n#include <TH1F.h>\n#include " +
			"\"TH2F.h\"\n// #include \"unused.h\"\n",
		"ana/Sel.h":       "#include \"Sel.C\"\n#include \"deep/x.h\"\n",
		"ana/deep/x.h":    "#include \"y.h\"\n",
		"ana/deep/y.h":    "",
		"ana/unused.h":    "",
		"ana/extra.h":     "#include \"unused.h\"\n",
		"ana/weights.dat": "#include \"Sel.C\"\n",
		"common/cuts.h":   "#include \"../ana/Sel.h\"\n",
	})
	got, err := Sources(filepath.Join(dir, "ana/Sel.C"), []string{"ana/weights.dat", "ana/extra.h", "ana/Sel.h"})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range got {
		got[i], _ = filepath.Rel(dir, f)
	}
	want := []string{"ana/Sel.h", "ana/deep/x.h", "ana/deep/y.h", "common/cuts.h", "ana/weights.dat", "ana/extra.h",
		"ana/unused.h"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Sources(filepath.Join(dir, "ana/Sel.C"), []string{"none.h"}); err == nil ||
		!strings.Contains(err.Error(), "none.h") {
		t.Errorf("missing --include: %v", err)
	}
}

func TestParams(t *testing.T) {
	got, err := Params([]string{"cut=20", "expr=a=b", "empty="})
	if diff := cmp.Diff(map[string]string{"cut": "20", "expr": "a=b", "empty": ""}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range [][]string{{"cut"}, {"=1"}, {"a=1", "a=2"}} {
		if got, err := Params(bad); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"":        0,
		"0":       0,
		"1500000": 1500000,
		"512M":    512 << 20,
		"2G":      2 << 30,
		"1.5GiB":  3 << 29,
		"3 kB":    3 << 10,
		"7b":      7,
		"1t":      1 << 40,
	} {
		if got, err := Size(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"G", "-1", "1X", "1GG", "NaN", "Inf", "1e30", "2 G x"} {
		if got, err := Size(bad); err == nil {
			t.Errorf("%q gave %d", bad, got)
		}
	}
}

// TestTwiceProperty checks the search for duplicates against counting one by one.
func TestTwiceProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d"})).Draw(t, "names")
		var e expansion
		for _, n := range names {
			e.files = append(e.files, api.InputFile{URL: n})
		}
		var want []string
		for i, n := range names {
			if slices.Index(names, n) < i && !slices.Contains(want, n) {
				want = append(want, n)
			}
		}
		if diff := cmp.Diff(want, e.twice()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestLinkedFiles: a file that is named twice through a link is reported, with both names.
func TestLinkedFiles(t *testing.T) {
	dir := dataset(t)
	a := filepath.Join(dir, "data/a.root")
	for name, link := range map[string]func(string, string) error{"soft.root": os.Symlink, "hard.root": os.Link} {
		if err := link(a, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		_, _, err := Files([]string{"data/a.root", name}, "T", false)
		if err == nil || !strings.Contains(err.Error(), `"`+a+`"`) ||
			!strings.Contains(err.Error(), `"`+filepath.Join(dir, name)+`"`) {
			t.Errorf("%s: got %v; want both names", name, err)
		}
		if got, _, err := Files([]string{"data/a.root", name}, "T", true); err != nil || len(got) != 2 {
			t.Errorf("%s: got %v, %v though it is allowed", name, got, err)
		}
		if _, _, err := Files([]string{"data/a.root/T", name + "/U"}, "T", false); err != nil {
			t.Errorf("%s: two trees of one file: %v", name, err)
		}
	}
}

// TestSlips: the error explains what the shell would have done without the quotes.
func TestSlips(t *testing.T) {
	for name, want := range map[string]string{
		"~/data/*.root":         "$HOME",
		"{a,b}.root":            "repeat --files",
		"none1.root,none2.root": "not separated by commas",
		"none.root":             "relative to",
	} {
		_, _, err := Files([]string{name}, "T", false)
		var e *api.Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
