package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestWhomARevokedMemberAdmitted stays, and is named; or is put out with it, and so is whom that one has admitted.
func TestWhomARevokedMemberAdmitted(t *testing.T) {
	for _, with := range []bool{false, true} {
		founder := openWithout(t, "founder")
		defer founder.Close()
		inviter := admit(t, founder, "inviter", p2p.Inviter, p2p.Worker)
		defer inviter.Close()
		friend := admit(t, inviter, "friend", p2p.Inviter, p2p.Worker)
		defer friend.Close()
		far := admit(t, friend, "far", p2p.Worker)
		defer far.Close()
		other := admit(t, founder, "other", p2p.Worker)
		defer other.Close()
		until(t, "the founder knows of all", func() bool { return len(founder.net.Members()) == 5 })
		req := api.RevokeRequest{ID: inviter.net.ID(), WithInvited: with}
		answer, err := founder.putOut(t.Context(), req, founder.net.Revoke)
		if err != nil {
			t.Fatal(err)
		}
		told := map[tasks.PeerID]bool{}
		for _, m := range answer.Invited {
			told[m.ID] = m.Revoked
			if m.Error != "" || m.Name == "" {
				t.Errorf("told is %+v", m)
			}
		}
		for _, d := range []*Daemon{friend, far} {
			if revoked, named := told[d.net.ID()]; !named || revoked != with {
				t.Errorf("with those %v: %s is named %v, revoked %v", with, d.cfg.Name, named, revoked)
			}
		}
		left := 4
		if with {
			left = 2
		}
		if n := len(founder.net.Members()); n != left || len(told) != 2 {
			t.Errorf("with those %v: %d members are left, %d are named", with, n, len(told))
		}
	}
}
