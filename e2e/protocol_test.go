package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// bumped builds the binary whose daemons run fakeexec with another protocol number.
func bumped(t testing.TB, number int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("dtpnode-protocol-%d", number))
	stamp := fmt.Sprintf("-X github.com/dtpnode/dtpnode/p2p.protocolStamp=%d", number)
	if out, err := exec.Command("go", "build", "-tags", "fakeexec", "-ldflags", stamp, "-o", path,
		"../cmd/dtpnode").CombinedOutput(); err != nil {
		t.Fatalf("could not build with protocol number %d: %v\n%s", number, err, out)
	}
	return path
}

// TestProtocolNumbers has a daemon with the next protocol number join, and work; one that is two numbers ahead is
// told at join which host must be upgraded, and a member that comes back so is shown with that reason.
func TestProtocolNumbers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(name, binary string) *node {
		t.Helper()
		n, err := launchNode(dir, nodeSpec{name: name, binary: binary})
		check(t, err)
		check(t, poll(settleLimit, func() (bool, error) { _, err := n.status(); return err == nil, nil }))
		return n
	}
	end := func(n *node) { check(t, n.stop()) }
	far := bumped(t, 6)
	old := start("old", fakeBinary(t))
	defer end(old)
	next := start("next", bumped(t, 5))
	if r := next.join(t, old.invite(t)); r.code != 0 {
		t.Fatalf("the next number could not join: %+v", r)
	}
	check(t, poll(settleLimit, func() (bool, error) { st, err := old.status(); return st.Up == 2, err }))
	old.says(t, []string{"members"}, "protocol 4: old", "protocol 5: next",
		"members work together that speak a common protocol")
	next.says(t, []string{"version"}, "protocols 4 to 5")
	j := paceOf(2, 2*time.Second)
	c := &cluster{nodes: []*node{old, next}}
	on, st := c.waitFinal(t, old.submit(t, j.request(t)).ID, settleLimit)
	j.wantCounted(t, on, st)
	for _, w := range st.Nodes {
		if w.Units == 0 {
			t.Errorf("%s has not worked: %+v", w.Name, st.Nodes)
		}
	}
	ahead := start("ahead", far)
	ahead.join(t, old.invite(t)).wantRefused(t, "upgrade dtpnode on old,", "protocol 4", "protocol 6")
	end(ahead)

	end(next)
	next = start("next", far)
	defer end(next)
	for _, n := range []*node{old, next} {
		check(t, poll(settleLimit, func() (bool, error) {
			ms, err := n.client.Members(t.Context())
			return anyMember(ms, func(m api.Member) bool {
				return strings.Contains(m.Note, "upgrade dtpnode on") && strings.Contains(m.Note, "old")
			}), err
		}))
	}
}

func anyMember(ms []api.Member, ok func(api.Member) bool) bool {
	for _, m := range ms {
		if ok(m) {
			return true
		}
	}
	return false
}
