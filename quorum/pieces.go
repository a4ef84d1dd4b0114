package quorum

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/dtpnode/dtpnode/tasks"
)

// A snapshot is sent to a voter in pieces, which the voter asks for. Only the voter knows what has arrived, so it
// can continue there after a loss, also with another leader that offers the same snapshot.
//
//	piece  kind, head, bytes from Offset on; none of them is an offer
//	want   kind, head: send pieces from Offset on
//
// The head is that of pieceHead, big-endian.

// pieceHead begins each frame about a snapshot.
type pieceHead struct {
	To, From    uint64 // IDs of the receiving and the sending voter
	Term        uint64 // the leader's term
	Index, Last uint64 // last entry in the snapshot, and that entry's term
	Size        uint64 // size of the snapshot's data, in bytes
	Sum         [sha256.Size]byte
	Offset      uint64
}

const (
	pieceHeadSize = 7*8 + sha256.Size
	pieceWindow   = 4 // pieces sent for each want
)

func (h pieceHead) frame(kind byte, data []byte) []byte {
	out := make([]byte, 0, 1+pieceHeadSize+len(data))
	out = append(out, kind)
	for _, v := range []uint64{h.To, h.From, h.Term, h.Index, h.Last, h.Size} {
		out = binary.BigEndian.AppendUint64(out, v)
	}
	out = append(out, h.Sum[:]...)
	return append(binary.BigEndian.AppendUint64(out, h.Offset), data...)
}

func decodePiece(b []byte) (h pieceHead, data []byte, ok bool) {
	if len(b) < pieceHeadSize {
		return h, nil, false
	}
	for _, v := range []*uint64{&h.To, &h.From, &h.Term, &h.Index, &h.Last, &h.Size} {
		*v, b = binary.BigEndian.Uint64(b), b[8:]
	}
	b = b[copy(h.Sum[:], b):]
	h.Offset = binary.BigEndian.Uint64(b)
	return h, b[8:], true
}

// same reports whether two heads belong to the same snapshot.
func (h pieceHead) same(o pieceHead) bool {
	return h.Index == o.Index && h.Last == o.Last && h.Size == o.Size && h.Sum == o.Sum
}

// outgoing is the snapshot that a leader sends.
type outgoing struct {
	pieceHead
	data []byte
}

// incoming is a snapshot that this replica is receiving.
type incoming struct {
	pieceHead
	from  tasks.PeerID
	data  []byte
	until uint64        // end of the bytes that were asked for
	asked time.Duration // when they were asked for
}

// pieces is the snapshots on their way between voters, one in each direction at most: a leader sends, and all others
// receive.
type pieces struct {
	serving  *outgoing
	incoming *incoming
}

// offer begins to send the snapshot in a raft message.
func (r *Replica) offer(m raftpb.Message) {
	s := m.Snapshot
	if r.pieces.serving == nil || r.pieces.serving.Index != s.Metadata.Index || r.pieces.serving.Last != s.Metadata.Term {
		r.pieces.serving = &outgoing{
			pieceHead: pieceHead{
				Index: s.Metadata.Index,
				Last:  s.Metadata.Term,
				Size:  uint64(len(s.Data)),
				Sum:   sha256.Sum256(s.Data),
			},
			data: s.Data,
		}
	}
	r.sendPiece(m.To, 0, 0)
}

// sendPiece sends a voter up to n bytes of the snapshot.
func (r *Replica) sendPiece(to uint64, offset, n uint64) {
	h := r.pieces.serving.pieceHead
	h.To, h.From, h.Term, h.Offset = to, r.self.ID, r.node.BasicStatus().Term, offset
	if peer := r.voters.peer(to); peer != "" {
		r.emit(Send{To: peer, Frame: h.frame(framePiece, r.pieces.serving.data[offset:offset+n])})
	}
}

// offerAgain repeats offers that may be lost. Where the snapshot is no longer of use to a voter, it has raft start
// over with that voter.
func (r *Replica) offerAgain() {
	if r.pieces.serving == nil {
		return
	}
	if !r.leads() {
		r.pieces.serving = nil
		return
	}
	var waiting, stuck []uint64
	first, _ := r.disk.FirstIndex()
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		switch {
		case pr.State != tracker.StateSnapshot:
		case pr.Match >= r.pieces.serving.Index || r.pieces.serving.Index+1 < first:
			stuck = append(stuck, id)
		default:
			waiting = append(waiting, id)
		}
	})
	if len(waiting) == 0 {
		r.pieces.serving = nil
	}
	for _, id := range waiting {
		r.sendPiece(id, 0, 0)
	}
	for _, id := range stuck {
		r.node.ReportSnapshot(id, raft.SnapshotFailure)
	}
}

