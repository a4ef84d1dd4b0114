package steal

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/dtpnode/dtpnode/tasks"
)

// The work of a job that has just begun is dealt by its submitter, which is its first home. If there are many nodes,
// they form a tree: the submitter sends one node the shares of several, and that node passes on those of the others. A
// node further down is then dealt work by a giver that is not the job's home. On the giver's word it would pass shares
// on, and have the giver merge its partials, so the giver has to prove its place in the tree. For that the submitter
// signs the tree, as a hash over the hashes of its branches, and each node that passes shares on adds the hashes of the
// branches to which it passes them.

// DealProof proves that a job's submitter has put the giver of dealt work, and its receiver, into the tree.
type DealProof struct {
	// Levels are the nodes that have passed the work on, from the one to which the submitter dealt it down to the giver.
	// There are none if the giver is the submitter.
	Levels []DealLevel `msgpack:"l"`
	Sig    []byte      `msgpack:"s"` // the submitter's signature of DealText
}

// DealLevel is one node of the tree that passes work on.
type DealLevel struct {
	_msgpack struct{} `msgpack:",as_array"`

	By   tasks.PeerID
	Sums [][]byte // hashes of the branches to which it passes work on
}

// maxLevels bounds how often work is passed on. It is enough for maxOthers nodes.
const maxLevels = 8

// DealText is the text that a job's submitter signs to have work dealt to the node to, which passes on that of others.
func DealText(job tasks.JobID, to tasks.PeerID, others []Share) []byte {
	return dealText(job, branch(to, others))
}

func dealText(job tasks.JobID, sum []byte) []byte {
	return append([]byte("dtpnode deal of "+string(job)+" "), sum...)
}

// branch is the hash of a node together with all nodes below it.
func branch(node tasks.PeerID, others []Share) []byte { return join(node, branches(others)) }

// branches are the hashes of the branches to which a node passes work on that is for others.
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

// below is the proof that a node which was dealt work with the proof p shows to those to which it passes work on. It is
// nil if p is, or if there are no others.
func (p *DealProof) below(self tasks.PeerID, others []Share) *DealProof {
	if p == nil || len(others) == 0 {
		return nil
	}
	return &DealProof{Levels: append(slices.Clone(p.Levels), DealLevel{By: self, Sums: branches(others)}), Sig: p.Sig}
}

// Signed is the text under the signature if the proof is right: the node from deals work of a job to the node to, which
// passes on that of others. The caller verifies the signature. Signed returns nil if the proof cannot show that.
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

// passOn passes on the shares of others in dealt work, and returns what is left for this node. The others need not be
// connected to this node, since the giver knows that they are there.
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
