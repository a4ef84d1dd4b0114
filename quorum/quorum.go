// Package quorum is one peer's copy of one replicated log: etcd-io/raft's RawNode with elections made
// deterministic. It is pure: Step(now, event) returns effects, and nothing inside knows a clock, a disk, a
// network or a source of chance but the seed it is given. What it proposes to write, its owner writes and
// syncs, and says so; only then are the messages sent that speak of it.
//
// Differences to raft as it comes:
//
//   - raft draws election time-outs from crypto/rand. Here raft's own countdown is never run: a seeded one
//     beside it stands for election. Pre-votes and the leader's check of its quorum are on.
//   - A member with an empty log never stands by itself, only when told to (Campaign). So a founder can
//     bring up the founding members in any order, and abandon a group that was never born.
//   - When the log has grown long the owner is asked for a snapshot of its state, which takes the place of the log's
//     beginning, in one write. Members that lag too far behind, and new ones, are sent it in pieces, over frames of
//     this package's own (pieces.go). Snapshots are taken in the middle of a change of the voters only where a
//     member that is to come needs one: the change may be unable to end without it.
//   - A member is one incarnation of a peer. One that lost its disk, or finds it damaged, comes back as
//     another member, for a vote that is forgotten could be given twice.
//   - A member that was removed while it was away is told so by any member it asks for a vote.
//
// What raft would panic on is looked for in frames before raft sees them; what is left becomes Broken.
package quorum

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/dtpnode/dtpnode/tasks"
)

// ErrDamaged is the error, under errors.Is, of a log that cannot be what a replica wrote.
var ErrDamaged = errors.New("damaged log")

// The bounds of one frame and of the data of one proposal, by default.
const (
	MaxFrame    = 512 << 10
	MaxProposal = MaxFrame - frameRoom

	frameRoom = 1 << 10 // a frame around one entry
)

// Config sets a replica up. Zero values take the defaults.
type Config struct {
	Election  time.Duration // silence of the leader before a follower stands, at least; twice that at most; default 1 s
	Heartbeat time.Duration // between a leader's heartbeats; default 200 ms, at most half of Election
	Seed      uint64        // of the election time-outs, together with the member's ID
	Keys      Keys          // this peer's; needed
	Group     string        // the group's name, the same at all its members: it is part of all that is signed
	// Authority reports whether a peer may name the group's voters alone (Trust); nil for nobody.
	Authority func(by tasks.PeerID) bool
	MaxFrame  int // bound of one frame; default MaxFrame. Proposals are bounded by 1 KiB less

	// A snapshot is taken after so many entries, or so many bytes of them and a few entries; defaults 1,024 and 1 MiB.
	// The last SnapshotTail entries before it are kept, if they have no more than a quarter of the bytes; default an
	// eighth of the entries.
	SnapshotEntries, SnapshotBytes, SnapshotTail int
	MaxSnapshot                                  int // bound of the owner's state in it, bytes; default 64 MiB
	// CheckState reports why an owner's state, sent by another member, cannot be restored. It is asked before anything
	// is replaced; nil takes all.
	CheckState func(state []byte) error
}

func (c *Config) defaults() {
	tasks.Default(&c.Election, time.Second)
	tasks.Default(&c.Heartbeat, 200*time.Millisecond)
	c.Heartbeat = max(min(c.Heartbeat, c.Election/2), 1)
	tasks.Default(&c.MaxFrame, MaxFrame)
	c.MaxFrame = max(c.MaxFrame, 4*frameRoom)
	tasks.Default(&c.SnapshotEntries, 1024)
	tasks.Default(&c.SnapshotBytes, 1<<20)
	tasks.Default(&c.SnapshotTail, max(c.SnapshotEntries/8, 1))
	tasks.Default(&c.MaxSnapshot, 64<<20)
}

// Member is one incarnation of a peer as a replica. A peer that lost its disk comes back as another member.
type Member struct {
	ID   uint64       `msgpack:"i"`
	Peer tasks.PeerID `msgpack:"p"`
}

// NewMember is the member that a peer is in one of its incarnations. The ID is a hash of both.
func NewMember(peer tasks.PeerID, incarnation uint64) Member {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(peer+"\x00"), incarnation))
	id := binary.BigEndian.Uint64(h[:])
	if id == raft.None || raft.IsLocalMsgTarget(id) {
		id = 1 // those are raft's own
	}
	return Member{ID: id, Peer: peer}
}

// Entry is one record of the log as it goes to disk. Kind and Data mean nothing outside of this package.
type Entry struct {
	Index, Term uint64
	Kind        uint8
	Data        []byte
}

// Hard is what a replica must not forget. Commit may lag behind.
type Hard struct {
	Term, Vote, Commit uint64
	Lead               uint64 // whom it followed in Term, 0 for nobody yet: raft can do without that, but see doubt.go
}

// Log is what a replica has on disk: the group's founding voters, the same at each of its members for ever,
// and all that was written. Entries follow the Base of the snapshot, which is nil while the log is whole.
type Log struct {
	Self     Member
	Voters   []Member
	Hard     Hard
	Snapshot *Snapshot
	Entries  []Entry
}

// Event is what happens to a replica.
type Event interface{ isQuorumEvent() }

