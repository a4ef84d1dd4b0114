package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestDatasets registers files on one node and runs over them on another when the first is dead, and has them verified
// after one was removed, one written anew and one cut.
func TestDatasets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := roottest.Find(t)
	r.MakeChains(t, dir)
	c := ownCluster(t, nodeSpec{name: "alice", slots: 1}, nodeSpec{name: "bob", slots: 2})
	alice, bob := c.nodes[0], c.nodes[1]
	on := func(n *node, args ...string) result {
		t.Helper()
		res, err := n.command(t.Context(), dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	says := func(res result, code int, texts ...string) {
		t.Helper()
		if res.code != code {
			t.Errorf("exit %d, want %d: %s%s", res.code, code, res.stdout, res.stderr)
		}
		for _, text := range texts {
			if !strings.Contains(res.stdout+res.stderr, text) {
				t.Errorf("does not say %q: %s%s", text, res.stdout, res.stderr)
			}
		}
	}
	says(on(alice, "dataset", "add", "evs", "--tree", "ev", "m0.root", "m1.root", "m2.root"), 0, "alice/evs: 3 files",
		"3,277 entries", "on 2 members")
	says(on(alice, "dataset", "add", "evs", "--tree", "ev", "m0.root"), 1, "a dataset of that name", "--replace")
	says(on(bob, "dataset", "rm", "alice/evs"), 1, "registered on another member")
	says(on(alice, "dataset", "add", "one", "--tree", "ev", "m1.root"), 0, "alice/one: 1 file")
	if err := alice.stop(); err != nil {
		t.Fatal(err)
	}
	says(on(bob, "dataset", "ls"), 0, "alice/evs")
	says(on(bob, "dataset", "verify", "evs"), 0, "3 of 3 files are as they were")

	u := jsonUser{schemas: loadSchemas(t, bob.bin), t: t, dir: dir}
	u.run(bob, 0, "dataset-ls", "dataset", "ls")
	u.run(bob, 0, "dataset-show", "dataset", "show", "evs")
	u.run(bob, 0, "dataset-verify", "dataset", "verify", "evs")
	u.run(bob, 0, "dataset-add", "dataset", "add", "own", "--tree", "ev", "m0.root")
	u.run(bob, 0, "dataset-rm", "dataset", "rm", "own")

	j := besideJob(t, dir, "")
	want := j
	j.Files, j.args = nil, []string{"--dataset", "/default/alice/evs#ev<<" + filepath.Join(dir, "lists.root") + ":el"}
	want.EntryList = filepath.Join(dir, "lists.root") + ":el"
	o := bob.run(t, j)
	o.wantDone(t)
	o.equals(t, want)
	j.args = []string{"--dataset", "evs", "--dataset", "alice/evs"}
	bob.run(t, j).wantError(t, "named twice")

	if err := os.Remove(filepath.Join(dir, "m0.root")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "stored.root"), filepath.Join(dir, "m1.root")); err != nil {
		t.Fatal(err)
	}
	roottest.Truncate(t, filepath.Join(dir, "m2.root"), 0.5)
	says(on(bob, "dataset", "verify", "evs"), 3, "0 of 3 files", "missing: "+filepath.Join(dir, "m0.root"),
		"changed: "+filepath.Join(dir, "m1.root")+": it has 1000 entries, and had 777",
		"corrupted: "+filepath.Join(dir, "m2.root"))

	// A job says itself that its dataset is no more what it was, and whose it is where its name does not.
	says(on(bob, "draw", "--dataset", "one", "Entry$>>h", "-o", "h.root"), 0,
		"the dataset one is alice/one: this node has registered none of that name",
		"1 of 1 files of the dataset alice/one are not what was registered, and were read as they are now: "+
			filepath.Join(dir, "m1.root")+" has 1000 entries, and had 777; `dtpnode dataset verify alice/one`")
}
