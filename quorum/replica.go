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

// Replica is one voter's copy of the log. It is not safe for concurrent use.
type Replica struct {
	cfg  Config
	self Voter
	node *raft.RawNode
	disk *storage // what is on disk, and only that
	rand *rand.Rand
	out  []Effect

	peers    map[uint64]tasks.PeerID // peer of every voter that the log names, including removed ones
	unlisted map[uint64]tasks.PeerID // peer of senders that the log does not name yet
	voters   []Voter                 // the voters, by ID
	joint    bool                    // raft's joint configuration: a change of the voters is applied, not its completion
	marks    int                     // marks (see mark) that this leader proposed and that are not applied
	changing bool                    // a change that this leader proposed is not applied

	hard                   Hard
	syncedTerm, syncedLead uint64 // Term and Lead as of the last Write that is on disk
	writtenCommit          uint64 // Commit in the last Write
	last                   uint64 // index of the last entry that raft gave out to be written
	applied, appliedTerm   uint64

	compaction
	proofs
	provenTerm uint64           // term that the gathered signatures are for
	conf       raftpb.ConfState // as of the last applied entry
	serving    *outgoing        // the snapshot that this leader sends to voters
	incoming   *incoming        // the snapshot that this replica is receiving

	writing *raft.Ready // what raft wants done after Written; there is one at a time
	seq     uint64      // number of the last Write

	now, tick, electionAt      time.Duration // the present time; when the next tick and the next candidacy are due
	leadSince                  time.Duration
	heard                      map[uint64]time.Duration
	lease                      time.Duration    // the leader's lease: until then no other leader is accepted
	jumped                     time.Duration    // when this replica last advanced beyond the free terms
	transferee, transfereeTerm uint64           // voter to which the leader of that term transfers its leadership
	claims                     map[uint64]claim // later terms that voters claim, by voter
	role                       Role
	removed, broken            bool
}

// New makes a replica of what is on disk, at the time now. Its first Step replays the entries known to be committed. If
// the error is under ErrDamaged, this log cannot be used, and the peer may come back as another voter.
func New(now time.Duration, cfg Config, log Log) (r *Replica, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	cfg.defaults()
	if cfg.Keys == nil {
		return nil, fmt.Errorf("could not load the log of voter %x: it has no keys to sign with", log.Self.ID)
	}
	disk, err := load(log)
	if err != nil {
		return nil, fmt.Errorf("could not load the log of voter %x: %w", log.Self.ID, err)
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
		MaxSizePerMsg:   uint64(cfg.MaxFrame / 2), // half of a frame, since each entry has a head
		MaxInflightMsgs: 16,
		// A leader without a quorum holds no more proposals than this in memory.
		MaxUncommittedEntriesSize: uint64(16 * cfg.MaxFrame),
		CheckQuorum:               true,
		PreVote:                   true,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    noLogger{},
	})
	if err != nil {
		return nil, fmt.Errorf("could not load the log of voter %x: %w", log.Self.ID, err)
	}
	r = &Replica{
		cfg: cfg, self: log.Self, node: node, disk: disk, rand: rand.New(rand.NewPCG(cfg.Seed, log.Self.ID)),
		peers: make(map[uint64]tasks.PeerID), unlisted: make(map[uint64]tasks.PeerID), heard: make(map[uint64]time.Duration),
		now: now, tick: now, hard: log.Hard,
		writtenCommit: disk.hard.Commit, syncedTerm: disk.hard.Term, syncedLead: log.Hard.Lead,
	}
	r.hard.Commit = disk.hard.Commit
	r.chain.Founders = byID(log.Voters)
	r.last, _ = disk.LastIndex()
	disk.voters = func() map[uint64]struct{} { return r.node.Status().Config.Voters.IDs() }
	if log.Snapshot == nil {
		for _, m := range log.Voters {
			r.learn(m)
		}
		r.setVoters(disk.conf.Voters, nil)
		r.out = nil // naming the founding voters is not a change
	} else if err := r.beginAgain(*log.Snapshot); err != nil {
		return nil, fmt.Errorf("could not load the log of voter %x: %w", log.Self.ID, err)
	}
	r.resetElection()
	if len(r.voters) == 1 && r.voter(r.self.ID) {
		r.electionAt = now // a single voter has nobody to wait for
	} else {
		r.awaitOldLeader()
	}
	return r, nil
}

