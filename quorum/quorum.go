// Package quorum is one peer's copy of one replicated log: etcd-io/raft's RawNode with deterministic elections. It is
// pure: Step(now, event) returns effects, and nothing inside knows a clock, a disk, a network or a source of chance but
// the seed that it is given. What it wants written its owner writes and syncs, and confirms; only then are the messages
// sent that depend on it.
//
// It differs from plain raft:
//
//   - raft draws election timeouts from crypto/rand. Here raft's own countdown never runs, and one beside it, which is
//     drawn from the seed, makes the replica stand for election. Pre-votes and the leader's quorum check are on.
//   - A voter with an empty log stands only when told to (Campaign). So a founder can start the founding voters in
//     any order, and abandon a group before it has begun.
//   - When the log has grown long the owner is asked for a snapshot of its state, which replaces the log's beginning in
//     one write. New voters, and those that lag too far behind, receive it in pieces, in frames of this package
//     (pieces.go). During a change of the voters a snapshot is taken only if a new voter needs one, since the change
//     may be unable to complete without it.
//   - A voter is one incarnation of a peer. A peer that lost its disk, or finds it damaged, comes back as another
//     voter, since a vote that is forgotten could be given twice.
//   - A voter that was removed while it was away is told so by any voter that it asks for a vote.
//
// Frames that would make raft panic are dropped before raft sees them; a panic that remains becomes Broken.
//
// A Replica is carved into parts, each with its invariant: who may vote (voters.go, and change.go for how that
// changes), what is written (ready.go) and compacted (snapshot.go, pieces.go), what is proven to others (proof.go),
// when it stands for election (election.go), and what it holds against voters that lie (suspicion.go). Frames come in
// through frame.go.
package quorum

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/dtpnode/dtpnode/tasks"
)

// ErrDamaged is the error, under errors.Is, of a log that no replica can have written.
var ErrDamaged = errors.New("damaged log")

// These are the default bounds of one frame and of the data of one proposal, in bytes.
const (
	MaxFrame    = 512 << 10
	MaxProposal = MaxFrame - frameRoom

	frameRoom = 1 << 10 // bytes of a frame beside the data of its entry
)

// Config sets a replica up. Zero values take the defaults.
type Config struct {
	Election  time.Duration // election timeout: a follower stands after one to two of these without a leader; default 1 s
	Heartbeat time.Duration // time between a leader's heartbeats; default 200 ms, at most half of Election
	Seed      uint64        // seed of the election timeouts, together with the voter's ID
	Keys      Keys          // this peer's; required
	Group     string        // the group's name, the same at all its voters: it is part of every signed text
	// Authority reports whether a peer may determine the group's voters by its signature alone (Trust); nil for nobody.
	Authority func(by tasks.PeerID) bool
	MaxFrame  int // bound of one frame in bytes; default MaxFrame. Proposals may have 1 KiB less

	// A snapshot is taken after SnapshotEntries entries, or after a few entries with SnapshotBytes bytes; defaults 1,024
	// and 1 MiB. The last SnapshotTail entries before it are kept, if they have no more than a quarter of these bytes;
	// default an eighth of the entries.
	SnapshotEntries, SnapshotBytes, SnapshotTail int
	MaxSnapshot                                  int // bound of the owner's state in a snapshot, in bytes; default 64 MiB
	// CheckState reports why an owner's state, which another voter sent, cannot be restored. It is called before anything
	// is replaced; nil accepts all.
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

// Voter is one incarnation of a peer in a group: one that has a vote, is to get one, or had one. A peer that lost its
// disk comes back as another voter.
type Voter struct {
	ID   uint64       `msgpack:"i"`
	Peer tasks.PeerID `msgpack:"p"`
}

// NewVoter returns the voter that an incarnation of a peer is. Its ID is a hash of both.
func NewVoter(peer tasks.PeerID, incarnation uint64) Voter {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(peer+"\x00"), incarnation))
	id := binary.BigEndian.Uint64(h[:])
	if id == raft.None || raft.IsLocalMsgTarget(id) {
		id = 1 // raft uses those IDs itself
	}
	return Voter{ID: id, Peer: peer}
}

// Entry is one record of the log as it is written to disk. Kind and Data have no meaning outside of this package.
type Entry struct {
	Index, Term uint64
	Kind        uint8
	Data        []byte
}

// Hard is raft's hard state, which a replica must not forget. Commit may lag behind.
type Hard struct {
	Term, Vote, Commit uint64
	Lead               uint64 // the leader it followed in Term, 0 for none yet; raft can do without, see suspicion.go
}

