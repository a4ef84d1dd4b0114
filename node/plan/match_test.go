package plan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// globTree is a folder of folders of files, each level of them so wide, with links and what is no file.
func globTree(t *testing.T, wide int) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range wide {
		sub := filepath.Join(dir, fmt.Sprint("d", i))
		if err := os.MkdirAll(filepath.Join(sub, "e.root"), 0o700); err != nil {
			t.Fatal(err)
		}
		for k := range wide {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%d.root", k)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, to := range map[string]string{"link": "d0", "dead": "nowhere", "round": "."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestMatchingIsGlob: where there is room it finds what filepath.Glob does, without folders.
func TestMatchingIsGlob(t *testing.T) {
	dir := globTree(t, 3)
	for _, pattern := range []string{"*/*.root", "d1/*", "d?/f[12].root", "link/*", "*/f0.root", "round/*/f0.*",
		"d0/f0.root", "d9/*", "*", "d0/f0.root/*", "[", `d\0/f*`, "*/*/*/*/f*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		want := slices.DeleteFunc(found, func(name string) bool {
			info, err := os.Stat(name)
			return err != nil || info.IsDir()
		})
		slices.Sort(want)
		got := matching(t.Context(), []string{filepath.Join(dir, pattern), "relative/*", "/\x00*"}, globNames)
		if !slices.Equal(got, want) {
			t.Errorf("%s matches %v, want %v", pattern, got, want)
		}
	}
}

// TestMatchingIsBounded: a member's globs take a bounded number of looks, and none once it waits no more.
func TestMatchingIsBounded(t *testing.T) {
	dir := globTree(t, 8)
	wide := dir + strings.Repeat("/round/*/..", 3) + strings.Repeat("/*", 12) // round and round
	m := matcher{ctx: t.Context(), room: globNames, look: 5000}
	m.walk("/", strings.Split(strings.Trim(wide, "/"), "/"))
	if m.look > 0 || m.look < -2*listBatch {
		t.Errorf("%d looks are left of 5000", m.look)
	}
	if all := matching(t.Context(), []string{dir + "/*/*"}, 300); len(all) == 0 || len(all) > 10 {
		t.Errorf("%d names in 300 bytes", len(all))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if all := matching(gone, []string{dir + "/*/*"}, globNames); len(all) > 0 {
		t.Errorf("found for nobody: %v", all)
	}
}
