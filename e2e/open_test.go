package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestOpenFromNothing has an open job begin without files, as its command does, and then grow by more files at once
// than fit into one append: several are made, and each file counts once when all are appended again by their number.
func TestOpenFromNothing(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 1)...)
	n, dir := c.nodes[0], t.TempDir()
	job := fakeJob{Spec: fakeexec.Spec{Entry: "1us", Bins: 97}, files: 2500, clusters: 1, entries: 4}
	r := n.dtpnode(t, dir, "run", job.request(t).Title, "--tree", "T", "--open", "--detach")
	if r.code != 0 {
		t.Fatalf("could not submit an open job without files: %+v", r)
	}
	id := strings.TrimSpace(r.stdout)
	var list strings.Builder
	for i := range job.files {
		fmt.Fprintf(&list, "fake://a%d?entries=%d&clusters=%d\n", i, job.entries, job.clusters)
	}
	check(t, os.WriteFile(filepath.Join(dir, "list.txt"), []byte(list.String()), 0o600))
	for range 2 {
		r := n.dtpnode(t, dir, "append", id, "--seq", "1", "@list.txt", "--output", "json")
		var out api.Appended
		if err := json.Unmarshal([]byte(r.stdout), &out); r.code != 0 || err != nil {
			t.Fatalf("could not append: %+v: %v", r, err)
		}
		if out.Units != job.units() || out.Appends < 2 || out.Seq != out.Appends {
			t.Errorf("after the append: %+v, want %d units of several appends", out, job.units())
		}
	}
	if r := n.dtpnode(t, dir, "close", id); r.code != 0 {
		t.Fatalf("could not close: %+v", r)
	}
	on, st := c.waitFinal(t, id, commandLimit)
	job.wantCounted(t, on, st)
}

// TestSecondRootIsTold: a folder that was named beside another, and has no ROOT, is told of where a user looks.
func TestSecondRootIsTold(t *testing.T) {
	t.Parallel()
	roots := []string{"--root", suite.root, "--root", "/nowhere"}
	n, err := launchNode(t.TempDir(), nodeSpec{name: "flawed", args: roots})
	check(t, err)
	t.Cleanup(func() { check(t, n.stop()) })
	check(t, poll(settleLimit, func() (bool, error) { _, err := n.status(); return err == nil, nil }))
	r := n.dtpnode(t, t.TempDir(), "status")
	if !strings.Contains(r.stdout, "/nowhere") ||
		!strings.Contains(r.stdout, "not all runtimes that were named are used") {
		t.Errorf("status tells %s", r.stdout)
	}
	if st, err := n.status(); err != nil || st.Runtimes[0].Kind != "ROOT" ||
		len(st.Runtimes) > 1 && st.Runtimes[1].Kind == "ROOT" {
		t.Errorf("it has the runtimes %+v: %v", st.Runtimes, err)
	}
}