// beginAgain verifies a snapshot from disk and begins with it.
func (r *Replica) beginAgain(s Snapshot) error {
	c, err := decodeContent(s.Data)
	if err == nil {
		err = r.trust(r.cfg.Authority).checkVoters(c)
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

// Step handles an event and returns the effects that follow from it.
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
	r.askState() // raft may have found that a voter needs a snapshot
	r.report()
	return
}

// Wake is when the next Tick is due.
func (r *Replica) Wake() time.Duration {
	if r.broken {
		return math.MaxInt64
	}
	return min(r.tick, r.electionAt)
}

// Leader is the leader's peer in the newest term known here, empty if unknown, and that term.
func (r *Replica) Leader() (tasks.PeerID, uint64) {
	s := r.node.BasicStatus()
	return r.peer(s.Lead), s.Term
}

// SyncedTerm is the newest term on this replica's disk. A later one may be forgotten in a crash.
func (r *Replica) SyncedTerm() uint64 { return r.syncedTerm }

// Leading reports whether this replica leads and has applied an entry of its own term, and thereby every entry that was
// committed before.
func (r *Replica) Leading() bool {
	s := r.node.BasicStatus()
	return !r.broken && s.RaftState == raft.StateLeader && r.appliedTerm == s.Term
}

// Voters returns the voters, by ID, as of the last applied entry. While a change is under way they are the old and the
// new ones, since each set needs a majority.
func (r *Replica) Voters() []Voter { return slices.Clone(r.voters) }

// Changing reports whether a change of the voters is under way here, or a majority may not know yet that it is
// complete. Until then the old voters count too.
func (r *Replica) Changing() bool { return r.joint || r.marks > 0 }

// Dispensable reports whether the group could do without this leader: no change of the voters is under way, and a
// majority of the voters without this one was heard within the given time.
func (r *Replica) Dispensable(now, within time.Duration) bool {
	up := 0
	for _, m := range r.voters {
		if m.ID != r.self.ID && now-max(r.heard[m.ID], r.leadSince) <= within {
			up++
		}
	}
	return r.leads() && !r.Changing() && up > len(r.voters)/2
}

// Heard returns for each other voter how long ago its last frame came in. It is nil unless this replica leads.
func (r *Replica) Heard(now time.Duration) map[tasks.PeerID]time.Duration {
	if r.broken || !r.leads() {
		return nil
	}
	silence := make(map[tasks.PeerID]time.Duration, len(r.voters))
	for _, m := range r.voters {
		if m.ID == r.self.ID {
			continue
		}
		quiet := max(now-max(r.heard[m.ID], r.leadSince), 0)
		if s, two := silence[m.Peer]; !two || quiet < s { // a peer has two incarnations while one replaces the other
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

// resetElection restarts the election timeout.
func (r *Replica) resetElection() {
	r.electionAt = r.now + r.cfg.Election + time.Duration(r.rand.Int64N(int64(r.cfg.Election)))
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
			r.syncedTerm, r.syncedLead = r.hard.Term, r.hard.Lead
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
		if quiet := r.now - max(r.heard[ev.To], r.leadSince); r.leads() && r.voter(ev.To) && r.mayLeadNow(ev.To) &&
			quiet <= r.cfg.Election {
			r.transferee, r.transfereeTerm = ev.To, r.node.BasicStatus().Term
			r.node.TransferLeader(ev.To)
		}
	case Campaign:
		r.resetElection()
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

// clock runs raft's ticks and the election timeout. Missed ticks are not made up for: if this process was paused, that
// is no reason for a leader to believe that its followers were silent.
func (r *Replica) clock() {
	if r.broken {
		return
	}
	if r.now >= r.tick {
		if late := r.now - r.tick; late > r.cfg.Heartbeat { // nor for this replica to believe it of the others
			r.excusePause(late)
		}
		r.tick = r.now + r.cfg.Heartbeat
		if r.leads() {
			r.node.Tick()
			r.resetElection()
			r.offerAgain()
			r.askedKinds = 0
			r.reelect()
		} else {
			r.serving = nil
			r.askAgain()
			r.node.TickQuiesced() // counts for the leader's lease, but never makes it stand
		}
	}
	if r.now < r.electionAt {
		return
	}
	r.resetElection()
	if last, _ := r.disk.LastIndex(); last > 0 && r.mayLeadNow(r.self.ID) {
		_ = r.node.Campaign() // raft refuses if this voter may not stand
	}
}

// excusePause does not count a pause of this process as silence of the others.
func (r *Replica) excusePause(late time.Duration) {
	for id, at := range r.heard {
		r.heard[id] = min(at+late, r.now)
	}
	r.leadSince = min(r.leadSince+late, r.now)
	r.lease = min(r.lease+late, r.now+r.cfg.Election)
}

// pump carries out what raft has ready, until something must be on disk first.
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
		if !rd.MustSync && !follows && !w.Reset && !r.changesVoters(rd.CommittedEntries) {
			r.finish(&rd)
			continue
		}
		r.seq++
		r.writtenCommit = r.hard.Commit
		r.writing = &rd
		// Commit is written too: a replica that has a change of the voters in its log must know that the change before it is
		// committed, or voters of long ago could elect it.
		w.Seq = r.seq
		r.emit(w)
		if mutant.On(mutant.AckBeforeSync) {
			r.send(rd.Messages)
			rd.Messages = nil
		}
	}
}

// changesVoters reports whether a change of the voters is among the committed entries and the disk does not know that
// it is committed. The disk must know before the change is applied; otherwise replicas that restart would need the
// votes of voters that have left for good.
func (r *Replica) changesVoters(committed []raftpb.Entry) bool {
	return slices.ContainsFunc(committed, func(e raftpb.Entry) bool {
		return e.Type == raftpb.EntryConfChangeV2 && e.Index > r.writtenCommit
	})
}

func entries(in []raftpb.Entry) []Entry {
	out := make([]Entry, len(in))
	for i, e := range in {
		out[i] = Entry{Index: e.Index, Term: e.Term, Kind: uint8(e.Type), Data: e.Data}
	}
	return out
}

// finish does what has to wait until a Ready is on disk.
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
		case len(e.Data) > 0: // a leader's first entry is empty
			r.emit(Apply{Index: e.Index, Term: e.Term, Data: e.Data})
		}
	}
	r.node.Advance(*rd)
	r.askState()
}

// report emits Role if it has changed.
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
