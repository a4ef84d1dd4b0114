package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/wire"
)

// Snapshot replaces the beginning of a log: it holds the owner's state and the voters that result from its entries up
// to Index, of Term. The entries up to Base, of BaseTerm, are dropped with it; those in between are kept for voters
// that lag a little. Data has a format of this package, which includes the owner's state.
type Snapshot struct {
	Index, Term    uint64
	Base, BaseTerm uint64
	Data           []byte
}

// content is the content of a snapshot's Data, as msgpack.
type content struct {
	Voters   []Voter `msgpack:"v"`
	Outgoing []Voter `msgpack:"o"` // the old voters, while a change is under way
	Past     []Voter `msgpack:"p"` // former voters, the one that left last at the end; at most maxPast
	Chain    Chain   `msgpack:"c"` // proof of the voters; of the old ones while a change is under way
	State    []byte  `msgpack:"s"` // the owner's state
}

// maxPast is how many former voters are remembered. One that comes back after so many others is not told that it was
// removed. It cannot win an election, since its log is too old, and its owner learns of the removal in another way.
const maxPast = 256

// snapshotRoom is how many bytes the voters and their chain may take in a snapshot, beside the owner's state.
const snapshotRoom = 1 << 20

// decodeContent decodes and checks a snapshot's Data.
func decodeContent(data []byte) (c content, err error) {
	if err := wire.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("its snapshot could not be read: %w", err)
	}
	if len(c.Voters) == 0 || len(c.Past) > maxPast {
		return c, fmt.Errorf("its snapshot names %d voters and %d past ones", len(c.Voters), len(c.Past))
	}
	for _, list := range [][]Voter{c.Voters, c.Outgoing} {
		for i, m := range list {
			if !valid(m) || (i > 0 && list[i-1].ID >= m.ID) {
				return c, fmt.Errorf("its snapshot names voter %x of peer %q, which is invalid or out of order", m.ID, m.Peer)
			}
		}
	}
	if i := slices.IndexFunc(c.Past, func(m Voter) bool { return !valid(m) }); i >= 0 {
		return c, errors.New("its snapshot names an invalid past voter")
	}
	return c, nil
}

func (c *content) conf() raftpb.ConfState {
	return raftpb.ConfState{Voters: ids(c.Voters), VotersOutgoing: ids(c.Outgoing)}
}

func ids(ms []Voter) (out []uint64) {
	for _, m := range ms {
		out = append(out, m.ID)
	}
	return out
}

// check reports why no replica can have written a snapshot. last is the log's last index.
func (s *Snapshot) check(last uint64, hard Hard) error {
	switch {
	case s.Index == 0 || s.Base > s.Index || s.Index > last || s.Index > hard.Commit:
		return fmt.Errorf("its snapshot of entry %d, after entry %d, does not belong to a log of %d entries "+
			"with %d committed",
			s.Index, s.Base, last, hard.Commit)
	case s.Term == 0 || s.BaseTerm > s.Term || s.Term > hard.Term || (s.BaseTerm == 0) != (s.Base == 0):
		return fmt.Errorf("its snapshot is of term %d, after term %d, and the last term known is %d", s.Term, s.BaseTerm,
			hard.Term)
	}
	return nil
}

// compaction is the state of the snapshots that a replica takes of its own state. One goes through ask, due and store
// in turn, and is in one of them at a time; snap is the one on disk.
type compaction struct {
	snap    Snapshot  // its Index is 0 for none
	grown   int       // bytes of the data applied since the last snapshot
	ask     Snapshot  // the owner was asked for its state as of this Index, 0 if not; Data is empty
	content content   // the other content of that snapshot
	asked   uint64    // index as of which the owner was last asked
	due     *Snapshot // to be written next
	store   *Snapshot // that is being written
}

// wanted reports whether the owner is to be asked for its state.
func (r *Replica) wanted() bool {
	c := &r.compaction
	since := r.applied.index - max(c.snap.Index, c.asked)
	switch {
	case c.due != nil || c.store != nil || r.applied.index <= c.snap.Index:
		return false
	// A voter waits for a snapshot, perhaps the one that a change of the voters needs to complete. If the answer is lost,
	// raft asks for the snapshot again.
	case r.disk.lacking:
		return true
	case r.applied.index == c.asked || r.voters.joint() || r.leads() && (r.voters.proposed || r.voters.marks > 0):
		return false
	}
	return since >= uint64(r.cfg.SnapshotEntries) ||
		c.grown >= r.cfg.SnapshotBytes && since >= uint64(r.cfg.SnapshotEntries)/64
}

// askState asks the owner for its state, if wanted.
func (r *Replica) askState() {
	if r.broken || !r.wanted() {
		return
	}
	c := &r.compaction
	r.disk.lacking = false
	c.ask, c.asked = Snapshot{Index: r.applied.index, Term: r.applied.term}, r.applied.index
	c.content = content{
		Voters:   r.voters.named(r.voters.conf.Voters),
		Outgoing: r.voters.named(r.voters.conf.VotersOutgoing),
		Past:     slices.Clone(r.voters.former),
		Chain:    r.proofs.chain,
	}
	last := len(r.out) - 1
	r.emit(TakeSnapshot{Index: r.applied.index})
	if last >= 0 && mutant.On(mutant.SnapshotTooEarly) {
		if _, is := r.out[last].(Apply); is {
			r.out[last], r.out[last+1] = r.out[last+1], r.out[last]
		}
	}
}

