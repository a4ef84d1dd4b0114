package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// added is part of a change of the voters in the log, so that every replica knows the peers of the new voters.
type added struct {
	Voters []Voter `msgpack:"m"`
}

func encodeChange(ch Change) (raftpb.ConfChangeV2, error) {
	cc := raftpb.ConfChangeV2{Transition: raftpb.ConfChangeTransitionJointExplicit}
	for _, m := range ch.Add {
		cc.Changes = append(cc.Changes, raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode, NodeID: m.ID})
	}
	for _, id := range ch.Remove {
		cc.Changes = append(cc.Changes, raftpb.ConfChangeSingle{Type: raftpb.ConfChangeRemoveNode, NodeID: id})
	}
	var err error
	cc.Context, err = wire.Marshal(&added{ch.Add})
	return cc, err
}

// decodeChange decodes a change of the voters. One without changes completes the joint configuration, and carries the
// Link that proves the new voters.
func decodeChange(data []byte) (cc raftpb.ConfChangeV2, in added, err error) {
	if err := cc.Unmarshal(data); err != nil {
		return cc, in, fmt.Errorf("it changes the voters, but could not be read: %w", err)
	}
	if len(cc.Changes) == 0 && cc.Transition == raftpb.ConfChangeTransitionAuto {
		var l Link
		if err := wire.Unmarshal(cc.Context, &l); err != nil {
			return cc, in, fmt.Errorf("it ends a change of the voters, but could not be read: %w", err)
		}
		return cc, in, nil
	}
	if err := wire.Unmarshal(cc.Context, &in); err != nil {
		return cc, in, fmt.Errorf("it changes the voters, but could not be read: %w", err)
	}
	for _, c := range cc.Changes {
		known := slices.ContainsFunc(in.Voters, func(m Voter) bool { return m.ID == c.NodeID && valid(m) })
		if c.Type != raftpb.ConfChangeRemoveNode && (c.Type != raftpb.ConfChangeAddNode || !known) {
			return cc, in, fmt.Errorf("it changes the voters in an unknown way")
		}
	}
	if len(cc.Changes) == 0 || cc.Transition != raftpb.ConfChangeTransitionJointExplicit {
		return cc, in, fmt.Errorf("it changes the voters in an unknown way")
	}
	return cc, in, nil
}

// change proposes other voters, if that is possible now.
func (r *Replica) change(ch Change) {
	if !r.leads() {
		return
	}
	if err := r.checkChange(ch); err != nil {
		r.emit(Refused{Reason: err.Error()})
		return
	}
	cc, err := encodeChange(ch)
	if err == nil {
		err = r.node.ProposeConfChange(cc)
	}
	if err != nil {
		r.emit(Refused{Reason: fmt.Sprintf("could not propose a change of the voters: %v", err)})
		return
	}
	r.changing = true
}

func (r *Replica) checkChange(ch Change) error {
	switch {
	case !r.Leading():
		return errors.New("the entries of earlier leaders are not applied yet")
	case r.changing || r.joint:
		return errors.New("another change of the voters is under way")
	case len(r.chain.Links) >= maxLinks:
		return fmt.Errorf("the voters have changed %d times with none that stayed, more than can be proven", maxLinks)
	case len(ch.Add)+len(ch.Remove) == 0:
		return errors.New("there is nothing to change")
	case len(r.voters)+len(ch.Add) > maxVoters:
		return fmt.Errorf("there would be more than %d voters", maxVoters)
	}
	left := make(map[uint64]bool, len(r.voters)+len(ch.Add))
	for _, m := range r.voters {
		left[m.ID] = true
	}
	for _, id := range ch.Remove {
		if !left[id] {
			return fmt.Errorf("%x is no voter", id)
		}
		if id == r.self.ID {
			// It would step down as soon as it knows that the change is complete, and before the others know: then they would
			// need the votes of voters that are gone.
			return errors.New("a leader does not remove itself")
		}
		delete(left, id)
	}
	for _, m := range ch.Add {
		if slices.ContainsFunc(r.voters, func(o Voter) bool { return o.Peer == m.Peer && left[o.ID] }) {
			return fmt.Errorf("peer %q has a seat already", m.Peer)
		}
		if _, ever := r.peers[m.ID]; ever || left[m.ID] || !valid(m) {
			return fmt.Errorf("%x of peer %q is or was a voter: it needs a new ID", m.ID, m.Peer)
		}
		left[m.ID] = true
	}
	return nil
}

// changed applies a committed change of the voters, or its completion.
func (r *Replica) changed(e raftpb.Entry) {
	cc, in, err := decodeChange(e.Data)
	if err != nil {
		panic(err.Error())
	}
	if len(cc.Changes) == 0 && !r.end(cc, e.Term) {
		return // every replica ignores it alike; the leader proposes another
	}
	for _, m := range in.Voters {
		r.learn(m)
	}
	conf := r.node.ApplyConfChange(cc)
	r.changing = false
	r.setVoters(conf.Voters, conf.VotersOutgoing)
	if r.leads() && !r.joint && r.node.Propose([]byte{mark}) == nil {
		r.marks++
	}
}

// mark is the data of an entry that the leader proposes after each change of the voters. raft tells followers that an
// entry is committed with the next one, so whoever has the mark knows that the change is complete. Those who did not
// know would need the votes of voters that have left.
const mark = 0xc1

func isMark(data []byte) bool { return len(data) == 1 && data[0] == mark }

// setVoters takes over raft's configuration: the voters now and, while a change is under way, also the old ones.
func (r *Replica) setVoters(now, old []uint64) {
	r.joint = len(old) > 0
	r.conf = raftpb.ConfState{Voters: now, VotersOutgoing: old}
	r.next = nil
	if r.joint {
		r.next = r.named(now)
	}
	clear(r.nexts)
	r.askedKinds &^= askNext
	var voters []Voter
	for _, id := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(now, old)))) {
		voters = append(voters, Voter{ID: id, Peer: r.peers[id]})
	}
	if slices.Equal(voters, r.voters) {
		return
	}
	was := r.voter(r.self.ID)
	for _, m := range voters {
		if !r.voter(m.ID) {
			r.heard[m.ID] = r.now
		}
	}
	for _, m := range r.voters {
		if !slices.Contains(voters, m) {
			for _, o := range r.noteFormer(m) {
				delete(r.peers, o.ID)
				delete(r.heard, o.ID)
			}
		}
	}
	r.voters = voters
	r.emit(Changed{Voters: slices.Clone(voters)})
	if was && !r.voter(r.self.ID) {
		r.remove()
	}
}

func (r *Replica) remove() {
	if !r.removed {
		r.removed = true
		r.emit(Removed{})
	}
}

// learn notes the peer of a voter.
func (r *Replica) learn(m Voter) {
	r.peers[m.ID] = m.Peer
	delete(r.unlisted, m.ID)
}

// peer is the peer of a voter according to the log, or else to the voter's own messages; empty if unknown.
func (r *Replica) peer(id uint64) tasks.PeerID {
	if p, ok := r.peers[id]; ok {
		return p
	}
	return r.unlisted[id]
}

// voter reports whether id is a voter now.
func (r *Replica) voter(id uint64) bool {
	return slices.ContainsFunc(r.voters, func(m Voter) bool { return m.ID == id })
}

// Knows reports whether id is a voter, and whether it ever was one.
func (r *Replica) Knows(id uint64) (voter, ever bool) {
	_, ever = r.peers[id]
	return r.voter(id), ever
}

// gone reports whether id was a voter and is not one now.
func (r *Replica) gone(id uint64) bool {
	_, known := r.peers[id]
	return known && !r.voter(id)
}
