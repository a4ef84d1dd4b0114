package steal

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/dtpnode/dtpnode/tasks"
)

// The work of a job that has just begun is dealt by its submitter, who is its first home. Where there are many nodes
// the shares of several go to one of them, which passes them on: so a node is dealt work by one that it does not know
// for a home, and on whose word it would pass more on, and have its partials merged by it. That one therefore shows
// that the submitter has put it there. The submitter signs the tree of those to whom work goes, as a hash over the
// hashes of its branches; who passes a branch on adds the hashes of all that it passes on to.

// DealProof shows that a job's submitter has had work dealt to a node by the one that gives it.
type DealProof struct {
	Levels []DealLevel `msgpack:"l"` // from the node that the submitter has dealt to down to the giver; none for that node
	Sig    []byte      `msgpack:"s"` // of the submitter, under DealText
}

// DealLevel is one node that passes work on.
type DealLevel struct {
	_msgpack struct{} `msgpack:",as_array"`

	By   tasks.PeerID
	Sums [][]byte // of the branches to which it passes on
}

// maxLevels is how often work is passed on at most; maxOthers nodes need no more.
const maxLevels = 8

// DealText is what a job's submitter signs to have work dealt to a node, and to others by that one.
func DealText(job tasks.JobID, to tasks.PeerID, others []Share) []byte {
	return dealText(job, branch(to, others))
}

func dealText(job tasks.JobID, sum []byte) []byte {
	return append([]byte("dtpnode deal of "+string(job)+" "), sum...)
}

// branch is the hash of a node with all to whom it passes work on, directly or through others.
func branch(node tasks.PeerID, others []Share) []byte { return join(node, branches(others)) }

// branches are those of the nodes to which one passes on what is for others.
func branches(others []Share) (sums [][]byte) {
	for _, group := range tasks.Fan(others, tasks.DealFan) {
		sums = append(sums, branch(group[0].ID, group[1:]))
	}
	return sums
}

func join(node tasks.PeerID, sums [][]byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(node)))
	b = append(b, node...)
	for _, s := range sums {
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// below is the proof for those to whom a node that has this one passes on what is for others; nil without one.
func (p *DealProof) below(self tasks.PeerID, others []Share) *DealProof {
	if p == nil || len(others) == 0 {
		return nil
	}
	return &DealProof{Levels: append(slices.Clone(p.Levels), DealLevel{By: self, Sums: branches(others)}), Sig: p.Sig}
}

// Signed is what the job's submitter must have signed for from to deal work to a node and, by it, to others. It is nil
// if from shows no such thing, whatever was signed.
func (p *DealProof) Signed(job tasks.JobID, from, to tasks.PeerID, others []Share) []byte {
	if p == nil || len(p.Levels) == 0 || len(p.Levels) > maxLevels || len(others) > maxOthers ||
		p.Levels[len(p.Levels)-1].By != from {
		return nil
	}
	sum := branch(to, others)
	for _, l := range slices.Backward(p.Levels) {
		mine := func(s []byte) bool { return slices.Equal(s, sum) }
		if len(l.Sums) > tasks.DealFan || !slices.ContainsFunc(l.Sums, mine) ||
			slices.ContainsFunc(l.Sums, func(s []byte) bool { return len(s) != sha256.Size }) {
			return nil
		}
		sum = join(l.By, l.Sums)
	}
	return dealText(job, sum)
}

func (s *Scheduler) deal(ev Deal) {
	if j := s.job(ev.Job); j != nil && !j.stopped && s.connected(ev.To) {
		one := ev.Units / int64(1+len(ev.Others))
		if ranges := s.carve(j, min(ev.Units, j.waitingFor(ev.Blind)), one/8, ev.Blind); !ranges.Empty() {
			j.dealt = s.now
			g := Grant{Ranges: ranges, Dealt: true, Others: ev.Others, Above: ev.Above}
			if len(g.Others) > 0 {
				g.Proof = &DealProof{Sig: ev.Sig}
			}
			s.grant(j, ev.To, g)
		}
	}
}

// maxOthers bounds the peers named in one grant.
const maxOthers = 1 << 15

// passOn deals what of dealt work is for others and returns what is for this node. They need not be
// connected: who gave the work knows that they are there.
func (s *Scheduler) passOn(j *job, work tasks.Cover, g Grant) tasks.Cover {
	slots := int64(s.cfg.Slots + slotsOf(g.Others))
	proof := g.Proof.below(s.cfg.Self, g.Others)
	one := work.Len() / max(slots, 1)
	for _, group := range tasks.Fan(g.Others, tasks.DealFan) {
		theirs := int64(slotsOf(group))
		share := tailOf(j.data, work, part(work.Len(), theirs, slots), one/8)
		slots -= theirs
		if share.Empty() || group[0].ID == s.cfg.Self {
			continue
		}
		work = work.Minus(share)
		s.grant(j, group[0].ID, Grant{Ranges: share, Dealt: true, Others: group[1:], Proof: proof})
	}
	return work
}

func slotsOf(all []Share) (n int) {
	for _, o := range all {
		n += min(max(o.Slots, 0), 1<<16)
	}
	return n
}

// part is n*a/b.
func part(n, a, b int64) int64 { return int64(float64(n) * float64(a) / float64(max(b, 1))) }