// Events.
type (
	// Tick lets time-outs pass; due when Wake says so.
	Tick struct{}
	// Recv is a frame from a peer, as it was sent by its Send. The peer is known to be who it says.
	Recv struct {
		From  tasks.PeerID
		Frame []byte
	}
	// Propose asks for an entry in the log, of any data but the byte 0xc1 alone, which is this package's. Without effect
	// unless this replica leads; it may be lost, and is known to be in the log only when it is applied.
	Propose struct{ Data []byte }
	// Change asks for other voters. Only a leader (Leading) does so, one change at a time. It does not remove
	// itself: one that is to go is stopped, and the next leader removes it. A removed ID never comes back. The
	// added members must be up, with a log of the group's founding voters: without their answers a group may
	// be unable to go on, and cannot go back.
	Change struct {
		Add    []Member
		Remove []uint64
	}
	// Snapshotted answers TakeSnapshot: the owner's state, as of Index. It must not be changed any more.
	Snapshotted struct {
		Index uint64
		State []byte
	}
	// ToSeal has a text sealed: all voters are given the same one by their owners, and the leader gathers their signatures
	// (Sealed). There is one text in a replica's life; a later one takes its place.
	ToSeal struct{ Text []byte }
	// Written says that a Write, and all before it, is on disk and survives a power cut.
	Written struct{ Seq uint64 }
	// NotWritten says that a Write has failed. The replica is Broken.
	NotWritten struct {
		Seq    uint64
		Reason string
	}
	// Campaign makes a voter stand for election now.
	Campaign struct{}
	// Transfer makes the voter To lead in place of this leader, as soon as it has the whole log. It may come to
	// nothing, and may be asked for again.
	Transfer struct{ To uint64 }
)

func (Tick) isQuorumEvent()        {}
func (Recv) isQuorumEvent()        {}
func (Propose) isQuorumEvent()     {}
func (Change) isQuorumEvent()      {}
func (Snapshotted) isQuorumEvent() {}
func (ToSeal) isQuorumEvent()      {}
func (Written) isQuorumEvent()     {}
func (NotWritten) isQuorumEvent()  {}
func (Campaign) isQuorumEvent()    {}
func (Transfer) isQuorumEvent()    {}

// Effect is what a replica wants done, in order.
type Effect interface{ isQuorumEffect() }

// Effects.
type (
	// Write wants the log truncated from Entries[0].Index on, the entries appended, Hard kept, and all of
	// it synced; answer with Written or NotWritten. The next Write comes after that. Entries may be none.
	// Their data is raft's, and must not be changed. A Snapshot takes the place of the one before and of the
	// entries up to its Base, or of all entries with Reset; in one step with all else, for without it the log
	// has no beginning.
	Write struct {
		Seq      uint64
		Hard     Hard
		Snapshot *Snapshot
		Reset    bool
		Entries  []Entry
	}
	// Send a frame to a peer; it may be lost, repeated, late.
	Send struct {
		To    tasks.PeerID
		Frame []byte
	}
	// Apply is a committed proposal. They come in the log's order, each once in a replica's life, after New
	// from the first again, or the first behind the snapshot.
	Apply struct {
		Index, Term uint64
		Data        []byte
	}
	// TakeSnapshot asks for the owner's state as it is now, after all Apply effects up to Index; answer with
	// Snapshotted, before the next Apply is carried out. An owner that does not answer is asked again later.
	TakeSnapshot struct{ Index uint64 }
	// Restore replaces the owner's state by that of a snapshot; Apply goes on after Index. It is the first effect
	// after New where there is a snapshot, and comes to members that lag too far behind; never while one leads.
	Restore struct {
		Index uint64
		State []byte
	}
	// Changed says that Members is another list from here on.
	Changed struct{ Members []Member }
	// Role says who leads in which term; at each change of any of these.
	Role struct {
		Leader  tasks.PeerID // empty if unknown
		Term    uint64
		Leading bool // this replica, and its record is complete
	}
	// Refused says that a Propose or Change was passed over, for another reason than that another leads.
	Refused struct{ Reason string }
	// Suspect says that a peer has sent what no honest replica sends: not by an accident, a delay or a lost disk.
	Suspect struct {
		From tasks.PeerID
		What string
	}
	// Removed says that this member is one no more. It stands for no election, but others may need its vote
	// to finish the change: stop it a few election time-outs later.
	Removed struct{}
	// Astray says that a frame came from a peer for another member than this one, which this peer was before. Whoever
	// sends it may not know of what has happened since (Recover).
	Astray struct{ From tasks.PeerID }
	// Broken says that the replica cannot go on; it does nothing any more.
	Broken struct{ Reason string }
)

func (Write) isQuorumEffect()        {}
func (Send) isQuorumEffect()         {}
func (Apply) isQuorumEffect()        {}
func (TakeSnapshot) isQuorumEffect() {}
func (Restore) isQuorumEffect()      {}
func (Changed) isQuorumEffect()      {}
func (Role) isQuorumEffect()         {}
func (Refused) isQuorumEffect()      {}
func (Suspect) isQuorumEffect()      {}
func (Removed) isQuorumEffect()      {}
func (Astray) isQuorumEffect()       {}
func (Broken) isQuorumEffect()       {}
