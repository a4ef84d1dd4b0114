package plan

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestTwoNamesOfOneFileOnMembers has members tell the paths of files that this host does not see: one that lies neither
// hides that two names are one file, nor makes one file of two, where two others see both.
func TestTwoNamesOfOneFileOnMembers(t *testing.T) {
	for _, c := range []struct {
		name  string
		files string   // names, with trees behind a colon
		told  []string // by this host, then by members a, b, c: paths in the order of the files, - for none
		twice string   // in the error; empty for none
	}{
		{"a link", "/x/a /x/link", []string{"- -", "/x/a /x/a"}, `"/x/link" is "/x/a", as a can tell`},
		{"two trees of a file", "/x/a:T /x/link:U", []string{"- -", "/x/a /x/a"}, ""},
		{"two files", "/x/a /x/b", []string{"- -", "/x/a /x/b"}, ""},
		{"a link to a file that is here", "/own /x/link", []string{"/own -", "- /own"}, `"/x/link" is "/own"`},
		{"a link seen by another than the file", "/x/a /x/link", []string{"- -", "/x/a -", "- /x/a"}, `"/x/link" is "/x/a"`},
		{"the same path on two hosts stands for two files", "/x/a /x/b", []string{"- -", "/m /x/b", "/x/a /m", "/x/a /x/b"},
			""},
		{"nobody tells", "/x/a /x/link", []string{"- -"}, ""},
		{"one hides it", "/x/a /x/link", []string{"- -", "/x/a /x/link", "/x/a /x/a", "/x/a /x/a"},
			`"/x/link" is "/x/a", as b, c can tell, but not to a`},
		{"one makes it up", "/x/a /x/b", []string{"- -", "/x/a /x/a", "/x/a /x/b", "/x/a /x/b"}, ""},
		{"word against word", "/x/a /x/link", []string{"- -", "/x/a /x/link", "/x/a /x/a"}, "as b can tell, but not to a"},
		{"this host knows better", "/x/a /x/b", []string{"/x/a /x/b", "/x/a /x/a", "/x/a /x/a"}, ""},
		{"URLs", "root://h//a root://h//b", []string{"- -", "/x /x"}, ""},
		{"no paths", "/x/a /x/b", []string{"- -", "here here"}, ""},
		{"the third", "/x/a /x/b /x/c", []string{"- - -", "/x/a /x/b /x/b"}, `"/x/c" is "/x/b"`},
	} {
		l := &links{self: "self", real: map[tasks.PeerID][]string{}}
		for _, name := range strings.Fields(c.files) {
			url, tree, _ := strings.Cut(name, ":")
			l.files = append(l.files, api.InputFile{URL: url, Part: tree})
		}
		for k, told := range c.told {
			for i, real := range strings.Fields(told) {
				l.tell([]tasks.PeerID{"self", "a", "b", "c"}[k], i, strings.TrimPrefix(real, "-"))
			}
		}
		if err := l.twice(nil); (err != nil) != (c.twice != "") || err != nil && !strings.Contains(err.Error(), c.twice) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestThreeMembersTellOfEachLink: more are asked only where those do not see the files, and 16 at most.
func TestThreeMembersTellOfEachLink(t *testing.T) {
	members := make([]tasks.PeerID, 40)
	for i := range members {
		members[i] = fmt.Sprint(i)
	}
	for _, c := range []struct{ blind, want int }{{0, 3}, {1, 6}, {7, 12}, {40, linkAtMost}} {
		l := &links{files: []api.InputFile{{URL: "/x/a"}, {URL: "root://h//b"}}, real: map[tasks.PeerID][]string{}}
		n := 0
		for next := l.asked(members, n); len(next) > 0; next = l.asked(members, n) {
			for _, m := range next {
				if n++; n > c.blind {
					l.tell(m, 0, "/x/a")
				}
			}
		}
		if n != c.want {
			t.Errorf("%d do not see it: %d are asked, want %d", c.blind, n, c.want)
		}
	}
}

// TestLinksAreServed: a member answers for each file, for it may be the only one that sees it.
func TestLinksAreServed(t *testing.T) {
	d := New(Config{Members: alone{}, Log: slog.New(slog.DiscardHandler)})
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, link := filepath.Join(dir, "a"), filepath.Join(dir, "link")
	if err := os.WriteFile(a, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	b, err := d.serveLinks(t.Context(), "other", []api.InputFile{
		{URL: link},
		{URL: "root://h//x"},
		{URL: a + "no"},
		{URL: "file://" + a},
	})
	want := fmt.Sprintf(`[{"real":%q},{"kind":"open"},{"kind":"open"},{"real":%q}]`, a, a)
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}
