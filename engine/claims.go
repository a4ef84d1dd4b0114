package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// maxJobs bounds the jobs that a peer takes part in at once.
const maxJobs = 1024

// claim is the word of a member that it leads a job whose description is not here yet.
type claim struct {
	from   tasks.PeerID
	term   uint64          // in which it says that it leads
	proof  *quorum.Mandate // nil if there was no room for it; it is asked for again when the description is here
	every  time.Duration   // the time between reports that it wants
	enlist *Enlist         // nil if it does not ask this node to become a replica
	weight int             // bytes of memory of proof and enlist
}

const (
	maxClaims     = 8         // claims that are remembered of one job
	maxUnknown    = 64        // jobs without a description that one member may claim to lead
	maxClaimBytes = 256 << 10 // bytes of proofs that are kept of one member's claims

	// unledFor is how long a job is kept whose description is here if no member has proven to lead it. Whoever leads a job
	// announces it every few seconds.
	unledFor = 20 * time.Second

	// reservedJobs are places that only members with fewer than fewJobs jobs here may take, so that a member which
	// announces as many jobs as it can leaves places to the others.
	reservedJobs = maxJobs / 4
	fewJobs      = reservedJobs / 4
)

// admits reports whether there is a place here for one more job that a member leads, announces or has submitted.
func (p *Peer) admits(who tasks.PeerID) bool {
	switch n := len(p.jobs); {
	case n < maxJobs-reservedJobs:
		return true
	case n >= maxJobs:
		return false
	}
	n := 0
	for _, j := range p.jobs {
		if j.desc != nil && j.desc.Submitter == who || len(j.prep.claims) > 0 && j.prep.claims[0].from == who ||
			j.home == who {
			n++
		}
	}
	return n < fewJobs
}

// claimed takes a claim, and asks the member that makes it for the job's description. It asks all members that claim to
// lead the job, so that one which never answers delays nothing. A claim that finds no place is lost, and made again.
func (p *Peer) claimed(id tasks.JobID, c claim) {
	j := p.job(id)
	if j == nil && !p.admits(c.from) {
		return
	}
	c.term = c.proof.Term
	at := -1
	if j != nil {
		at = j.claimOf(c.from)
	}
	if at >= 0 && c.enlist == nil && j.prep.claims[at].proof != nil && same(j.prep.claims[at].proof, c.proof) {
		return // this claim is known already, and its maker was asked
	}
	if at < 0 && (p.unknown(c.from) >= p.mayClaim(c.from) || j != nil && !p.makePlace(j, c.from)) || !p.consistent(id, c) {
		return
	}
	if j == nil {
		j = p.addJob(id, "")
	}
	submitter := c.founder()
	if p.lighten(&c); at >= 0 {
		j.prep.claims[at] = c
		return
	}
	j.prep.claims = append(j.prep.claims, c)
	p.emit(Describe{ID: id, From: c.from, Submitter: submitter})
}

// claimOf is the index of a member's claim; -1 for none.
func (j *jobState) claimOf(from tasks.PeerID) int {
	return slices.IndexFunc(j.prep.claims, func(c claim) bool { return c.from == from })
}

// unknown counts the jobs without a description that a member claims to lead.
func (p *Peer) unknown(from tasks.PeerID) (n int) {
	for _, j := range p.jobs {
		if j.desc == nil && j.claimOf(from) >= 0 {
			n++
		}
	}
	return n
}

// mayClaim is how many jobs without a description a member may claim to lead. It is fewer for a member that has not
// answered when it was asked for descriptions, until it answers.
func (p *Peer) mayClaim(from tasks.PeerID) int { return max(maxUnknown>>min(p.unanswered(from), 8), 1) }

// unanswered is how often in a row a member did not answer in time when asked for a description.
func (p *Peer) unanswered(from tasks.PeerID) int {
	if d := p.charges.of[from]; d != nil {
		return d.unanswered
	}
	return 0
}

// makePlace reports whether there is a place for one more claim on a job, which the claim of a member that has answered
// worse may have to leave.
func (p *Peer) makePlace(j *jobState, from tasks.PeerID) bool {
	if len(j.prep.claims) < maxClaims {
		return true
	}
	at := slices.IndexFunc(j.prep.claims, func(c claim) bool { return p.unanswered(c.from) > p.unanswered(from) })
	if at >= 0 {
		j.prep.claims = slices.Delete(j.prep.claims, at, at+1)
	}
	return at >= 0
}

// consistent reports whether a claim's proof is valid if the member that it names as the ledger's founder is the job's
// submitter. Whether it is only the description can show, but it is not worth asking for one whose claim fails even
// this.
func (p *Peer) consistent(id tasks.JobID, c claim) bool {
	if c.founder() != "" &&
		(mutant.On(mutant.NoMandate) || quorum.CheckMandate(p.trust(id, c.founder()), *c.proof) == nil) {
		return true
	}
	p.unproven(c.from, id, c.proof.Chain)
	return false
}

// founder is the member that has founded the ledger, and so submitted the job, by what a claim says; empty if it is
// wrong.
func (c *claim) founder() tasks.PeerID {
	if f := c.proof.Chain.Founders; len(f) == 1 {
		return f[0].Peer
	}
	return ""
}

// lighten drops the proof of a claim, and what it asks for, if the claims of its maker take too much memory. This peer
// asks for the proof again when the description is here; the home asks again for a copy of the ledger by itself.
func (p *Peer) lighten(c *claim) {
	c.weight = c.proof.Weight()
	if c.enlist != nil {
		c.weight += quorum.WeightOf(c.enlist.Voters)
	}
	sum := c.weight
	for _, j := range p.jobs {
		if at := j.claimOf(c.from); at >= 0 {
			sum += j.prep.claims[at].weight
		}
	}
	if sum > maxClaimBytes {
		c.proof, c.enlist, c.weight = nil, nil, 0
	}
}

// weigh judges the claims on a job now that its description is here, those of the latest term first.
func (p *Peer) weigh(j *jobState) {
	claims := j.prep.claims
	j.prep.claims = nil
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(b.term, a.term) })
	for _, c := range claims {
		if p.owes(c.from) {
			continue // it is announced again
		}
		if c.proof == nil {
			p.send(c.from, Message{Job: j.id, Moved: &Moved{}})
			continue
		}
		before := p.charges.checks.n
		p.opened(c.from, j, c.term, c.proof, c.every)
		if c.enlist != nil {
			p.enlistHere(c.from, j, c.term, c.enlist)
		}
		p.chargeChecks(c.from, before)
	}
}
