package quorum_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/quorum"
)

// lie makes a frame with any content, signed with the liar's own key alone; what others signed it may repeat.
func (m *model) lie(liar, to quorum.Member, heard [][]byte) []byte {
	num := func(near uint64) uint64 {
		return []uint64{0, 1, near, near + 1, near + 2, near + 100, 1 << 40}[m.rnd.IntN(7)]
	}
	if len(heard) > 0 && m.rnd.IntN(6) == 0 {
		return heard[m.rnd.IntN(len(heard))]
	}
	var term uint64
	for t := range m.leaders {
		term = max(term, t)
	}
	msg := raftpb.Message{From: liar.ID, To: to.ID, Term: num(term), Index: num(m.last), LogTerm: num(term), Commit: num(m.last), Reject: m.rnd.IntN(2) == 0, RejectHint: num(m.last)}
	msg.Type = []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgVote,
		raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow}[m.rnd.IntN(9)]
	own := keys(liar.Peer)
	p := quorum.Proof{Vote: own.Sign(quorum.VoteText(group, msg.Term, to.ID, liar.ID)), Transfer: own.Sign(quorum.TransferText(group, msg.Term, liar.ID))}
	if msg.Type == raftpb.MsgVote && m.rnd.IntN(2) == 0 {
		msg.Context = []byte("CampaignTransfer")
	}
	if msg.Type == raftpb.MsgApp {
		for i := range m.rnd.IntN(3) {
			msg.Entries = append(msg.Entries, raftpb.Entry{Index: msg.Index + uint64(i) + 1, Term: msg.Term, Data: []byte("lie")})
		}
	}
	c := quorum.Chain{Founders: m.founders}
	switch m.rnd.IntN(4) {
	case 0:
		e := elect(c, msg.Term, liar.Peer, liar.Peer)
		p.Mandate = &e
	case 1: // voters of its own making
		c.Links = []quorum.Link{link(1+num(3), term, []quorum.Member{liar}, liar.Peer)}
		e := elect(c, msg.Term, liar.Peer, liar.Peer)
		p.Mandate, p.Chain = &e, &c
	}
	return quorum.EncodeFrame(msg, p)
}

// TestLiar: one member lies, as follower, removed member or stranger, while the leader and the other follower live.
// Nothing that it says is applied, the leader leads on, and what is proposed is committed in bounded time.
func TestLiar(t *testing.T) {
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		m := newModel(seed, 3)
		if *seeds == 1 {
			m.trace = func(f string, a ...any) { t.Logf(f, a...) }
		}
		m.run(2 * time.Second)
		m.propose()
		m.run(time.Second)
		lead := m.leader()
		liar := m.nodes[1+seed%2]
		self := liar.self
		switch seed % 3 {
		case 1: // it was replaced
			in := m.add(quorum.NewMember("new", 1))
			m.step(lead, quorum.Change{Add: []quorum.Member{in.self}, Remove: []uint64{self.ID}})
			m.run(time.Second)
			m.crash(liar)
		case 2: // it never was a member
			self = quorum.NewMember("stranger", 1)
		default:
			m.crash(liar)
		}
		var heard [][]byte
		m.tap = func(s quorum.Send) {
			if s.To == self.Peer {
				heard = append(heard, s.Frame)
			}
		}
		var slowest time.Duration
		for range 60 {
			for range 1 + m.rnd.IntN(8) {
				to := m.nodes[m.rnd.IntN(len(m.nodes))]
				if to.self.Peer != self.Peer {
					m.step(to, quorum.Recv{From: self.Peer, Frame: m.lie(self, to.self, heard)})
				}
			}
			began := m.now
			m.propose()
			want := fmt.Sprintf("proposal %d", m.said)
			for m.now-began < 10*time.Second && string(m.log[m.last].Data) != want && len(m.wrong) == 0 {
				m.run(10 * time.Millisecond)
				if m.leader() != nil && m.now-began > time.Second && (m.now-began)%time.Second < 10*time.Millisecond {
					m.propose()
					want = fmt.Sprintf("proposal %d", m.said)
				}
			}
			slowest = max(slowest, m.now-began)
		}
		for _, w := range m.wrong {
			t.Fatalf("seed %d (go test ./quorum -run TestLiar -seeds 1 -seed %d): %s", seed, seed, w)
		}
		m.run(time.Second)
		if now := m.leader(); now != lead || slowest > 3*time.Second {
			t.Fatalf("seed %d: the leader is %v, was %v; the slowest commit took %v; terms %v", seed, now, lead.self, slowest, m.leaders)
		}
		for _, e := range m.log {
			if string(e.Data) == "lie" {
				t.Fatalf("seed %d: a lie is applied", seed)
			}
		}
		for _, p := range m.suspects {
			if p != self.Peer {
				t.Fatalf("seed %d: %s is suspected, and did not lie", seed, p)
			}
		}
		if seed%3 != 2 && !slices.Contains(m.suspects, self.Peer) {
			t.Fatalf("seed %d: the liar is not named", seed)
		}
	}
}
