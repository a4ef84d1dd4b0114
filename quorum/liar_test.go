package quorum_test

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/quorum"
)

// lie makes a frame with any content that a voter, or a stranger, may send to another.
func (m *model) lie(liar, to quorum.Voter, term uint64) []byte {
	num := func(near uint64) uint64 {
		return []uint64{0, 1, near, near + 1, near + 2, near + 100, 1 << 27, 1 << 40}[m.rnd.IntN(8)]
	}
	msg := raftpb.Message{
		From:       liar.ID,
		To:         to.ID,
		Term:       num(term),
		Index:      num(m.last),
		LogTerm:    num(term),
		Commit:     num(m.last),
		Reject:     m.rnd.IntN(2) == 0,
		RejectHint: num(m.last),
	}
	msg.Type = []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp,
		raftpb.MsgVote,
		raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow}[m.rnd.IntN(9)]
	if msg.Type == raftpb.MsgVote && m.rnd.IntN(2) == 0 {
		msg.Context = []byte("CampaignTransfer")
	}
	if msg.Type == raftpb.MsgApp {
		for i := range m.rnd.IntN(3) {
			msg.Entries = append(msg.Entries, raftpb.Entry{
				Index: msg.Index + uint64(i) + 1,
				Term:  max(msg.Term, 1),
				Data:  []byte("lie"),
			})
		}
	}
	return frame(msg)
}

// lieAboutProofs makes a frame about proofs: false asks and answers, or a false word that the receiver was removed.
func (m *model) lieAboutProofs(liar, to quorum.Voter, term uint64) []byte {
	sig := keys(liar.Peer).Sign([]byte("anything"))
	switch m.rnd.IntN(3) {
	case 0:
		return quorum.AskFrame([]uint64{liar.ID, to.ID}[m.rnd.IntN(2)], term+uint64(m.rnd.IntN(2)), uint8(m.rnd.IntN(8)))
	case 1:
		return quorum.SignedFrame(to.ID, liar.ID, term, sig, sig, sig)
	}
	c := quorum.Conf{Seq: 1 + uint64(m.rnd.IntN(3)), Term: term, Voters: []quorum.Voter{liar}}
	return quorum.GoneFrame(to.ID, quorum.Chain{
		Founders: m.founders,
		Links:    []quorum.Link{{Conf: c, Sigs: sign(quorum.ConfText(group, c), liar.Peer)}},
	})
}

// TestLiar: one voter lies, as a follower, a removed voter or a stranger, while the leader and the other follower
// work. Nothing that it sends is applied, it does not lead, and proposals are committed in bounded time.
func TestLiar(t *testing.T) {
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		m := newModel(seed, 3)
		if *seeds == 1 {
			m.trace = func(f string, a ...any) { t.Logf(f, a...) }
		}
		m.run(2 * time.Second)
		lead, liar := m.leader(), m.nodes[1+seed%2]
		if lead != m.nodes[0] {
			t.Fatalf("seed %d: the founder does not lead", seed)
		}
		self := liar.self
		switch seed % 3 {
		case 1: // it was replaced
			in := m.add(quorum.NewVoter("new", 1))
			m.step(lead, quorum.Change{Add: []quorum.Voter{in.self}, Remove: []uint64{self.ID}})
			m.run(time.Second)
		case 2: // it never was a voter; the third voter is away
			self = quorum.NewVoter("stranger", 1)
		}
		m.crash(liar)
		m.liar = self.Peer
		slowest := m.besiege(self, lead)
		for _, w := range m.wrong {
			t.Fatalf("seed %d (go test ./quorum -run TestLiar -seeds 1 -seed %d): %s", seed, seed, w)
		}
		for _, e := range m.log {
			if string(e.Data) == "lie" {
				t.Fatalf("seed %d: a lie is applied", seed)
			}
		}
		for _, n := range m.nodes {
			if n.removed && n.self.ID != liar.self.ID {
				t.Fatalf("seed %d: %x takes itself for removed", seed, n.self.ID)
			}
		}
		for term, id := range m.leaders {
			if id != lead.self.ID {
				t.Fatalf("seed %d: %x led in term %d", seed, id, term)
			}
		}
		if seed%3 == 0 && m.named == 0 {
			t.Fatalf("seed %d: nobody names the follower that lies", seed)
		}
		if slowest > time.Second {
			t.Fatalf("seed %d: a commit took %v; terms %v", seed, slowest, m.leaders)
		}
	}
}

