package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// treesMacro runs a selector over three files in a session.
const treesMacro = `void trees(const char *dir) {
  TProof::Open("");
  TChain chain("ev");
  for (int i = 0; i < 3; ++i) chain.Add(TString::Format("%s/m%d.root", dir, i));
  chain.SetProof();
  chain.Process("TreesOut.C+", "write");
}
`

// TestTerminateWritesTrees: what Terminate writes of the output's trees to files of its own is whole, and so is the
// result, in jobs and in sessions, whether the trees are small or so large that they stay in a file.
func TestTerminateWritesTrees(t *testing.T) {
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
	for _, name := range []string{"run", "session"} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, name, "TreesOut.C"), text, 0o600))
	}
	check(t, os.WriteFile(filepath.Join(dir, "session", "trees.C"), []byte(treesMacro), 0o600))
	want := filepath.Join(dir, "want.root")
	r.Reference(t, roottest.Job{Selector: filepath.Join(dir, "run", "TreesOut.C"), Tree: "ev", Files: files}, want)

	alice := ownCluster(t, nodeSpec{name: "alice", slots: 1}, nodeSpec{name: "bob", slots: 1}).nodes[0]
	job := []string{"run", "TreesOut.C+", "--tree", "ev", "--option", "write", "-o", "out.root", "--files"}
	session := []string{"root", "-l", "-b", "-q", "trees.C(" + strconv.Quote(data) + ")"}
	for name, args := range map[string][]string{"run": append(job, files...), "session": session} {
		folder := filepath.Join(dir, name)
		if res := alice.dtpnode(t, folder, args...); res.code != 0 {
			t.Fatalf("%s: exit %d\n%s%s", name, res.code, res.stdout, res.stderr)
		}
		for _, file := range []string{"written.root", "stored.root", "moved.root"} {
			r.Compare(t, filepath.Join(folder, file), want)
		}
	}
	r.Compare(t, filepath.Join(dir, "run", "out.root"), want)
}
