package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// treesMacro runs a selector over three files in a session, from its source or by the name of its class in a library.
const treesMacro = `void trees(const char *dir, const char *selector, const char *library) {
  TProof::Open("");
  if (*library) gProof->Load(library);
  TChain chain("ev");
  for (int i = 0; i < 3; ++i) chain.Add(TString::Format("%s/m%d.root", dir, i));
  chain.SetProof();
  chain.Process(selector, "write");
}
`

// TestTerminateWritesTrees: what Terminate writes of the output's trees to files of its own is whole, and so is the
// result, in jobs and in sessions, whether the trees are small or so large that they stay in a file. One session has
// the selector in a library alone.
func TestTerminateWritesTrees(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	r := roottest.Find(t)
	r.MakeChains(t, data)
	var files []string
	for i := range 3 {
		files = append(files, filepath.Join(data, "m"+strconv.Itoa(i)+".root"))
	}
	text, err := os.ReadFile(filepath.Join("testdata", "TreesOut.C"))
	check(t, err)
	for _, name := range []string{"run", "session", "library"} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, name, "trees.C"), []byte(treesMacro), 0o600))
		if name != "library" {
			check(t, os.WriteFile(filepath.Join(dir, name, "TreesOut.C"), text, 0o600))
		}
	}
	want := filepath.Join(dir, "want.root")
	r.Reference(t, roottest.Job{Selector: filepath.Join(dir, "run", "TreesOut.C"), Tree: "ev", Files: files}, want)

	alice := ownCluster(t, nodeSpec{name: "alice", slots: 1}, nodeSpec{name: "bob", slots: 1}).nodes[0]
	job := []string{"run", "TreesOut.C+", "--tree", "ev", "--option", "write", "-o", "out.root", "--files"}
	session := func(selector, library string) []string {
		return []string{"root", "-l", "-b", "-q", fmt.Sprintf("trees.C(%q, %q, %q)", data, selector, library)}
	}
	for _, s := range []struct {
		name string
		args []string
	}{
		{"run", append(job, files...)},
		{"session", session("TreesOut.C+", "")},
		{"library", session("TreesOut", filepath.Join(dir, "library", "TreesOut_C.so"))},
	} {
		folder := filepath.Join(dir, s.name)
		if s.name == "library" {
			for _, file := range []string{"TreesOut_C.so", "TreesOut_C_ACLiC_dict_rdict.pcm"} {
				check(t, os.Rename(filepath.Join(dir, "session", file), filepath.Join(folder, file)))
			}
			check(t, os.Remove(filepath.Join(dir, "session", "TreesOut.C"))) // which is not to be found
		}
		res := alice.dtpnode(t, folder, s.args...)
		if res.code != 0 {
			t.Fatalf("%s: exit %d\n%s%s", s.name, res.code, res.stdout, res.stderr)
		}
		if !strings.Contains(res.stdout+res.stderr, " in all, 0 missing") {
			t.Errorf("%s: Terminate does not find what cannot be merged:\n%s%s", s.name, res.stdout, res.stderr)
		}
		for _, file := range []string{"written.root", "stored.root", "moved.root"} {
			r.Compare(t, filepath.Join(folder, file), want)
		}
	}
	r.Compare(t, filepath.Join(dir, "run", "out.root"), want)
}
