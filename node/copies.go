package node

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// All members are asked for their copies of a ledger, and any of them may lie: that it has the newest copy, that it
// leads the job, or that most replicas are alive. A report counts only if its sender proves that it is one of the
// ledger's voters, which are those of the newest set that anybody proves. A sender that claims to lead must show its
// mandate. Reports that do not count are shown after the others, and a job is recovered from such a copy only if the
// user names it. A proven voter can still lie about what its copy has beyond the other copies.

// survey is what the members' reports of their copies of one job's ledger show.
type survey struct {
	copies []copyReport // first the one to go on from, then the others, the newest first and the unproven last
	voters []quorum.Voter
	chosen bool // the user has named the copy to go on from
}

// checker checks what a member proves.
type checker func(by tasks.PeerID, check func(quorum.Trust) error) error

// checkerOf returns the checker of proofs about one job. Each proof counts against its sender's share of checks, since
// chains of voters can be made up without end.
func (d *Daemon) checkerOf(id tasks.JobID, submitter tasks.PeerID) checker {
	return func(by tasks.PeerID, check func(quorum.Trust) error) error {
		return d.jobs.CheckFor(by, id, submitter, check)
	}
}

// surveyed checks what the reports about one job prove. A report whose sender has used up its share of checks does not
// count, but the sender is not accused for that.
func surveyed(checked checker, copies []copyReport, accuse func(c copyReport, why string)) (s survey) {
	var newest quorum.Conf
	holds := make([]bool, len(copies))
	for i, c := range copies {
		err := checked(c.on, func(t quorum.Trust) error { return quorum.CheckChain(t, c.Copy.Chain) })
		if holds[i] = err == nil && c.Copy.Voter.Peer == c.on; !holds[i] {
			// The signer of a recovery may have lost the right to sign one since.
			if !errors.Is(err, engine.ErrTooMuch) && !slices.ContainsFunc(c.Copy.Chain.Links, func(l quorum.Link) bool {
				return l.RecoveryConf() == nil
			}) {
				accuse(c, fmt.Sprintf("says that it has a copy of the ledger, and does not prove who keeps it: %v", err))
			}
			continue
		}
		if conf := c.Copy.Chain.Conf(); newest.Voters == nil || conf.Seq > newest.Seq {
			newest = conf
		}
	}
	s.voters = newest.Voters
	seats := slices.Clone(newest.Voters)
	for i, c := range copies { // during a change of the voters a copy names the new ones, too
		if holds[i] && slices.Contains(newest.Voters, c.Copy.Voter) {
			seats = append(seats, slices.Concat(c.Copy.Seats...)...)
		}
	}
	for i, c := range copies {
		c.proven = holds[i] && slices.Contains(seats, c.Copy.Voter) && quorum.Epoch(c.Copy.Term) == quorum.Epoch(newest.Term)
		if c.Leads && c.proven {
			m := c.Copy.Mandate
			c.Leads = m != nil && m.LeaderPeer() == c.on && newest.Admits(*m) && checked(c.on, func(t quorum.Trust) error {
				return quorum.CheckMandate(t, *m)
			}) == nil
		}
		c.Leads, c.Copy.Majority = c.Leads && c.proven, c.Copy.Majority && c.proven
		s.copies = append(s.copies, c)
	}
	slices.SortStableFunc(s.copies, func(a, b copyReport) int {
		return cmp.Or(cmp.Compare(trusted(b), trusted(a)), cmp.Compare(b.Copy.Term, a.Copy.Term),
			cmp.Compare(b.Copy.Index, a.Copy.Index), cmp.Compare(a.Lacking, b.Lacking), cmp.Compare(a.on, b.on))
	})
	return s
}

func trusted(c copyReport) int {
	if c.proven {
		return 1
	}
	return 0
}

// choose puts the copy first that the user wants to go on from; called is the name of the member that has it.
func (s *survey) choose(from string, called func(tasks.PeerID) string) error {
	if from == "" {
		return nil
	}
	var found []int
	for i, c := range s.copies {
		if c.on == from || called(c.on) == from || len(from) >= 8 && strings.HasSuffix(c.on, from) {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		return &api.Error{
			Status:  http.StatusNotFound,
			Message: fmt.Sprintf("%d members that are called %q have a copy of the job's ledger", len(found), from),
			Hint:    "dtpnode recover without --from lists them",
		}
	}
	c := s.copies[found[0]]
	s.copies, s.chosen = slices.Insert(slices.Delete(s.copies, found[0], found[0]+1), 0, c), true
	return nil
}

// terms are the terms of the copies that count, and of the one that the user has chosen.
func (s *survey) terms() (out []uint64) {
	for i, c := range s.copies {
		if c.proven || i == 0 && s.chosen {
			out = append(out, c.Copy.Term)
		}
	}
	for _, c := range s.copies { // the terms of proven recoveries count, too
		if c.proven {
			out = append(out, c.Copy.Chain.Conf().Term)
		}
	}
	return out
}

// alive are the voters whose copies were reported, and whether they are a majority of each set of voters.
func (s *survey) alive() (peers []tasks.PeerID, majority bool) {
	sets := [][]quorum.Voter{s.voters}
	for _, set := range s.copies[0].Copy.Seats {
		if s.copies[0].proven && !slices.Equal(set, s.voters) {
			sets = append(sets, set)
		}
	}
	majority = len(s.voters) > 0
	for _, set := range sets {
		n := 0
		for _, m := range set {
			if slices.ContainsFunc(s.copies, func(c copyReport) bool { return c.proven && c.Copy.Voter == m }) {
				n++
				peers = append(peers, m.Peer)
			}
		}
		majority = majority && 2*n > len(set)
	}
	return peers, majority
}

// ofOneJob keeps the reports of the job that is meant. If several jobs have the name it is the one that this node
// knows.
func (d *Daemon) ofOneJob(name string, copies []copyReport) ([]copyReport, error) {
	id := copies[0].ID
	for _, c := range copies {
		if c.on == d.net.ID() {
			id = c.ID
		}
	}
	if known := d.jobs.Book().Find(name); len(known) == 1 {
		id = known[0].ID()
	}
	kept := slices.DeleteFunc(slices.Clone(copies), func(c copyReport) bool { return c.ID != id })
	own := slices.ContainsFunc(kept, func(c copyReport) bool { return c.on == d.net.ID() })
	if len(kept) < len(copies) && !own && len(d.jobs.Book().Find(name)) != 1 {
		return nil, ambiguous(name, 2)
	}
	if len(kept) == 0 {
		return nil, jobs.NoJob(name)
	}
	submitter := kept[0].Submitter
	for _, c := range kept {
		if c.on == d.net.ID() {
			submitter = c.Submitter
		}
	}
	return slices.DeleteFunc(kept, func(c copyReport) bool { return c.Submitter != submitter }), nil
}
