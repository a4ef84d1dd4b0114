package quorum

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A group that has lost the majority of its copies for good cannot elect a leader any more. Recover makes a new group
// of one remaining copy, with the same name and with a Link, signed by an authority, that says so. The terms
// distinguish the new group from the old one: a recovery takes a term that no election reaches, so that whoever follows
// the highest term follows the new group, and voters of the old group stop when they see the Link. Of two recoveries
// the later one counts, and of two that do not know of each other the one with the higher term; their terms differ,
// since their voters do.
//
// The bits of a term, from the highest: 2 are 0, 18 count recoveries, 16 are a hash of the recovered voter, 28 count
// elections.
const (
	epochShift   = 28
	countShift   = 44
	maxRecovered = maxTerm >> countShift
)

// Epoch identifies the group among those of the same name that recoveries have made: a later group has a higher epoch,
// and one that was never recovered has 0. It is a part of each term.
func Epoch(term uint64) uint64 { return term >> epochShift }

// Recoveries returns how many recoveries a term counts.
func Recoveries(term uint64) uint64 { return term >> countShift }

// NextRecovery returns the set of voters that an authority signs (ConfText) to make self the only voter of a group,
// given the terms of all its known copies.
func NextRecovery(self Voter, terms ...uint64) (Conf, error) {
	count := slices.Max(append([]uint64{0}, terms...))>>countShift + 1
	if count >= maxRecovered || !valid(self) {
		return Conf{}, fmt.Errorf("could not recover a group: voter %x of peer %q is invalid, or it was recovered %d times",
			self.ID, self.Peer, count-1)
	}
	term := count<<countShift | self.ID>>(64-countShift+epochShift)<<epochShift
	return Conf{Seq: term, Term: term, Prior: term - 1, Voters: []Voter{self}}, nil
}

// RecoveryConf reports why a link, whoever signed it, is not that of a recovery; the error is under ErrUnproven.
func (l Link) RecoveryConf() error {
	c := l.Conf
	if err := c.check(); err != nil {
		return err
	}
	if len(c.Voters) != 1 || c.Term>>countShift == 0 || c.Term >= maxTerm || c.Seq != c.Term || c.Prior != c.Term-1 {
		return fmt.Errorf("%w: set %d of term %d is not that of a recovery", ErrUnproven, c.Seq, c.Term)
	}
	if len(l.Sigs) == 0 || len(l.Sigs) > maxVoters {
		return fmt.Errorf("%w: %d signatures", ErrUnproven, len(l.Sigs))
	}
	for _, s := range l.Sigs {
		if len(s.By) > maxPeer || len(s.Sig) > maxSig {
			return fmt.Errorf("%w: a signature of %d bytes", ErrUnproven, len(s.Sig))
		}
	}
	return nil
}

// CheckRecovery reports why a link does not prove that an authority has made one voter the only one of the group; the
// error is under ErrUnproven.
func CheckRecovery(t Trust, l Link) error {
	if err := l.RecoveryConf(); err != nil {
		return err
	}
	if !t.authorized(ConfText(t.Group, l.Conf), l.Sigs) {
		return fmt.Errorf("%w: nobody who may has signed that voter %x goes on alone", ErrUnproven, l.Conf.Voters[0].ID)
	}
	return nil
}

// Signers returns the peers whose signatures under the link of a recovery verify, whether or not they are authorities.
func (l Link) Signers(t Trust) (by []tasks.PeerID) {
	text := ConfText(t.Group, l.Conf)
	for _, s := range l.Sigs {
		if t.verify(s, text) {
			by = append(by, s.By)
		}
	}
	return by
}

// Tail returns the data of the proposals in this copy's log that are not applied here, in order. The others may have
// committed them without this copy knowing, so a recovery has to treat them as committed.
func (r *Replica) Tail() (data [][]byte) {
	for _, e := range r.tail() {
		if e.Type == raftpb.EntryNormal && len(e.Data) > 0 && !isMark(e.Data) {
			data = append(data, e.Data)
		}
	}
	return data
}

