package liar

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/wire"
)

// Kinds of frames, the first byte of each, as package quorum has them.
const (
	frameRaft   = 0
	frameGone   = 1
	frameAsk    = 5
	frameSigned = 6
)

// frames sends what replicas send each other, with some bytes changed.
func frames(l *Liar) (m engine.Message, ok bool) {
	for _, h := range l.heard {
		if len(h.Frame) > 0 && (m.Frame == nil || l.one(3)) {
			m.Frame = slices.Clone(h.Frame)
		}
	}
	if m.Frame == nil {
		m.Frame = []byte{byte(l.rng.IntN(3)), 8, byte(l.rng.IntN(20)), 0x10, 1, 0x18, 2, 0x20, 3}
	}
	for range l.rng.IntN(4) {
		m.Frame[l.rng.IntN(len(m.Frame))] = byte(l.rng.IntN(256))
	}
	return m, true
}

// rafts sends well-formed frames of the ledger's log, with any content, to one of its voters: as a voter where the liar
// is one.
func rafts(l *Liar) (engine.Message, bool) {
	voters := l.at.Voters
	if p := l.mandate(); len(voters) == 0 && p != nil {
		voters = p.Chain.Conf().Voters
	}
	if len(voters) == 0 {
		return engine.Message{}, false
	}
	self, to := quorum.NewVoter(l.self, 0), voters[l.rng.IntN(len(voters))]
	if i := slices.IndexFunc(voters, func(m quorum.Voter) bool { return m.Peer == l.self }); i >= 0 {
		self = voters[i]
	}
	l.to = to.Peer
	var frame []byte
	switch l.rng.IntN(6) {
	case 0: // asks for signatures, as a leader
		frame = packed(frameAsk, map[string]any{"l": []uint64{self.ID, to.ID}[l.rng.IntN(2)], "t": l.term(), "w": 7})
	case 1: // gives some
		sig := l.keys.Sign([]byte("anything"))
		frame = packed(frameSigned, map[string]any{"l": to.ID, "m": self.ID, "t": l.term(), "v": sig, "n": sig, "s": sig})
	case 2: // tells a voter that it is none any more
		frame = l.gone(self, to)
	default:
		b, err := l.raftMessage(self, to).Marshal()
		if err != nil {
			return engine.Message{}, false
		}
		frame = append([]byte{frameRaft}, b...)
	}
	return engine.Message{Frame: frame}, true
}

func packed(kind byte, v map[string]any) []byte {
	b, _ := wire.Marshal(&v)
	return append([]byte{kind}, b...)
}

// gone tells a voter that the liar alone has followed.
func (l *Liar) gone(self, to quorum.Voter) []byte {
	chain := quorum.Chain{Founders: []quorum.Voter{self}}
	if p := l.mandate(); p != nil {
		chain = p.Chain
	}
	next := quorum.Conf{Seq: 1 + uint64(l.rng.IntN(5)), Term: l.term(), Voters: []quorum.Voter{self}}
	chain.Links = append(slices.Clone(chain.Links), l.link(chain.Conf(), next))
	b, _ := wire.Marshal(&chain)
	return append(binary.BigEndian.AppendUint64([]byte{frameGone}, to.ID), b...)
}

// raftMessage is any message of raft's, with an end that was none as its entry.
func (l *Liar) raftMessage(self, to quorum.Voter) *raftpb.Message {
	near := func() uint64 { return []uint64{0, 1, l.term(), uint64(l.rng.IntN(100)), 1 << 40}[l.rng.IntN(5)] }
	m := &raftpb.Message{
		From:       self.ID,
		To:         to.ID,
		Term:       l.term(),
		LogTerm:    near(),
		Index:      near(),
		Commit:     near(),
		Reject:     l.one(2),
		RejectHint: near(),
	}
	m.Type = []raftpb.MessageType{
		raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgVote,
		raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow}[l.rng.IntN(9)]
	switch {
	case m.Type == raftpb.MsgVote && l.one(2):
		m.Context = []byte("CampaignTransfer")
	case m.Type == raftpb.MsgApp:
		data, _ := wire.Marshal(&ledger.Entry{Result: &ledger.Result{SHA256: "forged", Size: 1}})
		m.Entries = []raftpb.Entry{{Index: m.Index + 1, Term: max(m.LogTerm, 1), Data: data}}
	}
	return m
}
