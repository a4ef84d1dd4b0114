package quorum

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// Replica is one member's copy of the log. Not safe for concurrent use.
type Replica struct {
	cfg  Config
	self Member
	node *raft.RawNode
	disk *storage // what is written, and only that
	rand *rand.Rand
	out  []Effect

	peers    map[uint64]tasks.PeerID // of every member that the log names, removed ones too
	hearsay  map[uint64]tasks.PeerID // of senders that it does not name yet
	members  []Member                // the voters, by ID
	joint    bool                    // a change of the voters is applied by half
	marks    int                     // proposed here after changes of the voters, and not applied
	changing bool                    // a change that was proposed here is not applied

	hard                 Hard
	sure, sureLead       uint64 // Term and Lead as of the last Write that is on disk
	kept                 uint64 // Commit as of the last Write
	last                 uint64 // index of the last entry that raft gave out
	applied, appliedTerm uint64

	compaction
	proofs
	provenTerm uint64           // that what is gathered is for
	conf       raftpb.ConfState // as of what is applied
	serving    *outgoing        // the snapshot that members are sent by this leader
	incoming   *incoming        // the snapshot on its way here

	writing *raft.Ready // waits for Written; there is one at a time
	seq     uint64      // of the last Write

	now, tick, stand time.Duration // now; the next tick and the next candidacy are due
	leadSince        time.Duration
	heard            map[uint64]time.Duration
	led              time.Duration    // until when another leader than the one heard is none
	risen            time.Duration    // when this replica last went up many terms
	heir, heirTerm   uint64           // whom the leader of that term wants to lead in its place
	claims           map[uint64]claim // by member
	role             Role
	removed, broken  bool
}

// New makes a replica of what is on disk, at the time now. Its first Step replays what is known to be
// committed. An error wraps ErrDamaged: this log cannot be used, the peer may come back as another member.
func New(now time.Duration, cfg Config, log Log) (r *Replica, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	cfg.defaults()
	if cfg.Keys == nil {
		return nil, fmt.Errorf("could not load the log of member %x: it has no keys to sign with", log.Self.ID)
	}
	disk, err := load(log)
	if err != nil {
		return nil, fmt.Errorf("could not load the log of member %x: %w", log.Self.ID, err)
	}
	var applied uint64
	if log.Snapshot != nil {
		applied = log.Snapshot.Index
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID:              log.Self.ID,
		Applied:         applied,
		ElectionTick:    int((cfg.Election + cfg.Heartbeat - 1) / cfg.Heartbeat),
		HeartbeatTick:   1,
		Storage:         disk,
		MaxSizePerMsg:   uint64(cfg.MaxFrame / 2), // entries in a frame have heads of their own
		MaxInflightMsgs: 16,
		// A leader without its quorum takes no more than this into memory.
		MaxUncommittedEntriesSize: uint64(16 * cfg.MaxFrame),
		CheckQuorum:               true,
		PreVote:                   true,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    silent{},
	})
	if err != nil {
		return nil, fmt.Errorf("could not load the log of member %x: %w", log.Self.ID, err)
	}
	r = &Replica{
		cfg: cfg, self: log.Self, node: node, disk: disk, rand: rand.New(rand.NewPCG(cfg.Seed, log.Self.ID)),
		peers: make(map[uint64]tasks.PeerID), hearsay: make(map[uint64]tasks.PeerID), heard: make(map[uint64]time.Duration),
		now: now, tick: now, hard: log.Hard, kept: disk.hard.Commit, sure: disk.hard.Term, sureLead: log.Hard.Lead,
	}
	r.hard.Commit = disk.hard.Commit
	r.chain.Founders = byID(log.Voters)
	r.last, _ = disk.LastIndex()
	disk.voters = func() map[uint64]struct{} { return r.node.Status().Config.Voters.IDs() }
	if log.Snapshot == nil {
		for _, m := range log.Voters {
			r.learn(m)
		}
		r.seat(disk.conf.Voters, nil)
		r.out = nil // the founding voters are no change
	} else if err := r.beginAgain(*log.Snapshot); err != nil {
		return nil, fmt.Errorf("could not load the log of member %x: %w", log.Self.ID, err)
	}
	r.rest()
	if len(r.members) == 1 && r.member(r.self.ID) {
		r.stand = now // nobody else to wait for
	} else {
		r.rejoin()
	}
	return r, nil
}