func (r *Replica) tail() []raftpb.Entry {
	last, _ := r.disk.LastIndex()
	entries, err := r.disk.Entries(r.applied.index+1, last+1, raftMax)
	if err != nil {
		return nil
	}
	return entries
}

// Last is the index and the term of the last entry of this copy. Of two copies of a group, the one with the higher
// term, or in the same term with the higher index, has every committed entry that the other one has.
func (r *Replica) Last() (index, term uint64) {
	index, _ = r.disk.LastIndex()
	term, _ = r.disk.Term(index)
	return index, term
}

// Recover returns the log with which this copy goes on as the group that a link names, which CheckRecovery has
// verified. state is the owner's after all entries of the copy, including Tail; founders are those of the old log. Once
// the new log has replaced the old one on disk, this replica must not be stepped any more.
func (r *Replica) Recover(l Link, founders []Voter, state []byte) (Log, error) {
	conf := l.Conf
	self := conf.Voters[0]
	_, ever := r.Knows(self.ID)
	switch {
	case self.Peer != r.self.Peer || ever:
		return Log{}, fmt.Errorf("could not recover the log: voter %x of peer %q is no new one of peer %q", self.ID,
			self.Peer, r.self.Peer)
	case conf.Term <= r.writes.hard.Term:
		return Log{}, fmt.Errorf("could not recover the log: term %d is not beyond term %d", conf.Term, r.writes.hard.Term)
	}
	past := append(slices.Clone(r.voters.former), r.voters.list...)
	for _, e := range r.tail() { // voters that a change in the log was about to add
		if e.Type != raftpb.EntryConfChangeV2 {
			continue
		}
		if _, in, err := decodeChange(e.Data); err == nil {
			past = append(past, in.Voters...)
		}
	}
	past = past[max(len(past)-maxPast, 0):]
	data, err := wire.Marshal(&content{
		Voters: []Voter{self},
		Past:   past,
		Chain:  Chain{Founders: byID(founders), Links: []Link{l}},
		State:  state,
	})
	if err != nil {
		return Log{}, fmt.Errorf("could not recover the log: %w", err)
	}
	index, _ := r.Last()
	index++ // the others may have another entry at this index, which was never applied
	return Log{
		Self: self, Voters: founders, Hard: Hard{Term: conf.Term, Vote: raft.None, Commit: index},
		Snapshot: &Snapshot{Index: index, Term: conf.Term, Base: index, BaseTerm: conf.Term, Data: data},
	}, nil
}

// Led reports whether this replica leads and hears a majority of the voters, or hears the leader: their last frames
// came in within the given time.
func (r *Replica) Led(now, within time.Duration) bool {
	switch lead := r.node.BasicStatus().Lead; {
	case r.broken || lead == raft.None:
		return false
	case lead == r.self.ID:
		_, majority := r.Alive(now, within)
		return majority
	default:
		return r.hearing.within(lead, now, within)
	}
}

// VoterSets returns the sets of voters that must each reach a majority: one, or two while a change of the voters is
// under way.
func (r *Replica) VoterSets() [][]Voter { return r.voters.sets() }

// Alive reports whether a majority of the voters is alive, and who is: this replica, and those whose last frame came in
// within the given time. Where this replica or a voter is newer than that, the voter counts as alive.
func (r *Replica) Alive(now, within time.Duration) (peers []tasks.PeerID, majority bool) {
	up := func(m Voter) bool {
		return m.ID == r.self.ID || r.hearing.within(m.ID, now, within)
	}
	majority = true
	for _, set := range r.VoterSets() {
		n := 0
		for _, m := range set {
			if up(m) {
				n++
			}
		}
		majority = majority && n > len(set)/2
	}
	for _, m := range r.voters.list {
		if up(m) {
			peers = append(peers, m.Peer)
		}
	}
	return peers, majority
}
