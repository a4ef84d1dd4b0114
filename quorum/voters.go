package quorum

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/tasks"
)

// voters is who may vote as of the last applied entry, and who might have. list has exactly the voters that conf names,
// by ID. One that is there no more is in former, and peers has the peers of both. What senders say of themselves is in
// unlisted alone, and counts for nothing but the address of an answer.
type voters struct {
	conf     raftpb.ConfState        // raft's; with outgoing voters while a change is under way: both sets count then
	list     []Voter                 // the voters, of both sets
	former   []Voter                 // in the order in which they left; at most maxPast
	peers    map[uint64]tasks.PeerID // peer of every voter that the log names, by ID
	unlisted map[uint64]tasks.PeerID // peer of senders that the log does not name yet; at most maxUnlisted
	proposed bool                    // a change that this leader proposed is not applied
	marks    int                     // marks (see mark) that this leader proposed and that are not applied
	removed  bool                    // this replica's owner was told that its voter was removed
}

func newVoters() voters {
	return voters{peers: map[uint64]tasks.PeerID{}, unlisted: map[uint64]tasks.PeerID{}}
}

// replace takes over raft's configuration. It returns who has become a voter, and which former ones are remembered no
// more; changed is false if the voters are those of before.
func (v *voters) replace(conf *raftpb.ConfState) (joined, forgotten []Voter, changed bool) {
	v.conf = raftpb.ConfState{Voters: conf.Voters, VotersOutgoing: conf.VotersOutgoing}
	ids := slices.Concat(conf.Voters, conf.VotersOutgoing)
	list := slices.CompactFunc(v.named(ids), func(a, b Voter) bool { return a.ID == b.ID })
	if slices.Equal(list, v.list) {
		return nil, nil, false
	}
	for _, m := range list {
		if !v.has(m.ID) {
			joined = append(joined, m)
		}
	}
	for _, m := range v.list {
		if !slices.Contains(list, m) {
			forgotten = append(forgotten, v.noteFormer(m)...)
		}
	}
	v.list = list
	return joined, forgotten, true
}

// noteFormer adds a voter to the former ones, and returns those that are forgotten for it.
func (v *voters) noteFormer(m Voter) (forgotten []Voter) {
	v.former = append(slices.DeleteFunc(v.former, func(o Voter) bool { return o.ID == m.ID }), m)
	if n := len(v.former) - maxPast; n > 0 {
		forgotten, v.former = slices.Clone(v.former[:n]), slices.Clone(v.former[n:])
	}
	for _, o := range forgotten {
		delete(v.peers, o.ID)
	}
	return forgotten
}

// learn notes the peer of a voter.
func (v *voters) learn(m Voter) {
	v.peers[m.ID] = m.Peer
	delete(v.unlisted, m.ID)
}

// peer is the peer of a voter according to the log, or else to the voter's own messages; empty if unknown.
func (v *voters) peer(id uint64) tasks.PeerID {
	if p, ok := v.peers[id]; ok {
		return p
	}
	return v.unlisted[id]
}

// named returns the voters of some IDs, in the order of these.
func (v *voters) named(ids []uint64) (ms []Voter) {
	for _, id := range slices.Sorted(slices.Values(ids)) {
		ms = append(ms, Voter{ID: id, Peer: v.peers[id]})
	}
	return ms
}

// has reports whether id is a voter now.
func (v *voters) has(id uint64) bool {
	return slices.ContainsFunc(v.list, func(m Voter) bool { return m.ID == id })
}

// ever reports whether id is or was a voter, as far as former ones are remembered.
func (v *voters) ever(id uint64) bool {
	_, known := v.peers[id]
	return known
}

// left reports whether id was a voter and is not one now.
func (v *voters) left(id uint64) bool { return v.ever(id) && !v.has(id) }

// joint reports whether a change of the voters is applied, and its completion is not: raft's joint configuration.
func (v *voters) joint() bool { return len(v.conf.VotersOutgoing) > 0 }

// next are the new voters while a change is under way, nil otherwise.
func (v *voters) next() []Voter {
	if !v.joint() {
		return nil
	}
	return v.named(v.conf.Voters)
}

// sets are the sets of voters that must each reach a majority.
func (v *voters) sets() [][]Voter {
	sets := [][]Voter{v.named(v.conf.Voters)}
	if v.joint() {
		sets = append(sets, v.named(v.conf.VotersOutgoing))
	}
	return sets
}

// changing reports whether a change of the voters is under way, or a majority may not know yet that it is complete.
func (v *voters) changing() bool { return v.joint() || v.marks > 0 }