// TestRestartBesideLiar: the leader works, and the other follower restarts while a liar reaches it first. It goes on
// following the leader, keeps its copy, and signs for nobody else.
func TestRestartBesideLiar(t *testing.T) {
	for name, lie := range map[string]func(m *raftpb.Message){
		"entries": func(m *raftpb.Message) {
			m.Type, m.Entries = raftpb.MsgApp, []raftpb.Entry{{Index: m.Index + 1, Term: m.Term, Data: []byte("lie")}}
		},
		"a commit beyond all": func(m *raftpb.Message) { m.Type, m.Commit = raftpb.MsgHeartbeat, 1<<40 },
		"a candidacy":         func(m *raftpb.Message) { m.Type = raftpb.MsgVote },
		"an order to stand":   func(m *raftpb.Message) { m.Type = raftpb.MsgTimeoutNow },
	} {
		for later := range uint64(3) {
			m := newModel(7+later, 3)
			m.run(2 * time.Second)
			m.propose()
			m.run(time.Second)
			home, f, liar := m.nodes[0], m.nodes[1], m.nodes[2]
			_, term := home.r.Leader()
			index, last := home.r.Last()
			m.crash(liar)
			m.liar = liar.self.Peer
			m.crash(f)
			m.run(500 * time.Millisecond)
			m.restart(f)
			for range 40 {
				msg := raftpb.Message{
					From:    liar.self.ID,
					To:      f.self.ID,
					Term:    term + later,
					Index:   index,
					LogTerm: last,
					Commit:  index + 1,
				}
				lie(&msg)
				m.step(f, quorum.Recv{From: liar.self.Peer, Frame: frame(msg)})
				m.step(f, quorum.Recv{From: liar.self.Peer, Frame: quorum.AskFrame(liar.self.ID, term+later, 7)})
				m.run(50 * time.Millisecond)
			}
			m.propose()
			m.run(time.Second)
			if _, now := home.r.Leader(); m.leader() != home || now != term || f.applied != m.last ||
				string(m.log[m.last].Data) != "proposal 2" || len(m.wrong) > 0 {
				t.Errorf("%s, %d terms later: the home leads %v in term %d after %d, %d of %d entries are applied; %v", name, later,
					m.leader() == home, now, term, f.applied, m.last, m.wrong)
			}
		}
	}
}

// besiege makes a voter lie to the others for a minute, and returns how long the slowest commit took.
func (m *model) besiege(liar quorum.Voter, lead *node) (slowest time.Duration) {
	for i := range 120 {
		again := i%10 == 9
		for _, n := range m.nodes {
			if again && n != lead && n.r != nil && n.self.Peer != liar.Peer && !n.removed {
				m.crash(n)
				m.restart(n)
			}
		}
		var term uint64
		for t := range m.leaders {
			term = max(term, t)
		}
		for range 1 + m.rnd.IntN(8) {
			if to := m.nodes[m.rnd.IntN(len(m.nodes))]; to.self.Peer != liar.Peer {
				m.step(to, quorum.Recv{From: liar.Peer, Frame: m.lie(liar, to.self, term)})
				m.step(to, quorum.Recv{From: liar.Peer, Frame: m.lieAboutProofs(liar, to.self, term)})
			}
		}
		began, want := m.now, ""
		for m.now-began < 10*time.Second && (want == "" || string(m.log[m.last].Data) != want) && len(m.wrong) == 0 {
			if m.leader() != nil && (m.now-began)%(200*time.Millisecond) == 0 { // without a leader a proposal would be lost
				m.propose()
				want = fmt.Sprintf("proposal %d", m.said)
			}
			m.run(10 * time.Millisecond)
		}
		slowest = max(slowest, m.now-began)
		m.run(400 * time.Millisecond)
	}
	return slowest
}

// TestCutOffVoter: a voter whose term is later than the leader's, since it was a candidate while partitioned, follows
// again, and the same leader leads.
func TestCutOffVoter(t *testing.T) {
	m := newModel(1, 3)
	m.run(2 * time.Second)
	lead, late := m.leader(), m.nodes[2]
	m.crash(late)
	late.disk.Hard.Term, late.disk.Hard.Vote = late.disk.Hard.Term+5, late.self.ID
	m.restart(late)
	m.run(8 * time.Second)
	m.propose()
	m.run(time.Second)
	if m.leader() != lead || late.applied != m.last || m.last == 0 || len(m.wrong) > 0 {
		t.Error(m.wrong, m.leaders, late.applied, m.last)
	}
}

// TestTermsAreNotUsedUp: a liar claims huge terms while one replica is alone with it. When a third comes back the two
// elect a leader, in no more time than the lies took.
func TestTermsAreNotUsedUp(t *testing.T) {
	for _, kind := range []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgVote, raftpb.MsgVoteResp} {
		for _, step := range []uint64{1, 1 << 27, 3, 1 << 20, 1 << 28, 1 << 40, 1 << 62} {
			m := newModel(step, 3)
			m.run(2 * time.Second)
			home, alone, liar := m.nodes[0], m.nodes[1], m.nodes[2]
			m.crash(home)
			m.crash(liar)
			for i := range 200 {
				m.run(50 * time.Millisecond)
				_, term := alone.r.Leader()
				if step == 3 && i == 0 {
					term = 1 << 27 // advancing beyond this takes time
				}
				msg := raftpb.Message{Type: kind, From: liar.self.ID, To: alone.self.ID, Term: min(term+step, 1<<62)}
				m.step(alone, quorum.Recv{From: liar.self.Peer, Frame: frame(msg)})
			}
			m.restart(home)
			m.run(20 * time.Second)
			m.propose()
			m.run(time.Second)
			if m.leader() == nil || string(m.log[m.last].Data) != "proposal 1" || len(m.wrong) > 0 {
				_, a := home.r.Leader()
				_, b := alone.r.Leader()
				t.Errorf("%v by %d terms: nobody leads in terms %d and %d; %v", kind, step, a, b, m.wrong)
			}
		}
	}
}
