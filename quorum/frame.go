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
	frameRaft = 0 // the length of a proof, 4 bytes, big-endian; the proof in msgpack; a raftpb.Message
	frameGone = 1 // the ID of a member that was removed, 8 bytes, big-endian; the Chain of voters without it, in msgpack
	frameShow = 2 // the IDs of a leader that has not shown its mandate, and of the sender, 8 bytes each, big-endian

	showSize = 1 + 8 + 8
)

const (
	maxTerm = 1 << 62 // no group gets there
	// transferVote is raft's mark on the request for a vote of a member that stands because its leader says so: it
	// is answered though that leader was heard just now.
	transferVote = "CampaignTransfer"
	minEntry     = 8 // bytes of an encoded entry, at least: what a frame declares is bounded before it is read
)

// send encodes raft's messages.
func (r *Replica) send(ms []raftpb.Message) {
	for i := range ms {
		to := r.peer(ms[i].To)
		if to == "" {
			continue
		}
		r.emit(Send{To: to, Frame: encodeFrame(ms[i], r.prove(ms[i]))})
	}
}

func encodeFrame(m raftpb.Message, p proof) []byte {
	b, err := wire.Marshal(&p)
	if err != nil {
		panic(err.Error())
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{frameRaft}, uint32(len(b))), b...)
	at := len(frame)
	frame = append(frame, make([]byte, m.Size())...)
	if _, err := m.MarshalTo(frame[at:]); err != nil {
		panic(err.Error())
	}
	return frame
}

func decodeFrame(frame []byte) (m raftpb.Message, p proof, ok bool) {
	if len(frame) < 5 {
		return m, p, false
	}
	n, body := uint64(binary.BigEndian.Uint32(frame[1:])), frame[5:]
	if n > uint64(len(body)) || !readable(body[n:]) || wire.Unmarshal(body[:n], &p) != nil {
		return m, p, false
	}
	return m, p, m.Unmarshal(body[n:]) == nil
}

// sendGone tells a member that it is none any more, and proves it.
func (r *Replica) sendGone(to tasks.PeerID, id uint64) {
	if b, err := wire.Marshal(&r.chain); err == nil && r.chain.Conf().peer(id) == "" {
		r.emit(Send{To: to, Frame: append(binary.BigEndian.AppendUint64([]byte{frameGone}, id), b...)})
	}
}

// sendShow asks a leader for its mandate: this replica has come back, or the frame with it was lost.
func (r *Replica) sendShow(to tasks.PeerID, id uint64) {
	frame := binary.BigEndian.AppendUint64([]byte{frameShow}, id)
	r.emit(Send{To: to, Frame: binary.BigEndian.AppendUint64(frame, r.self.ID)})
}

// recv takes a frame. What is malformed, meant for another incarnation, or no message that a replica sends is
// dropped.
func (r *Replica) recv(from tasks.PeerID, frame []byte) {
	if len(frame) == 0 || len(frame) > r.cfg.MaxFrame {
		return
	}
	switch frame[0] {
	case frameRaft:
		m, p, ok := decodeFrame(frame)
		if ok && m.To == r.self.ID && m.From != r.self.ID && plausible(m) && m.From != raft.None && !raft.IsLocalMsgTarget(m.From) {
			r.hear(from, m, p)
		}
	case frameGone:
		r.recvGone(frame)
	case frameShow:
		if len(frame) == showSize && binary.BigEndian.Uint64(frame[1:]) == r.self.ID {
			if id := binary.BigEndian.Uint64(frame[9:]); r.peer(id) == from {
				delete(r.shown, id)
			}
		}
	}
}

// recvGone believes, whoever says so, voters that follow those known here, and are without this member.
func (r *Replica) recvGone(frame []byte) {
	var c Chain
	if len(frame) < 9 || binary.BigEndian.Uint64(frame[1:]) != r.self.ID || wire.Unmarshal(frame[9:], &c) != nil {
		return
	}
	if conf := c.Conf(); conf.Seq > r.chain.Conf().Seq && conf.peer(r.self.ID) == "" && r.extends(c) {
		r.remove()
	}
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
			return false // a snapshot, responses: none are ever sent
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
	if after.RaftState == raft.StateLeader && before.RaftState != raft.StateLeader {
		r.elected(after.Term)
	}
	word := after.Lead == m.From && after.Term == m.Term && (m.Type == raftpb.MsgApp || m.Type == raftpb.MsgHeartbeat)
	if voted := after.Vote != before.Vote && after.Vote != raft.None; word || voted {
		r.rest()
	}
}
