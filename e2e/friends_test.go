package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestFriendOtherFile gives one host other files of a friend, with as many entries: it reads nothing beside them, and
// the friend's file is named. Then one of the planned files is replaced, too, in mid-job: what would stand beside it is
// missing in the result, and a retry runs it beside the new one. An index that no tree has ends a job before it.
func TestFriendOtherFile(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	beside, friends := mountable(t)
	there := t.TempDir()
	for i := range friends {
		to := filepath.Join(there, fmt.Sprintf("run%d", i), "events.root")
		check(t, os.MkdirAll(filepath.Dir(to), 0o755))
		roottest.Find(t).MakeEvents(t, roottest.EventFile{Path: to, Index: i, Entries: 20_000}) // the same, written anew
	}
	anew := filepath.Join(t.TempDir(), "anew.root")
	roottest.Find(t).MakeEvents(t, roottest.EventFile{Path: anew, Index: 3, Entries: 20_000})
	wrap, inside := smallDisk(t, beside, "64k")
	// in place of the small disk
	wrap = append(wrap[:len(wrap)-2], `mount --bind "$0" "$1" && shift && exec "$@"`, there, beside)
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b", wrap: wrap, inside: inside})
	a := c.nodes[0]
	j := paced(t, 300)
	j.Friends = []string{"fr:Events=" + strings.Join(friends, ",")}

	bad := j
	bad.Friends = []string{"fr:Events[nope]=" + friends[0]}
	o := a.run(t, bad)
	o.wantError(t, `the friend fr cannot be looked up by "nope"`)
	if o.st.Committed != 0 {
		t.Errorf("entries were run: %s", o.describe())
	}

	r := a.begin(t, j)
	st := r.until(t, "b was named, and a works", func(st api.JobStatus) bool {
		o := outcome{st: st}
		return len(o.work(t, "b").Unseen) > 0 && o.work(t, "a").Units > 0
	})
	if u := (outcome{st: st}).work(t, "b").Unseen[0]; u.Cause != "differs" || !strings.Contains(u.Reason,
		"the friend fr in "+friends[0]+" has the UUID ") {
		t.Errorf("what b has is told as %+v", u)
	}
	check(t, os.Rename(anew, friends[3]))
	o = r.end(t)
	if o.code != 3 || o.st.State != api.Partial || len(o.st.Missing) == 0 || o.work(t, "b").Units > 0 {
		t.Fatalf("want a partial result without what b has: %s", o.describe())
	}
	for _, m := range o.st.Missing {
		if m.Kind != "open" || !strings.Contains(m.Reason, "the friend fr in "+friends[3]+" has the UUID ") {
			t.Errorf("missing for another reason: %+v", m)
		}
	}
	if s := a.dtpnode(t, t.TempDir(), "status", o.st.ID[:12]); !strings.Contains(s.stdout,
		"next: hosts have different versions of the friend's file, "+beside) {
		t.Errorf("status does not say which file differs: %+v", s)
	}
	o = a.retry(t, o.out, o.st.ID[:12])
	o.wantWhole(t)
	if len(o.st.Codes) > 0 || !slices.ContainsFunc(o.st.Notes, func(n string) bool {
		return strings.Contains(n, "written anew since the job was submitted, "+friends[3])
	}) {
		t.Errorf("the retry does not say what is new: %s", o.describe())
	}
	if o.work(t, "b").Units > 0 {
		t.Errorf("b has other files still: %s", o.describe())
	}
}