// beginAgain is begin after a restart.
func (r *Replica) beginAgain(s Snapshot) error {
	c, err := decodeContent(s.Data)
	if err == nil {
		err = r.trust(r.cfg.Authority).checkSeats(c)
	}
	if err == nil && r.cfg.CheckState != nil {
		err = r.cfg.CheckState(c.State)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.begin(s, c)
	return nil
}

// Step takes an event and returns what is to be done about it.
func (r *Replica) Step(now time.Duration, ev Event) (out []Effect) {
	if r.broken {
		return nil
	}
	r.now = max(r.now, now)
	defer func() {
		if p := recover(); p != nil {
			r.fail(fmt.Sprintf("raft cannot go on: %v", p))
		}
		out, r.out = r.out, nil
	}()
	r.handle(ev)
	r.clock()
	r.pump()
	if r.prove() {
		r.pump()
	}
	r.askState() // a member may have begun to wait for it
	r.report()
	return
}

// Wake is when the next Tick is due.
func (r *Replica) Wake() time.Duration {
	if r.broken {
		return math.MaxInt64
	}
	return min(r.tick, r.stand)
}

// Leader is the peer that leads the newest term known here; empty if unknown.
func (r *Replica) Leader() (tasks.PeerID, uint64) {
	s := r.node.BasicStatus()
	return r.peer(s.Lead), s.Term
}

// Sure is the newest term of which this replica's disk knows: what is told in a later one may be forgotten in a crash.
func (r *Replica) Sure() uint64 { return r.sure }

// Leading reports whether this replica leads and has applied an entry of its own term, and with that all
// that was ever committed.
func (r *Replica) Leading() bool {
	s := r.node.BasicStatus()
	return !r.broken && s.RaftState == raft.StateLeader && r.appliedTerm == s.Term
}

// Members are the voters, by ID, as of what is applied. While a change is under way they are the old and the
// new ones, for each side's majority counts.
func (r *Replica) Members() []Member { return slices.Clone(r.members) }

// Changing reports whether a change of the voters is under way here, or a majority may not know yet that it is
// complete: until then the members of before count too.
func (r *Replica) Changing() bool { return r.joint || r.marks > 0 }

// Spared reports whether the group could do without this leader: no change of the voters is under way, and a
// majority of them beside it was heard from within a time.
func (r *Replica) Spared(now, within time.Duration) bool {
	up := 0
	for _, m := range r.members {
		if m.ID != r.self.ID && now-max(r.heard[m.ID], r.leadSince) <= within {
			up++
		}
	}
	return r.leads() && !r.Changing() && up > len(r.members)/2
}

// Heard is, for each other voter, how long ago its last word came in. Only a leader knows; else it is nil.
func (r *Replica) Heard(now time.Duration) map[tasks.PeerID]time.Duration {
	if r.broken || !r.leads() {
		return nil
	}
	silence := make(map[tasks.PeerID]time.Duration, len(r.members))
	for _, m := range r.members {
		if m.ID == r.self.ID {
			continue
		}
		quiet := max(now-max(r.heard[m.ID], r.leadSince), 0)
		if s, two := silence[m.Peer]; !two || quiet < s { // two incarnations of a peer, while one replaces the other
			silence[m.Peer] = quiet
		}
	}
	return silence
}

func (r *Replica) emit(e Effect) { r.out = append(r.out, e) }

func (r *Replica) leads() bool { return r.node.BasicStatus().RaftState == raft.StateLeader }

func (r *Replica) fail(reason string) {
	r.broken = true
	r.emit(Broken{Reason: reason})
}

// rest puts off the next candidacy.
func (r *Replica) rest() {
	r.stand = r.now + r.cfg.Election + time.Duration(r.rand.Int64N(int64(r.cfg.Election)))
}

func (r *Replica) handle(ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case Recv:
		r.recv(ev.From, ev.Frame)
	case Propose:
		r.propose(ev.Data)
	case Change:
		r.change(ev)
	case Written:
		if ev.Seq == r.seq {
			r.sure, r.sureLead = r.hard.Term, r.hard.Lead
			r.answerAsked()
		}
		switch rd := r.writing; {
		case ev.Seq != r.seq:
		case rd != nil:
			r.writing = nil
			r.finish(rd)
		case r.store != nil:
			r.stored()
		}
	case Snapshotted:
		r.taken(ev)
	case NotWritten:
		r.fail(fmt.Sprintf("the log could not be written: %s", ev.Reason))
	case Transfer:
		if quiet := r.now - max(r.heard[ev.To], r.leadSince); r.leads() && r.member(ev.To) && r.mayLeadNow(ev.To) &&
			quiet <= r.cfg.Election {
			r.heir, r.heirTerm = ev.To, r.node.BasicStatus().Term
			r.node.TransferLeader(ev.To)
		}
	case Campaign:
		r.rest()
		if r.mayLeadNow(r.self.ID) {
			_ = r.node.Campaign()
		}
	case ToSeal:
		if !bytes.Equal(r.text, ev.Text) {
			r.text, r.seal = slices.Clone(ev.Text), nil
			clear(r.seals)
		}
	}
}

func (r *Replica) propose(data []byte) {
	if !r.leads() {
		return
	}
	if isMark(data) {
		r.emit(Refused{Reason: fmt.Sprintf("a proposal of the byte %#x alone", mark)})
		return
	}
	if len(data) == 0 || len(data) > r.cfg.MaxFrame-frameRoom {
		r.emit(Refused{Reason: fmt.Sprintf("a proposal of %d bytes: 1 to %d are taken", len(data), r.cfg.MaxFrame-frameRoom)})
		return
	}
	if err := r.node.Propose(data); err != nil {
		r.emit(Refused{Reason: fmt.Sprintf("could not propose: %v", err)})
	}
}

