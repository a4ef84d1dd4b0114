package inputs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestGlobsLeaveNothingOut: what a glob matches and cannot be read here is Unseen, as if it was named, or an error.
func TestGlobsLeaveNothingOut(t *testing.T) {
	dir := tree(t, map[string]string{
		"data/a/x.root":   "",
		"data/b/x.root":   "",
		"locked/c/x.root": "",
		"loops/a/x.root":  "",
		"ends/a/x.root":   "",
	})
	for name, to := range map[string]string{
		"data/a/gone.root": "/mnt/none/gone.root", "data/a/loop.root": "loop.root", // files that are not here
		"loops/b": "b", "ends/b": "/mnt/none/b", // folders that cannot be read, or are not here
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod("locked/c", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "locked/c"), 0o755) })
	for _, c := range []struct {
		glob, want, err string
	}{
		{"data/a/*.root", "gone.root? loop.root? x.root", ""},
		{"data/a/*.root/T", "gone.root? loop.root? x.root", ""},
		{"data/*/x.root", "x.root x.root", ""},
		{"data/*/x.root/dir/T", "x.root x.root", ""},
		{"data/*/*", "gone.root? loop.root? x.root x.root", ""},
		{"loops/*/*.root", "", `"loops/b" (a link that leads nowhere)`},
		{"loops/*/x.root", "", `"loops/b" (a link that leads nowhere)`},
		{"loops/b/*.root", "", "no file matches"},
		{"ends/*/*.root", "", `"ends/b" (a link that leads nowhere)`},
		{"ends/*/x.root", "", `"ends/b" (a link that leads nowhere)`},
		{"locked/*/*.root", "", `"locked/c" (permission denied)`},
		{"locked/c/*.root", "", `"locked/c" (permission denied)`},
		{"data/*/none*", "", "no file matches"},
	} {
		if strings.HasPrefix(c.glob, "locked") && os.Getuid() == 0 {
			continue // root may read everything
		}
		got, _, err := Files([]string{c.glob}, "T", true)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, %v; want %q", c.glob, got, err, c.err)
			}
			continue
		}
		var names []string
		for _, f := range got {
			name := filepath.Base(f.URL)
			if f.Unseen {
				name += "?"
			}
			names = append(names, name)
		}
		if err != nil || strings.Join(names, " ") != c.want {
			t.Errorf("%s: %q, %v; want %s", c.glob, names, err, c.want)
		}
	}
}

// TestGlobbingIsGlob: if everything can be read, the result is that of filepath.Glob.
func TestGlobbingIsGlob(t *testing.T) {
	tree(t, map[string]string{"a/x": "", "a/y": "", "b/x": "", "b/c/x": "", "x": "", ".h/x": "", "a/[1]": "", `a/\x`: ""})
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "x", "*", "?", "[a-c]", "..", ".", ".*", `\x`,
			`\[1]`, "no"}), 1, 4).Draw(t, "parts")
		pattern := filepath.Join(parts...)
		want, err := filepath.Glob(pattern)
		if err != nil {
			t.Skip(err)
		}
		got := new(globbing).names(pattern)
		sorted := func(s []string) map[string]bool {
			out := map[string]bool{}
			for _, name := range s {
				out[filepath.Clean(name)] = true
			}
			return out
		}
		if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
			t.Errorf("%s (-want +got): %s", pattern, diff)
		}
	})
}

// TestNamesThatAreNotText: JSON would change such names.
func TestNamesThatAreNotText(t *testing.T) {
	tree(t, map[string]string{"a\xff.root": "", "b.root": "", "größe.root": ""})
	if got, _, err := Files([]string{"*.root"}, "T", false); err == nil || !strings.Contains(err.Error(), `a\xff.root"`) {
		t.Errorf("%v, %v", got, err)
	}
	if got, _, err := Files([]string{"[bg]*.root"}, "T", false); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestListsNameWhatIsThere: a line of a list that looks like a name and a comment is a name if such a file exists.
func TestListsNameWhatIsThere(t *testing.T) {
	dir := tree(t, map[string]string{
		"l/a":         "",
		"l/a #1.root": "",
		"list":        "l/a #1.root\nl/a # or that\n",
		"l/list":      "a #1.root\n",
	})
	for list, want := range map[string][]string{"list": {"l/a #1.root", "l/a"}, "l/list": {"l/a #1.root"}} {
		got, _, err := Files([]string{"@" + list}, "T", false)
		var names []api.InputFile
		for _, name := range want {
			names = append(names, api.InputFile{URL: filepath.Join(dir, name)})
		}
		if diff := cmp.Diff(names, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", list, err, diff)
		}
	}
}
