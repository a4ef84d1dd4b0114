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

// claim is the word of a member that it leads a job of which there is no description here yet.
type claim struct {
	from   tasks.PeerID
	term   uint64
	proof  *quorum.Mandate // nil if there was no room for it: then it is asked for
	every  time.Duration
	enlist *Enlist // nil if it asks for no copy of the ledger
	weight int     // bytes
}

const (
	maxClaims     = 8         // remembered of one job
	maxUnknown    = 64        // jobs without a description that one member may claim to lead here
	maxClaimBytes = 256 << 10 // of proofs in the claims of one member; beyond that they are asked for when they are needed

	// unledFor is how long a job is kept of which the description is here, and nobody has proven that he leads it: whoever
	// does announces it every few seconds.
	unledFor = 20 * time.Second

	// reservedJobs are places for jobs of members that have few here, fewJobs at most: one that announces as many as it
	// can, with or without a description, leaves them to the others.
	reservedJobs = maxJobs / 4
	fewJobs      = reservedJobs / 4
)

// admits reports whether a job that a member announces, or submits and has announced, finds a place here.
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

// claimed takes the word of a member that it leads a job of which there is no description here, and asks it for that.
// So it does with all who say so, each for itself: one that never answers holds nobody up. What is not taken is said
// again.
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
		return // it has said so, and is being asked
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

// mayClaim is how many such jobs a member may have: one that has let questions for descriptions go unanswered is asked
// few at once, until it answers one.
func (p *Peer) mayClaim(from tasks.PeerID) int { return max(maxUnknown>>min(p.unanswered(from), 8), 1) }

// unanswered counts the questions for descriptions, the last ones, that a member did not answer in time.
func (p *Peer) unanswered(from tasks.PeerID) int {
	if d := p.charges.of[from]; d != nil {
		return d.unanswered
	}
	return 0
}

// makePlace reports whether there is a place for one more claim on a job. Who has not answered gives way to who has.
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

// consistent reports whether a claim is proven, provided that the member which founded the ledger by its mandate is the
// job's submitter. Only the description can show that; but a claim without valid signatures is not worth asking for it.
func (p *Peer) consistent(id tasks.JobID, c claim) bool {
	if c.founder() != "" &&
		(mutant.On(mutant.NoMandate) || quorum.CheckMandate(p.trust(id, c.founder()), *c.proof) == nil) {
		return true
	}
	p.unproven(c.from, id, c.proof.Chain)
	return false
}

// founder is whose job it is, as a claim says.
func (c *claim) founder() tasks.PeerID {
	if f := c.proof.Chain.Founders; len(f) == 1 {
		return f[0].Peer
	}
	return ""
}

// lighten drops the proof of a claim if those kept of one member's claims take too much memory. It is asked for again
// when the description is here, and so is a copy of the ledger by its home.
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

// weigh looks at the claims on a job whose description is here now, those of the latest term first.
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
