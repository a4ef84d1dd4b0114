package sim

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/modelkeys"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/wire"
)

// rafts sends well-formed frames of the ledger's log, with any content, to one of its voters: as a voter where the liar is
// one. The first byte of a frame is its kind, as package quorum has them.
func (w *world) rafts(n *node) (engine.Message, bool) {
	lead := w.leader()
	if lead == nil {
		return engine.Message{}, false
	}
	v, _ := lead.peer.Ledger(w.id)
	if len(v.Voters) == 0 {
		return engine.Message{}, false
	}
	self, to := quorum.NewMember(n.id, 0), v.Voters[w.rng.IntN(len(v.Voters))]
	if i := slices.IndexFunc(v.Voters, func(m quorum.Member) bool { return m.Peer == n.id }); i >= 0 {
		self = v.Voters[i]
	}
	var frame []byte
	switch w.rng.IntN(6) {
	case 0: // asks for signatures, as a leader
		frame = w.packed(5, map[string]any{"l": []uint64{self.ID, to.ID}[w.rng.IntN(2)], "t": w.term(), "w": 7})
	case 1: // gives some
		sig := modelkeys.Keys(n.id).Sign([]byte("anything"))
		frame = w.packed(6, map[string]any{"l": to.ID, "m": self.ID, "t": w.term(), "v": sig, "n": sig, "s": sig})
	case 2: // tells a voter that it is none any more
		c := quorum.Conf{Seq: 1 + uint64(w.rng.IntN(5)), Term: w.term(), Voters: []quorum.Member{self}}
		chain := quorum.Chain{Founders: []quorum.Member{self}}
		if p := n.liar.mandate(); p != nil {
			chain = p.Chain
		}
		chain.Links = append(slices.Clone(chain.Links), quorum.Link{Conf: c, Sigs: w.signed(n, chain.Conf(), func(quorum.Member) []byte {
			return quorum.ConfText("job "+string(w.id), c)
		})})
		b, _ := wire.Marshal(&chain)
		frame = append(binary.BigEndian.AppendUint64([]byte{1}, to.ID), b...)
	default:
		b, err := w.raftMessage(self, to).Marshal()
		if err != nil {
			return engine.Message{}, false
		}
		frame = append([]byte{0}, b...)
	}
	return engine.Message{Frame: frame}, true
}

func (w *world) packed(kind byte, v map[string]any) []byte {
	b, _ := wire.Marshal(&v)
	return append([]byte{kind}, b...)
}

// raftMessage is any message of raft's, with an end that was none as its entry.
func (w *world) raftMessage(self, to quorum.Member) *raftpb.Message {
	near := func() uint64 { return []uint64{0, 1, w.term(), uint64(w.rng.IntN(100)), 1 << 40}[w.rng.IntN(5)] }
	m := &raftpb.Message{From: self.ID, To: to.ID, Term: w.term(), LogTerm: near(), Index: near(), Commit: near(), Reject: w.rng.IntN(2) == 0, RejectHint: near()}
	m.Type = []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgVote,
		raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow}[w.rng.IntN(9)]
	switch {
	case m.Type == raftpb.MsgVote && w.rng.IntN(2) == 0:
		m.Context = []byte("CampaignTransfer")
	case m.Type == raftpb.MsgApp:
		data, _ := wire.Marshal(&ledger.Entry{Result: &ledger.Result{SHA256: "forged", Size: 1}})
		m.Entries = []raftpb.Entry{{Index: m.Index + 1, Term: max(m.LogTerm, 1), Data: data}}
	}
	return m
}
