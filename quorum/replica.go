package quorum

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/dtpnode/dtpnode/tasks"
)

// Replica is one voter's copy of the log. It is not safe for concurrent use.
//
// Its parts know each other through Replica alone: a part's methods read and change that part, Replica's methods are
// what takes raft, the disk, or several parts.
type Replica struct {
	cfg     Config
	self    Voter
	node    *raft.RawNode
	disk    *storage      // what is on disk, and only that
	now     time.Duration // of the event that is being handled
	out     []Effect      // of that event, so far
	applied position      // the last entry that was applied
	role    Role          // as the owner knows it
	broken  bool

	voters     voters     // who may vote, and who might have
	writes     writes     // what is on disk, and on its way there
	compaction compaction // the snapshots of the owner's state
	pieces     pieces     // snapshots between voters
	proofs     proofs     // what this replica can prove
	gathering  gathering  // the signatures that a leader gathers for proofs
	election   election   // when this replica stands for election
	hearing    hearing    // who was heard when
	transfer   transfer   // to whom the leader gives its lead
	terms      terms      // later terms that others claim
}

// position is an entry of the log.
type position struct{ index, term uint64 }

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
	node, err := newNode(cfg, log, disk)
	if err != nil {
		return nil, fmt.Errorf("could not load the log of voter %x: %w", log.Self.ID, err)
	}
	r = &Replica{
		cfg:      cfg,
		self:     log.Self,
		node:     node,
		disk:     disk,
		now:      now,
		voters:   newVoters(),
		writes:   newWrites(disk, log.Hard),
		election: election{rand: rand.New(rand.NewPCG(cfg.Seed, log.Self.ID)), timeout: cfg.Election, tick: now},
		hearing:  hearing{last: map[uint64]time.Duration{}},
	}
	r.proofs.chain.Founders = byID(log.Voters)
	disk.voters = func() map[uint64]struct{} { return r.node.Status().Config.Voters.IDs() }
	if log.Snapshot == nil {
		for _, m := range log.Voters {
			r.voters.learn(m)
		}
		r.setVoters(&disk.conf)
		r.out = nil // naming the founding voters is not a change
	} else if err := r.beginAgain(*log.Snapshot); err != nil {
		return nil, fmt.Errorf("could not load the log of voter %x: %w", log.Self.ID, err)
	}
	r.election.restart(r.now)
	if len(r.voters.list) == 1 && r.voters.has(r.self.ID) {
		r.election.at = now // a single voter has nobody to wait for
	} else {
		r.awaitOldLeader()
	}
	return r, nil
}

// newNode makes raft's part of a replica.
func newNode(cfg Config, log Log, disk *storage) (*raft.RawNode, error) {
	var applied uint64
	if log.Snapshot != nil {
		applied = log.Snapshot.Index
	}
	return raft.NewRawNode(&raft.Config{
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
	return min(r.election.tick, r.election.at)
}

// Leader is the leader's peer in the newest term known here, empty if unknown, and that term.
func (r *Replica) Leader() (tasks.PeerID, uint64) {
	s := r.node.BasicStatus()
	return r.voters.peer(s.Lead), s.Term
}

// SyncedTerm is the newest term on this replica's disk. A later one may be forgotten in a crash.
func (r *Replica) SyncedTerm() uint64 { return r.writes.syncedTerm }

// Leading reports whether this replica leads and has applied an entry of its own term, and thereby every entry that was
// committed before.
func (r *Replica) Leading() bool {
	s := r.node.BasicStatus()
	return !r.broken && s.RaftState == raft.StateLeader && r.applied.term == s.Term
}

// Voters returns the voters, by ID, as of the last applied entry. While a change is under way they are the old and the
// new ones, since each set needs a majority.
func (r *Replica) Voters() []Voter { return slices.Clone(r.voters.list) }

// Knows reports whether id is a voter, and whether it ever was one.
func (r *Replica) Knows(id uint64) (voter, ever bool) { return r.voters.has(id), r.voters.ever(id) }

// Changing reports whether a change of the voters is under way here, or a majority may not know yet that it is
// complete. Until then the old voters count too.
func (r *Replica) Changing() bool { return r.voters.changing() }

// Dispensable reports whether the group could do without this leader: no change of the voters is under way, and a
// majority of the voters without this one was heard within the given time.
func (r *Replica) Dispensable(now, within time.Duration) bool {
	up := 0
	for _, m := range r.voters.list {
		if m.ID != r.self.ID && r.hearing.quiet(m.ID, now) <= within {
			up++
		}
	}
	return r.leads() && !r.Changing() && up > len(r.voters.list)/2
}

// Heard returns for each other voter how long ago its last frame came in. It is nil unless this replica leads.
func (r *Replica) Heard(now time.Duration) map[tasks.PeerID]time.Duration {
	if r.broken || !r.leads() {
		return nil
	}
	silence := make(map[tasks.PeerID]time.Duration, len(r.voters.list))
	for _, m := range r.voters.list {
		if m.ID == r.self.ID {
			continue
		}
		quiet := max(r.hearing.quiet(m.ID, now), 0)
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
		r.written(ev.Seq)
	case Snapshotted:
		r.taken(ev)
	case NotWritten:
		r.fail(fmt.Sprintf("the log could not be written: %s", ev.Reason))
	case Transfer:
		r.transferTo(ev.To)
	case Campaign:
		r.election.restart(r.now)
		if r.mayLeadNow(r.self.ID) {
			_ = r.node.Campaign()
		}
	case ToSeal:
		if r.proofs.toSeal(ev.Text) {
			clear(r.gathering.seals)
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
		r.hearing.leadsSince, r.voters.proposed, r.voters.marks = r.now, false, 0
	}
	r.role = role
	r.emit(role)
}