// recvWant answers a voter only if raft knows that it needs the snapshot.
func (r *Replica) recvWant(from tasks.PeerID, h pieceHead) {
	if r.pieces.serving == nil || !r.leads() || r.voters.peers[h.From] != from || !r.voters.has(h.From) {
		return
	}
	needs := false
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		needs = needs || id == h.From && pr.State == tracker.StateSnapshot
	})
	switch {
	case !needs:
	case !h.same(r.pieces.serving.pieceHead) || h.Offset > h.Size:
		r.sendPiece(h.From, 0, 0)
	default:
		r.hearing.note(h.From, r.now)
		size := r.pieceSize()
		for at := h.Offset; at < h.Size && at < h.Offset+pieceWindow*size; at += size {
			r.sendPiece(h.From, at, min(size, h.Size-at))
		}
	}
}

func (r *Replica) pieceSize() uint64 { return uint64(r.cfg.MaxFrame / 2) }

// recvPiece handles an offer or a piece. Only the leader of the current term is accepted, one snapshot is received at a
// time, and memory grows only with what has arrived.
func (r *Replica) recvPiece(from tasks.PeerID, h pieceHead, data []byte) {
	s := r.node.BasicStatus()
	switch {
	case r.voters.peer(h.From) != from || s.Lead != h.From || s.Term != h.Term || h.From == r.self.ID:
		return
	case h.Index == 0 || h.Last == 0 || h.Last > h.Term || h.Size == 0 || h.Size > uint64(r.cfg.MaxSnapshot+snapshotRoom):
		return
	}
	r.hearing.note(h.From, r.now)
	if h.Index <= s.Commit { // its entries are here already, and raft tells the leader so
		r.pieces.incoming = nil
		r.take(raftpb.Message{Type: raftpb.MsgSnap, From: h.From, To: r.self.ID, Term: h.Term,
			Snapshot: &raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{Index: h.Index, Term: h.Last}}})
		return
	}
	in := r.pieces.incoming
	if in == nil || !in.same(h) {
		if in != nil && in.Term == h.Term && in.Index > h.Index {
			return // an offer that was delayed
		}
		in = &incoming{pieceHead: h}
		r.pieces.incoming = in
	}
	fresh := in.from != from || in.From != h.From || in.Term != h.Term
	in.from, in.From, in.Term = from, h.From, h.Term
	if n := uint64(len(in.data)); len(data) > 0 && h.Offset == n && uint64(len(data)) <= in.Size-n {
		in.data = append(in.data, data...)
	}
	switch n := uint64(len(in.data)); {
	case n == in.Size:
		r.install(in)
	case fresh || n >= in.until:
		r.askPieces(in)
	}
}

// askPieces asks for the bytes that are missing.
func (r *Replica) askPieces(in *incoming) {
	h := in.pieceHead
	h.To, h.From, h.Offset = in.From, r.self.ID, uint64(len(in.data))
	in.until, in.asked = min(h.Offset+pieceWindow*r.pieceSize(), in.Size), r.now
	r.emit(Send{To: in.from, Frame: h.frame(frameWant, nil)})
}

// askAgain asks again for pieces that did not come.
func (r *Replica) askAgain() {
	in := r.pieces.incoming
	if in == nil {
		return
	}
	s := r.node.BasicStatus()
	switch {
	case in.Index <= s.Commit:
		r.pieces.incoming = nil
	case s.Lead == in.From && s.Term == in.Term && r.now-in.asked >= r.cfg.Election/2:
		r.askPieces(in)
	case r.now-in.asked >= 60*r.cfg.Election: // no leader offers it any more
		r.pieces.incoming = nil
	}
}

// install passes a complete snapshot to raft, if its hash matches and it can be restored.
func (r *Replica) install(in *incoming) {
	r.pieces.incoming = nil
	if sum := sha256.Sum256(in.data); !bytes.Equal(sum[:], in.Sum[:]) {
		return
	}
	c, err := decodeContent(in.data)
	if err != nil || r.trust(r.cfg.Authority).checkVoters(c) != nil ||
		r.cfg.CheckState != nil && r.cfg.CheckState(c.State) != nil {
		return
	}
	r.take(raftpb.Message{Type: raftpb.MsgSnap, From: in.From, To: r.self.ID, Term: in.Term, Snapshot: &raftpb.Snapshot{
		Data: in.data, Metadata: raftpb.SnapshotMetadata{Index: in.Index, Term: in.Last, ConfState: c.conf()}}})
}