// taken makes a snapshot of the owner's state, to be written.
func (r *Replica) taken(ev Snapshotted) {
	c := &r.compaction
	if c.ask.Index == 0 || ev.Index != c.ask.Index {
		return
	}
	s := c.ask
	c.ask, c.grown = Snapshot{}, 0
	if len(ev.State) > r.cfg.MaxSnapshot {
		r.emit(Refused{Reason: fmt.Sprintf("a snapshot of %d bytes: at most %d are taken, and the log is kept", len(ev.State),
			r.cfg.MaxSnapshot)})
		return
	}
	c.content.State = ev.State
	data, err := wire.Marshal(&c.content)
	if err != nil {
		r.emit(Refused{Reason: fmt.Sprintf("could not encode a snapshot: %v", err)})
		return
	}
	s.Data, c.content = data, content{}
	c.due = &s
}

// storeSnapshot emits the Write of a snapshot that is due, which also drops the log before it.
func (r *Replica) storeSnapshot() bool {
	c := &r.compaction
	s := c.due
	c.due = nil
	if s == nil || s.Index <= c.snap.Index { // a leader's snapshot was newer
		return false
	}
	s.Base, s.BaseTerm = r.base(s.Index)
	c.store = s
	seq := r.writes.begin()
	if mutant.On(mutant.TailFirst) && c.snap.Index > 0 { // the log is dropped before the snapshot is written
		old := c.snap
		old.Base, old.BaseTerm = s.Base, s.BaseTerm
		r.emit(Write{Hard: r.writes.hard, Snapshot: &old})
	}
	r.emit(Write{Seq: seq, Hard: r.writes.hard, Snapshot: s})
	return true
}

// base is the last entry that a snapshot at index drops. It leaves a short tail, and the entries that a voter needs
// after an earlier snapshot that it is being sent, unless that one is far behind.
func (r *Replica) base(index uint64) (base, term uint64) {
	first, _ := r.disk.FirstIndex()
	base = index
	if tail, err := r.disk.Entries(max(first, index-min(index-1, uint64(r.cfg.SnapshotTail))), index+1,
		raftMax); err == nil {
		for size := 0; len(tail) > 0; tail = tail[:len(tail)-1] {
			if size += len(tail[len(tail)-1].Data); size > r.cfg.SnapshotBytes/4 {
				break
			}
			base = tail[len(tail)-1].Index - 1
		}
	}
	if s := r.pieces.serving; s != nil && index-min(index, s.Index) < 8*uint64(r.cfg.SnapshotEntries) {
		base = min(base, s.Index)
	}
	base = max(base, first-1)
	term, err := r.disk.Term(base)
	if err != nil {
		panic(err.Error())
	}
	return base, term
}

const raftMax = 1<<64 - 1

// stored drops the log in memory after the snapshot is on disk.
func (r *Replica) stored() {
	c := &r.compaction
	s := c.store
	c.store, c.snap = nil, *s
	kept, err := decodeContent(s.Data)
	if err != nil {
		panic(err.Error())
	}
	conf := kept.conf()
	if _, err := r.disk.CreateSnapshot(s.Index, &conf, s.Data); err != nil {
		panic(err.Error())
	}
	if err := r.disk.Compact(s.Base); err != nil && !errors.Is(err, raft.ErrCompacted) {
		panic(err.Error())
	}
}

// received begins with a leader's snapshot, which is on disk now.
func (r *Replica) received(s raftpb.Snapshot) {
	if err := r.disk.ApplySnapshot(s); err != nil {
		panic(err.Error())
	}
	c, err := decodeContent(s.Data)
	if err != nil {
		panic(err.Error())
	}
	r.begin(Snapshot{
		Index:    s.Metadata.Index,
		Term:     s.Metadata.Term,
		Base:     s.Metadata.Index,
		BaseTerm: s.Metadata.Term,
		Data:     s.Data,
	}, c)
}

// begin makes a snapshot the beginning of this replica's log.
func (r *Replica) begin(s Snapshot, in content) {
	c := &r.compaction
	c.snap, c.grown, c.ask, c.due = s, 0, Snapshot{}, nil
	r.voters.former = in.Past
	r.proofs.chain = in.Chain
	r.applied = position{s.Index, s.Term}
	r.writes.last = max(r.writes.last, s.Index)
	if !mutant.On(mutant.ForgetVoters) {
		for _, m := range slices.Concat(in.Past, in.Outgoing, in.Voters) {
			r.voters.learn(m)
		}
	}
	r.emit(Restore{Index: s.Index, State: in.State})
	conf := in.conf()
	r.setVoters(&conf)
}

// Size returns how many entries of the log are in memory, and how many bytes of data they and the snapshot have.
func (r *Replica) Size() (entries, bytes int) {
	first, _ := r.disk.FirstIndex()
	last, _ := r.disk.LastIndex()
	all, err := r.disk.Entries(first, last+1, raftMax)
	if err != nil {
		all = nil
	}
	for _, e := range all {
		bytes += len(e.Data)
	}
	return len(all), bytes + len(r.compaction.snap.Data)
}

// Snapshot implements raft.Storage. A snapshot from before a voter joined is of no use to that voter, since raft
// expects to find it named there. In that case the snapshot is temporarily unavailable, and raft asks again.
func (s *storage) Snapshot() (raftpb.Snapshot, error) {
	snap, err := s.MemoryStorage.Snapshot()
	if err != nil {
		return snap, err
	}
	had := slices.Concat(snap.Metadata.ConfState.Voters, snap.Metadata.ConfState.VotersOutgoing)
	for id := range s.voters() {
		if !slices.Contains(had, id) {
			s.lacking = true
			return raftpb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
		}
	}
	return snap, nil
}
