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

// A frame is a byte that says what follows, and the content of that kind.
const (
	frameRaft  = 0 // an encoded raftpb.Message
	frameGone  = 1 // the ID of a removed voter, 8 bytes, big-endian, and as msgpack a Chain that proves the removal
	framePiece = 2 // a piece of a snapshot, from the leader (pieces.go)
	frameWant  = 3 // a request for more pieces of a snapshot
	// the IDs of a leader and of the voter to which it transfers its leadership, and its term, 8 bytes each, big-endian
	frameTransfer = 4
	frameAsk      = 5 // an ask, from the leader (proof.go)
	frameSigned   = 6 // the answer to it, a signed

	transferSize = 1 + 8 + 8 + 8
)

const (
	maxTerm     = 1 << 62 // bound of the terms, which no group reaches
	maxUnlisted = 64      // senders remembered that are not in the log
	// transferVote is raft's mark on the vote request of a candidate that stands because the leader transfers its
	// leadership to it: voters respond although the leader's lease has not expired.
	transferVote = "CampaignTransfer"
	minEntry     = 8 // least bytes of an encoded entry, which bound the entries of a frame before it is decoded
)

// send emits raft's messages as frames.
func (r *Replica) send(ms []raftpb.Message) {
	for i := range ms {
		if ms[i].Type == raftpb.MsgSnap {
			r.offer(ms[i])
			continue
		}
		if ms[i].Type == raftpb.MsgTimeoutNow {
			r.sendTransfer(ms[i].To, ms[i].Term)
		}
		to := r.voters.peer(ms[i].To)
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

// sendGone tells a peer that its voter id was removed, with the proof.
func (r *Replica) sendGone(to tasks.PeerID, id uint64) {
	b, err := wire.Marshal(&r.proofs.chain)
	if err == nil {
		r.emit(Send{To: to, Frame: append(binary.BigEndian.AppendUint64([]byte{frameGone}, id), b...)})
	}
}

// recv handles a frame. It drops what is malformed, addressed to another incarnation of this peer, or not what a
// replica sends.
func (r *Replica) recv(from tasks.PeerID, frame []byte) {
	if len(frame) == 0 || len(frame) > r.cfg.MaxFrame {
		return
	}
	switch frame[0] {
	case frameGone:
		r.recvGone(frame)
		return
	case frameTransfer:
		r.recvTransfer(from, frame)
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
	if earlier, known := r.voters.peers[m.To]; m.To != r.self.ID && known && earlier == r.self.Peer && from != "" {
		r.emit(Misaddressed{From: from})
	}
	if m.To != r.self.ID || m.From == r.self.ID || !r.sender(from, m) || !plausible(m) {
		return
	}
	r.hearing.note(m.From, r.now)
	if vote := m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote; vote && r.voters.left(m.From) {
		r.sendGone(from, m.From)
		return
	}
	if r.accepts(&m) {
		r.take(m)
	}
}

// recvGone accepts that this voter was removed if the voters known here have signed a later set of voters without it.
func (r *Replica) recvGone(frame []byte) {
	var c Chain
	if len(frame) < 1+8 || binary.BigEndian.Uint64(frame[1:]) != r.self.ID || !r.voters.has(r.self.ID) ||
		r.voters.removed || wire.Unmarshal(frame[9:], &c) != nil {
		return
	}
	if now := c.Conf(); now.Seq > r.proofs.chain.Conf().Seq && Epoch(now.Term) == r.epoch() && now.peer(r.self.ID) == "" &&
		r.trust(r.cfg.Authority).checkChain(c) == nil {
		r.remove()
	}
}

// epoch is the epoch of the group that this copy belongs to. That the group was recovered is announced by the owner,
// not in frames.
func (r *Replica) epoch() uint64 { return Epoch(r.proofs.chain.Conf().Term) }

// readable checks an encoded message before it is decoded: that it has only the fields that replicas send, and no more
// entries than fit into its bytes.
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
			return false // a snapshot or responses, which are never sent in this form
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return entries <= size/minEntry
}

// plausible reports whether a replica may have sent m, as far as m alone shows.
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
		return false // raft takes a message without a term for a local one
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

// take passes a message to raft, unless raft would panic on it.
func (r *Replica) take(m raftpb.Message) {
	before := r.node.BasicStatus()
	if mutant.On(mutant.StaleTerm) {
		m.Term = max(m.Term, before.Term)
	}
	if m.Term == before.Term && m.Type == raftpb.MsgAppResp && !m.Reject && m.Index > r.writes.last {
		r.suspect(r.voters.peer(m.From), "acknowledges what was never sent")
		return
	}
	if m.Term >= before.Term && m.Type == raftpb.MsgHeartbeat && m.Commit > r.writes.last {
		// The leader counts on an acknowledgement of entries that this disk has lost. It gets no response from this replica
		// now, so it steps down, and learns in its next term which entries are here.
		if r.voters.has(m.From) {
			r.suspect(r.voters.peer(m.From), "says that entries are committed which this replica never acknowledged, or "+
				"its disk has lost them")
		}
		return
	}
	if m.Type == raftpb.MsgTimeoutNow && !r.mayLeadNow(r.self.ID) {
		return
	}
	if m.Type == raftpb.MsgTimeoutNow && (m.Term != before.Term || m.From != before.Lead) {
		return // not from this replica's leader
	}
	if r.node.Step(m) != nil {
		return
	}
	after := r.node.BasicStatus()
	word := after.Lead == m.From && after.Term == m.Term && (m.Type == raftpb.MsgApp || m.Type == raftpb.MsgHeartbeat)
	voted := after.Vote != before.Vote && after.Vote != raft.None
	if word || voted {
		r.election.restart(r.now)
	}
	if word || (voted && len(m.Context) > 0) {
		r.hearing.lease = r.now + r.cfg.Election
	}
}
