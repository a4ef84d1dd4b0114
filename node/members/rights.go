package members

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// Access is what a request needs of who asks.
type Access int

// The kinds of access, each including the ones before.
const (
	ForAll  Access = iota // any member: it is told no more than that the job exists, and what it costs itself
	ForLook               // the job's submitter, and members with the right admin or read
	ForRule               // the job's submitter, and members with the right admin
)

// needs names the rights that give an access to jobs of others.
func (a Access) needs() string {
	switch a {
	case ForAll:
		return "none"
	case ForLook:
		return "read or admin"
	}
	return "admin"
}

// May reports whether a member has access to the jobs of a submitter.
func (c *Cluster) May(who, submitter tasks.PeerID, a Access) bool {
	switch {
	case a == ForAll, who != "" && who == submitter, c.net.HasRight(who, p2p.Admin):
		return true
	case a == ForLook:
		return c.net.HasRight(who, p2p.Read)
	}
	return false
}

// Refusal says whose a job is, and which right is needed.
func (c *Cluster) Refusal(name string, submitter tasks.PeerID, a Access) *api.Error {
	whose := cmp.Or(c.Names()[submitter].Name, submitter, "another member")
	what := "see more of it"
	if a == ForRule {
		what = "stop it"
	}
	return &api.Error{Status: http.StatusForbidden,
		Message: fmt.Sprintf("job %s is %s's: only its submitter, and members with the right %s, may %s", api.Short(name),
			whose, a.needs(), what),
		Hint: "ask " + whose + ", or who invites members for the right: dtpnode invite --rights " + map[bool]string{
			true:  "admin",
			false: "read",
		}[a == ForRule]}
}

// CutFor is the part of a job's status that a member may see: all of it, or only that the job exists, whose it is and
// what it costs that member.
func (c *Cluster) CutFor(who tasks.PeerID, st api.JobStatus) api.JobStatus {
	if c.May(who, st.Submitter, ForLook) {
		return st
	}
	cut := api.JobStatus{ID: api.Short(st.ID), Submitter: st.Submitter, SubmitterName: st.SubmitterName, Home: st.Home,
		HomeName: st.HomeName, State: st.State, Submitted: st.Submitted, Seconds: st.Seconds, Nodes: []api.NodeWork{},
		Private: "the rest is for its submitter, and for members with the right " + ForLook.needs()}
	for _, n := range st.Nodes {
		if n.ID == who {
			n.Problem = ""
			cut.Nodes = append(cut.Nodes, n)
		}
	}
	if who == c.net.ID() {
		cut.Kept = st.Kept
	}
	return cut
}

// Permit returns an error if this node's user does not have an access to a job that this node, or another, has
// described in st.
func (c *Cluster) Permit(st api.JobStatus, a Access) error {
	if c.May(c.net.ID(), st.Submitter, a) && (a == ForAll || st.Private == "") {
		return nil
	}
	return c.Refusal(st.ID, st.Submitter, a)
}

// MayNoMore reports whether a member has lost the right to submit, so that its jobs are to end. It is never true of
// this node itself, whose jobs are for the others to judge.
func (c *Cluster) MayNoMore(submitter tasks.PeerID) bool {
	return submitter != "" && submitter != c.net.ID() && !c.net.HasRight(submitter, p2p.Submitter)
}

// WhyStopped is the reason that users are told for the end of a job whose submitter has lost the right to submit.
func (c *Cluster) WhyStopped(submitter tasks.PeerID) string {
	name := c.NameOf(submitter)
	if slices.ContainsFunc(c.net.Members(), func(m p2p.Member) bool { return m.ID == submitter }) {
		return fmt.Sprintf("stopped: its submitter %s has no right to submit any more", name)
	}
	return fmt.Sprintf("stopped: its submitter %s was revoked", name)
}

// Expelled tells how this node's membership ended; nil while it is a member.
func (c *Cluster) Expelled() *api.Expulsion {
	out, is := c.net.Expelled()
	if !is {
		return nil
	}
	return &api.Expulsion{By: out.By, ByName: out.ByName, Revoked: out.Revoked, Since: out.Since}
}

// StateOf is whether a member is up or, if not, how it went away.
func (c *Cluster) StateOf(m p2p.Member) api.MemberState {
	_, out := c.net.Expelled()
	switch {
	case out:
		return api.MemberNone
	case m.Self:
		return api.MemberSelf
	case m.Up:
		return api.MemberUp
	case m.Incompatible:
		return api.MemberNoLink
	case m.Left:
		return api.MemberLeft
	case m.Seen.IsZero():
		return api.MemberUnseen
	}
	return api.MemberLost
}
