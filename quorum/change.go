package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

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
	r.voters.proposed = true
}

func (r *Replica) checkChange(ch Change) error {
	switch {
	case !r.Leading():
		return errors.New("the entries of earlier leaders are not applied yet")
	case r.voters.proposed || r.voters.joint():
		return errors.New("another change of the voters is under way")
	case len(r.proofs.chain.Links) >= maxLinks:
		return fmt.Errorf("the voters have changed %d times with none that stayed, more than can be proven", maxLinks)
	case len(ch.Add)+len(ch.Remove) == 0:
		return errors.New("there is nothing to change")
	case len(r.voters.list)+len(ch.Add) > maxVoters:
		return fmt.Errorf("there would be more than %d voters", maxVoters)
	}
	left := make(map[uint64]bool, len(r.voters.list)+len(ch.Add))
	for _, m := range r.voters.list {
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
		if slices.ContainsFunc(r.voters.list, func(o Voter) bool { return o.Peer == m.Peer && left[o.ID] }) {
			return fmt.Errorf("peer %q has a seat already", m.Peer)
		}
		if r.voters.ever(m.ID) || left[m.ID] || !valid(m) {
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
		r.voters.learn(m)
	}
	conf := r.node.ApplyConfChange(cc)
	r.voters.proposed = false
	r.setVoters(conf)
	if r.leads() && !r.voters.joint() && r.node.Propose([]byte{mark}) == nil {
		r.voters.marks++
	}
}

// mark is the data of an entry that the leader proposes after each change of the voters. raft tells followers that an
// entry is committed with the next one, so whoever has the mark knows that the change is complete. Those who did not
// know would need the votes of voters that have left.
const mark = 0xc1

func isMark(data []byte) bool { return len(data) == 1 && data[0] == mark }

// setVoters takes over raft's configuration: the voters now and, while a change is under way, also the old ones.
func (r *Replica) setVoters(conf *raftpb.ConfState) {
	was := r.voters.has(r.self.ID)
	r.gathering.dropNext()
	joined, forgotten, changed := r.voters.replace(conf)
	if !changed {
		return
	}
	for _, m := range joined {
		r.hearing.note(m.ID, r.now)
	}
	for _, m := range forgotten {
		r.hearing.forget(m.ID)
	}
	r.emit(Changed{Voters: slices.Clone(r.voters.list)})
	if was && !r.voters.has(r.self.ID) {
		r.remove()
	}
}

func (r *Replica) remove() {
	if !r.voters.removed {
		r.voters.removed = true
		r.emit(Removed{})
	}
}
