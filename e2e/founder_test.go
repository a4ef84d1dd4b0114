package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestFounderRole makes a recovery key, hands the founder's role over and takes it back, and lets a member leave
// for good, all by the commands.
func TestFounderRole(t *testing.T) {
	t.Parallel()
	first, second, third := bare(t, "first"), bare(t, "second"), bare(t, "third")
	for _, n := range []*node{second, third} {
		if r := n.join(t, first.invite(t)); r.code != 0 {
			t.Fatalf("could not join: %+v", r)
		}
	}
	file := filepath.Join(t.TempDir(), "key")
	for _, k := range []struct {
		on   *node
		args []string
		says string // if it is refused
	}{
		{second, []string{"recovery-key"}, "founder's role"},
		{first, []string{"recovery-key", "--file", file}, ""},
		{first, []string{"recovery-key"}, "recovery key already"},
		{first, []string{"down", "--leave"}, "dtpnode handover"},
		{third, []string{"handover", "second"}, "founder's role"},
		{first, []string{"handover", "second"}, ""},
	} {
		r := k.on.dtpnode(t, t.TempDir(), k.args...)
		if k.says != "" {
			r.wantRefused(t, k.says)
		} else if r.code != 0 {
			t.Fatalf("%v: %+v", k.args, r)
		}
	}
	founder := func(n *node, name string, members int) {
		t.Helper()
		check(t, poll(settleLimit, func() (bool, error) {
			ms, err := n.client.Members(t.Context())
			return len(ms) == members && anyMember(ms, func(m api.Member) bool { return m.Founder && m.Name == name }), err
		}))
	}
	founder(third, "second", 3)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the recovery key's file: %v, %v", info, err)
	}
	key, err := os.ReadFile(file)
	check(t, err)
	third.dtpnode(t, t.TempDir(), "take-back", "dtpkey1.nonsense").wantRefused(t, "damaged")
	if r := third.dtpnode(t, t.TempDir(), "take-back", strings.TrimSpace(string(key))); r.code != 0 {
		t.Fatalf("could not take the role: %+v", r)
	}
	founder(third, "third", 1)
	fourth := bare(t, "fourth")
	if r := fourth.join(t, third.invite(t)); r.code != 0 {
		t.Fatalf("could not join: %+v", r)
	}
	founder(fourth, "third", 2)
	if r := fourth.dtpnode(t, t.TempDir(), "down", "--leave"); r.code != 0 {
		t.Fatalf("could not leave: %+v", r)
	}
	founder(third, "third", 1)
}
