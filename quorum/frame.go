package quorum

import (
	"encoding/binary"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// A frame is a byte that says what follows, and that.
const (
	frameRaft  = 0 // a raftpb.Message
	frameGone  = 1 // the IDs of a member that was removed, and of the sender, 8 bytes each, big-endian
	framePiece = 2 // of a snapshot, from the leader (pieces.go)
	frameWant  = 3 // asks for more of a snapshot

	goneSize = 1 + 8 + 8
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

// sendGone tells a member that it is none any more.
func (r *Replica) sendGone(to tasks.PeerID, id uint64) {
	frame := binary.BigEndian.AppendUint64([]byte{frameGone}, id)
	r.emit(Send{To: to, Frame: binary.BigEndian.AppendUint64(frame, r.self.ID)})
}

// recv takes a frame. What is malformed, meant for another incarnation, or no message that a replica sends is
// dropped.
func (r *Replica) recv(from tasks.PeerID, frame []byte) {
	if len(frame) == 0 || len(frame) > r.cfg.MaxFrame {
		return
	}
	switch frame[0] {
	case frameGone:
		r.recvGone(from, frame)
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
	if r.member(m.From) {
		r.spoke[m.From] = r.now
	}
	if vote := m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote; vote && r.gone(m.From) {
		r.sendGone(from, m.From)
		return
	}
	r.take(m)
}

func (r *Replica) recvGone(from tasks.PeerID, frame []byte) {
	if len(frame) != goneSize || binary.BigEndian.Uint64(frame[1:]) != r.self.ID {
		return
	}
	if p, known := r.peers[binary.BigEndian.Uint64(frame[9:])]; known && p == from {
		r.remove()
	}
}

// sender reports whether a message comes from the peer whose member it says it is from. Members that the log
// does not name are believed, for a new member hears from the others before it has the log, and remembered
// for the answer.
func (r *Replica) sender(from tasks.PeerID, m raftpb.Message) bool {
	if m.From == raft.None || raft.IsLocalMsgTarget(m.From) || from == "" {
		return false
	}
	if p := r.peer(m.From); p != "" {
		return p == from
	}
	if raft.IsResponseMsg(m.Type) || len(r.hearsay) >= maxHearsay {
		return false
	}
	r.hearsay[m.From] = from
	return true
}

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
		return // acknowledges what was never sent
	}
	if m.Term >= before.Term && m.Type == raftpb.MsgHeartbeat && m.Commit > r.last {
		if r.member(m.From) {
			r.fail("the leader has this member's word for entries that are not in its log any more: the disk has lost them")
		}
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
	if voted := after.Vote != before.Vote && after.Vote != raft.None; word || voted {
		r.rest()
	}
}