// Log is what a replica has on disk: the group's founding voters, which never change and are the same at each voter,
// and all that was written. Entries begin after the Base of the snapshot; Snapshot is nil while the log is whole.
type Log struct {
	Self     Voter
	Voters   []Voter
	Hard     Hard
	Snapshot *Snapshot
	Entries  []Entry
}

// Event is what happens to a replica.
type Event interface{ isQuorumEvent() }

// These are the events.
type (
	// Tick lets timeouts expire; it is due at Wake.
	Tick struct{}
	// Recv is a frame from a peer's Send effect. The caller has authenticated the peer.
	Recv struct {
		From  tasks.PeerID
		Frame []byte
	}
	// Propose asks for an entry in the log with this data, which may not be the byte 0xc1 alone, since this package uses
	// that. It has no effect unless this replica leads. It may be lost, and is in the log for sure only when it is
	// applied.
	Propose struct{ Data []byte }
	// Change asks for other voters. Only a leader (Leading) accepts it, one change at a time. A leader does not remove
	// itself: stop it, and the next leader removes it. A removed ID never comes back. The added voters must be running,
	// with a log of the group's founding voters: without their answers the group may be unable to go on, and the change
	// cannot be undone.
	Change struct {
		Add    []Voter
		Remove []uint64
	}
	// Snapshotted answers TakeSnapshot with the owner's state as of Index, which must not be modified afterwards.
	Snapshotted struct {
		Index uint64
		State []byte
	}
	// ToSeal has a text sealed: the owners give all voters the same text, and the leader gathers their signatures
	// (Sealed). A replica has one text; a later one replaces it.
	ToSeal struct{ Text []byte }
	// Written confirms that a Write, and all before it, is on disk and survives a power cut.
	Written struct{ Seq uint64 }
	// NotWritten says that a Write has failed. The replica becomes Broken.
	NotWritten struct {
		Seq    uint64
		Reason string
	}
	// Campaign makes a voter stand for election now.
	Campaign struct{}
	// Transfer makes the voter To lead in place of this leader, as soon as it has the whole log. It may fail without
	// notice, and may be asked for again.
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

// Effect is something that the owner must do; effects are in order.
type Effect interface{ isQuorumEffect() }

// These are the effects.
type (
	// Write asks the owner to truncate the log from Entries[0].Index on, append Entries, which may be empty, store Hard,
	// and sync it all; the answer is Written or NotWritten, and the next Write comes after that. The data of the entries
	// belongs to raft and must not be modified. A Snapshot replaces the one before it and the entries up to its Base, or
	// all entries with Reset. Everything happens in one atomic step, since without the snapshot the log has no beginning.
	Write struct {
		Seq      uint64
		Hard     Hard
		Snapshot *Snapshot
		Reset    bool
		Entries  []Entry
	}
	// Send sends a frame to a peer. It may be lost, repeated or delayed.
	Send struct {
		To    tasks.PeerID
		Frame []byte
	}
	// Apply is a committed proposal. They come in the order of the log, each once in a replica's life. After New they
	// begin with the first entry again, or with the first one after the snapshot.
	Apply struct {
		Index, Term uint64
		Data        []byte
	}
	// TakeSnapshot asks for the owner's state as it is now, after all Apply effects up to Index. The answer is
	// Snapshotted, before the next Apply is carried out. An owner that does not answer is asked again later.
	TakeSnapshot struct{ Index uint64 }
	// Restore replaces the owner's state by that of a snapshot; Apply continues after Index. It is the first effect after
	// New where there is a snapshot, and later comes to a voter that lags too far behind, but never while it leads.
	Restore struct {
		Index uint64
		State []byte
	}
	// Changed says that these are the voters from here on.
	Changed struct{ Voters []Voter }
	// Role says who leads in which term. It is emitted whenever any of its fields changes.
	Role struct {
		Leader  tasks.PeerID // empty if unknown
		Term    uint64
		Leading bool // this replica leads, and has applied all that was committed before
	}
	// Refused says that a Propose, Change or Snapshotted was not accepted, for another reason than that this replica does
	// not lead.
	Refused struct{ Reason string }
	// Suspect says that a peer has sent what no honest replica sends, even after a crash, a delay or the loss of its disk.
	Suspect struct {
		From tasks.PeerID
		What string
	}
	// Removed says that this voter was removed. It does not stand for election, but others may need its vote to complete
	// the change, so stop it a few election timeouts later.
	Removed struct{}
	// Misaddressed says that a peer has sent a frame to an earlier incarnation of this peer. The sender may not know what
	// has happened since (Recover).
	Misaddressed struct{ From tasks.PeerID }
	// Broken says that the replica cannot go on and ignores all further events.
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
func (Misaddressed) isQuorumEffect() {}
func (Broken) isQuorumEffect()       {}
