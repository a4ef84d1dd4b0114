package quorum

import (
	"encoding/binary"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A frame is a byte that says what follows, and that.
const (
	frameRaft  = 0 // a raftpb.Message
	frameGone  = 1 // the ID of a member that was removed, 8 bytes, big-endian, and a Chain that shows it, as msgpack
	framePiece = 2 // of a snapshot, from the leader (pieces.go)
	frameWant  = 3 // asks for more of a snapshot
	// the IDs of a leader and of whom it wants to lead in its place, and its term, 8 bytes each, big-endian
	frameHeir   = 4
	frameAsk    = 5 // an ask, from the leader (proof.go)
	frameSigned = 6 // the answer to it, a signed

	heirSize = 1 + 8 + 8 + 8
)

const (
	maxTerm    = 1 << 62 // no group gets there
	maxHearsay = 64      // senders remembered that the log does not name
	// transferVote is raft's mark on the request for a vote of a member that stands because its leader says so: it
	// is answered though that leader was heard just now.
	transferVote = "CampaignTransfer"
	minEntry     = 8 // bytes of an encoded entry, at least: what a frame declares is bounded before it is read
)

// send encodes raft's messages.
func (r *Replica) send(ms []raftpb.Message) {
	for i := range ms {
		if ms[i].Type == raftpb.MsgSnap {
			r.offer(ms[i])
			continue
		}
		if ms[i].Type == raftpb.MsgTimeoutNow {
			r.sendHeir(ms[i].To, ms[i].Term)
		}
		to := r.peer(ms[i].To)
		if to == "" {
			continue
		}
		frame := make([]byte, 1+ms[i].Size())
		frame[0] = frameRaft
		if _, err := ms[i].MarshalTo(frame[1:]); err != nil {
			panic(err.Error())
		}
		r.emit(Send{To: to, Frame: frame})
	}
}

// sendGone tells a member that it is none any more, and shows it.
func (r *Replica) sendGone(to tasks.PeerID, id uint64) {
	b, err := wire.Marshal(&r.chain)
	if err == nil {
		r.emit(Send{To: to, Frame: append(binary.BigEndian.AppendUint64([]byte{frameGone}, id), b...)})
	}
}

// recv takes a frame. What is malformed, meant for another incarnation, or no message that a replica sends is
// dropped.
func (r *Replica) recv(from tasks.PeerID, frame []byte) {
	if len(frame) == 0 || len(frame) > r.cfg.MaxFrame {
		return
	}
	switch frame[0] {
	case frameGone:
		r.recvGone(frame)
		return
	case frameHeir:
		r.recvHeir(from, frame)
		return
	case frameAsk:
		r.recvAsk(from, frame[1:])
		return
	case frameSigned:
		r.recvSigned(from, frame[1:])
		return
	case framePiece, frameWant:
		h, data, ok := decodePiece(frame[1:])
		switch {
		case !ok || h.To != r.self.ID || from == "":
		case frame[0] == framePiece:
			r.recvPiece(from, h, data)
		case len(data) == 0:
			r.recvWant(from, h)
		}
		return
	}
	var m raftpb.Message
	if frame[0] != frameRaft || !readable(frame[1:]) || m.Unmarshal(frame[1:]) != nil {
		return
	}
	if earlier, known := r.peers[m.To]; m.To != r.self.ID && known && earlier == r.self.Peer && from != "" {
		r.emit(Astray{From: from})
	}
	if m.To != r.self.ID || m.From == r.self.ID || !r.sender(from, m) || !plausible(m) {
		return
	}
	r.heard[m.From] = r.now
	if vote := m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote; vote && r.gone(m.From) {
		r.sendGone(from, m.From)
		return
	}
	if r.may(&m) {
		r.take(m)
	}
}

// recvGone believes a later set of voters, without this member, that those whom it knows of have signed.
func (r *Replica) recvGone(frame []byte) {
	var c Chain
	if len(frame) < 1+8 || binary.BigEndian.Uint64(frame[1:]) != r.self.ID || !r.member(r.self.ID) || r.removed ||
		wire.Unmarshal(frame[9:], &c) != nil {
		return
	}
	if now := c.Conf(); now.Seq > r.chain.Conf().Seq && Epoch(now.Term) == r.epoch() && now.peer(r.self.ID) == "" &&
		r.trust(r.cfg.Authority).checkChain(c) == nil {
		r.remove()
	}
}

// epoch is that of the group that this copy is of. Another's word that it was recovered comes beside the frames.
func (r *Replica) epoch() uint64 { return Epoch(r.chain.Conf().Term) }

// readable looks through an encoded message before it is decoded: only the fields that replicas send, and no
// more entries than its bytes can hold.
func readable(b []byte) bool {
	entries, size := 0, len(b)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		switch {
		case num == 7 && typ == protowire.BytesType:
			entries++
		case num == 12 && typ == protowire.BytesType:
			if v, n := protowire.ConsumeBytes(b); n < 0 || string(v) != transferVote {
				return false
			}
		case num > 13 || num == 9 || num == 12 || num == 7 || typ != protowire.VarintType:
			return false // a snapshot, responses: none are ever sent so
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return entries <= size/minEntry
}

// plausible reports whether some replica may have sent m, as far as m itself tells.
func plausible(m raftpb.Message) bool {
	switch m.Type {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp,
		raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
	default:
		return false
	}
	if len(m.Context) > 0 && m.Type != raftpb.MsgVote {
		return false
	}
	if m.Term == 0 || m.Term > maxTerm || m.LogTerm > maxTerm || (len(m.Entries) > 0 && m.Type != raftpb.MsgApp) {
		return false // to raft a message without a term is its own
	}
	index, term := m.Index, m.LogTerm
	if index == 0 && term != 0 && m.Type == raftpb.MsgApp {
		return false
	}
	for _, e := range m.Entries {
		if e.Index != index+1 || e.Term < max(term, 1) || e.Term > m.Term || checkKind(e.Type, e.Data) != nil {
			return false
		}
		index, term = e.Index, e.Term
	}
	return true
}

// take gives a message to raft, unless raft would panic on it.
func (r *Replica) take(m raftpb.Message) {
	before := r.node.BasicStatus()
	if mutant.On(mutant.StaleTerm) {
		m.Term = max(m.Term, before.Term)
	}
	if m.Term == before.Term && m.Type == raftpb.MsgAppResp && !m.Reject && m.Index > r.last {
		r.suspect(r.peer(m.From), "acknowledges what was never sent")
		return
	}
	if m.Term >= before.Term && m.Type == raftpb.MsgHeartbeat && m.Commit > r.last {
		// A leader that has this member's word for entries which the disk has lost does not hear from it any more, gives
		// way, and finds out in its next term what is here.
		if r.member(m.From) {
			r.suspect(r.peer(m.From), "says that entries are committed which this replica never acknowledged, or its disk has "+
				"lost them")
		}
		return
	}
	if m.Type == raftpb.MsgTimeoutNow && !r.mayLeadNow(r.self.ID) {
		return
	}
	if m.Type == raftpb.MsgTimeoutNow && (m.Term != before.Term || m.From != before.Lead) {
		return // not its leader's word
	}
	if r.node.Step(m) != nil {
		return
	}
	after := r.node.BasicStatus()
	word := after.Lead == m.From && after.Term == m.Term && (m.Type == raftpb.MsgApp || m.Type == raftpb.MsgHeartbeat)
	voted := after.Vote != before.Vote && after.Vote != raft.None
	if word || voted {
		r.rest()
	}
	if word || (voted && len(m.Context) > 0) {
		r.led = r.now + r.cfg.Election
	}
}