// clock runs raft's ticks and the countdown. Ticks that were missed are not made up for: a pause is no
// reason for a leader to think that it has heard nobody for long.
func (r *Replica) clock() {
	if r.broken {
		return
	}
	if r.now >= r.tick {
		if late := r.now - r.tick; late > r.cfg.Heartbeat { // nor to think so of the others
			r.pardon(late)
		}
		r.tick = r.now + r.cfg.Heartbeat
		if r.leads() {
			r.node.Tick()
			r.rest()
			r.offerAgain()
			r.sought = 0
			r.fetchBack()
		} else {
			r.serving = nil
			r.askAgain()
			r.node.TickQuiesced() // counts for the leader's lease, but never stands
		}
	}
	if r.now < r.stand {
		return
	}
	r.rest()
	if last, _ := r.disk.LastIndex(); last > 0 && r.mayLeadNow(r.self.ID) {
		_ = r.node.Campaign() // raft refuses where it must
	}
}

// pardon does not count a time in which this replica stood still as silence of the others.
func (r *Replica) pardon(late time.Duration) {
	for id, at := range r.heard {
		r.heard[id] = min(at+late, r.now)
	}
	r.leadSince = min(r.leadSince+late, r.now)
	r.led = min(r.led+late, r.now+r.cfg.Election)
}

// pump carries out what raft has ready, up to the next thing that must be on disk first.
func (r *Replica) pump() {
	for !r.broken && r.writing == nil && r.store == nil {
		if r.due != nil && r.storeSnapshot() {
			break
		}
		if !r.node.HasReady() {
			break
		}
		rd := r.node.Ready()
		if !raft.IsEmptyHardState(rd.HardState) {
			if rd.Term != r.hard.Term {
				r.hard.Lead = raft.None
			}
			r.hard.Term, r.hard.Vote, r.hard.Commit = rd.Term, rd.Vote, rd.Commit
		}
		follows := r.rememberLead()
		if n := len(rd.Entries); n > 0 {
			r.last = rd.Entries[n-1].Index
		}
		w := Write{Hard: r.hard, Entries: entries(rd.Entries)}
		if s := rd.Snapshot; !raft.IsEmptySnap(s) {
			r.last = s.Metadata.Index + uint64(len(rd.Entries))
			w.Snapshot, w.Reset = &Snapshot{
				Index:    s.Metadata.Index,
				Term:     s.Metadata.Term,
				Base:     s.Metadata.Index,
				BaseTerm: s.Metadata.Term,
				Data:     s.Data,
			}, true
		}
		if !rd.MustSync && !follows && !w.Reset && !r.reseats(rd.CommittedEntries) {
			r.finish(&rd)
			continue
		}
		r.seq++
		r.kept = r.hard.Commit
		r.writing = &rd
		// Commit goes along: a replica that has a change of the voters in its log must know that the
		// change before it is committed, or it could be elected by voters of long ago.
		w.Seq = r.seq
		r.emit(w)
		if mutant.On(mutant.AckBeforeSync) {
			r.send(rd.Messages)
			rd.Messages = nil
		}
	}
}

// reseats reports whether a change of the voters is committed, and the disk does not know that. It must, before
// the change is applied: else replicas that restart would need the votes of members that have left for good.
func (r *Replica) reseats(committed []raftpb.Entry) bool {
	return slices.ContainsFunc(committed, func(e raftpb.Entry) bool {
		return e.Type == raftpb.EntryConfChangeV2 && e.Index > r.kept
	})
}

func entries(in []raftpb.Entry) []Entry {
	out := make([]Entry, len(in))
	for i, e := range in {
		out[i] = Entry{Index: e.Index, Term: e.Term, Kind: uint8(e.Type), Data: e.Data}
	}
	return out
}

// finish does what may happen once a Ready is on disk.
func (r *Replica) finish(rd *raft.Ready) {
	if !raft.IsEmptySnap(rd.Snapshot) {
		r.received(rd.Snapshot)
	}
	if err := r.disk.Append(rd.Entries); err != nil {
		panic(err.Error())
	}
	r.send(rd.Messages)
	for _, e := range rd.CommittedEntries {
		r.applied, r.appliedTerm = e.Index, e.Term
		r.grown += len(e.Data)
		switch {
		case e.Type == raftpb.EntryConfChangeV2:
			r.changed(e)
		case isMark(e.Data):
			r.marks = max(r.marks-1, 0)
		case len(e.Data) > 0: // a leader's first entry has none
			r.emit(Apply{Index: e.Index, Term: e.Term, Data: e.Data})
		}
	}
	r.node.Advance(*rd)
	r.askState()
}

// report says who leads, if that is new.
func (r *Replica) report() {
	if r.broken {
		return
	}
	leader, term := r.Leader()
	role := Role{Leader: leader, Term: term, Leading: r.Leading()}
	if role == r.role {
		return
	}
	if leader == r.self.Peer && (r.role.Leader != leader || r.role.Term != term) {
		r.leadSince, r.changing, r.marks = r.now, false, 0
	}
	r.role = role
	r.emit(role)
}
