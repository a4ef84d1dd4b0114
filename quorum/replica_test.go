package quorum_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// rig is one replica whose disk confirms every write at once.
type rig struct {
	t   testing.TB
	r   *quorum.Replica
	now time.Duration
}

func newRig(t testing.TB, log quorum.Log) *rig {
	r, err := quorum.New(0, quorum.Config{
		Keys:      keys(log.Self.Peer),
		Group:     group,
		Authority: func(by tasks.PeerID) bool { return by == "owner" },
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, r: r}
}

// step returns all effects, including those that follow from the writes.
func (g *rig) step(ev quorum.Event) (out []quorum.Effect) {
	out = g.r.Step(g.now, ev)
	for i := 0; i < len(out); i++ {
		if w, ok := out[i].(quorum.Write); ok {
			out = append(out, g.r.Step(g.now, quorum.Written{Seq: w.Seq})...)
		}
	}
	return out
}

func (g *rig) pass(d time.Duration) (out []quorum.Effect) {
	for end := g.now + d; g.now < end; {
		g.now = min(max(g.r.Wake(), g.now+1), end)
		out = append(out, g.step(quorum.Tick{})...)
	}
	return out
}

func find[E quorum.Effect](effects []quorum.Effect) (found []E) {
	for _, e := range effects {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	return found
}

func voters(peers ...tasks.PeerID) (ms []quorum.Voter) {
	for _, p := range peers {
		ms = append(ms, quorum.NewVoter(p, 1))
	}
	return ms
}

func frame(m raftpb.Message) []byte {
	b, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	return append([]byte{0}, b...)
}

func message(t testing.TB, s quorum.Send) (m raftpb.Message) {
	if err := m.Unmarshal(s.Frame[1:]); err != nil {
		t.Fatal(err)
	}
	return m
}

// follower is a voter of three that follows b in term 2 and has one entry.
func follower(t testing.TB) (*rig, []quorum.Voter) {
	ms := voters("a", "b", "c")
	g := newRig(t, quorum.Log{Self: ms[0], Voters: ms})
	g.step(quorum.Recv{From: "b", Frame: frame(raftpb.Message{Type: raftpb.MsgApp, From: ms[1].ID, To: ms[0].ID, Term: 2,
		Entries: []raftpb.Entry{{Index: 1, Term: 2}}})})
	if p, term := g.r.Leader(); p != "b" || term != 2 {
		t.Fatal("follows", p, term)
	}
	return g, ms
}

// leader is a voter of three that leads by the vote and the signature of b.
func leader(t testing.TB) (*rig, []quorum.Voter) {
	ms := voters("a", "b", "c")
	g := newRig(t, quorum.Log{Self: ms[0], Voters: ms})
	out := g.step(quorum.Campaign{})
	for range 10 {
		var next []quorum.Effect
		for _, s := range find[quorum.Send](out) {
			if s.Frame[0] != 0 {
				continue // it asks for votes to be signed
			}
			m := message(t, s)
			answer := raftpb.Message{From: ms[1].ID, To: ms[0].ID, Term: m.Term}
			switch m.Type {
			case raftpb.MsgPreVote:
				answer.Type = raftpb.MsgPreVoteResp
			case raftpb.MsgVote:
				answer.Type = raftpb.MsgVoteResp
			case raftpb.MsgApp:
				answer.Type, answer.Index = raftpb.MsgAppResp, m.Index+uint64(len(m.Entries))
			}
			if s.To == "b" && answer.Type != 0 {
				next = append(next, g.step(quorum.Recv{From: "b", Frame: frame(answer)})...)
			}
		}
		out = next
	}
	if !g.r.Leading() {
		t.Fatal("does not lead")
	}
	return g, ms
}

func TestLoneVoter(t *testing.T) {
	self := voters("a")
	g := newRig(t, quorum.Log{Self: self[0], Voters: self})
	if out := g.pass(20 * time.Second); len(find[quorum.Write](out)) > 0 {
		t.Fatal("stands with an empty log:", out)
	}
	out := g.step(quorum.Campaign{})
	if !g.r.Leading() {
		t.Fatal("does not lead:", out)
	}
	data := bytes.Repeat([]byte("x"), quorum.MaxProposal)
	out = append(out, g.step(quorum.Propose{Data: data})...)
	if a := find[quorum.Apply](out); len(a) != 1 || !bytes.Equal(a[0].Data, data) {
		t.Fatal("the largest proposal is not applied")
	}
	for _, size := range []int{0, quorum.MaxProposal + 1} {
		if out := g.step(quorum.Propose{Data: make([]byte, size)}); len(find[quorum.Refused](out)) != 1 || len(out) != 1 {
			t.Errorf("a proposal of %d bytes: %v", size, out)
		}
	}

	log := quorum.Log{Self: self[0], Voters: self}
	for _, w := range find[quorum.Write](out) {
		log.Hard, log.Entries = w.Hard, append(log.Entries, w.Entries...)
	}
	again := newRig(t, log)
	if a := find[quorum.Apply](again.step(quorum.Tick{})); !again.r.Leading() || len(a) != 1 {
		t.Error("a lone voter does not lead at once when it comes back:", a)
	}
}

func TestNothingBeforeItIsWritten(t *testing.T) {
	ms := voters("a", "b", "c")
	r, err := quorum.New(0, quorum.Config{Keys: keys("a"), Group: group}, quorum.Log{Self: ms[0], Voters: ms})
	if err != nil {
		t.Fatal(err)
	}
	out := r.Step(0, quorum.Recv{
		From: "b",
		Frame: frame(raftpb.Message{Type: raftpb.MsgApp, From: ms[1].ID, To: ms[0].ID, Term: 2, Commit: 1,
			Entries: []raftpb.Entry{{Index: 1, Term: 2, Data: []byte("x")}}}),
	})
	w := find[quorum.Write](out)
	if len(w) != 1 || len(find[quorum.Send](out))+len(find[quorum.Apply](out)) > 0 {
		t.Fatal(out)
	}
	if out := r.Step(0, quorum.Written{Seq: w[0].Seq + 1}); len(out) > 0 {
		t.Fatal("another's Written is taken:", out)
	}
	if r.SyncedTerm() != 0 {
		t.Fatalf("it is sure of term %d, which is not on disk", r.SyncedTerm())
	}
	out = r.Step(0, quorum.Written{Seq: w[0].Seq})
	if len(find[quorum.Send](out)) != 1 || len(find[quorum.Apply](out)) != 1 || r.SyncedTerm() != 2 {
		t.Fatal(out, r.SyncedTerm())
	}
	r.Step(0, quorum.Recv{
		From:  "b",
		Frame: frame(raftpb.Message{Type: raftpb.MsgVote, From: ms[1].ID, To: ms[0].ID, Term: 3, Index: 9, LogTerm: 2}),
	})
	if out := r.Step(0, quorum.NotWritten{Seq: 2, Reason: "disk full"}); len(find[quorum.Broken](out)) != 1 {
		t.Fatal(out)
	}
	if out := r.Step(time.Hour, quorum.Tick{}); len(out) > 0 {
		t.Fatal("a broken replica goes on:", out)
	}
}

func TestStepsDownWithoutQuorum(t *testing.T) {
	g, _ := leader(t)
	if h := g.r.Heard(g.now); len(h) != 2 {
		t.Error(h)
	}
	out := g.pass(5 * time.Second)
	if roles := find[quorum.Role](out); len(roles) == 0 || roles[len(roles)-1].Leading || g.r.Leading() ||
		g.r.Heard(g.now) != nil {
		t.Error("leads alone:", roles)
	}
}

func TestDamagedLog(t *testing.T) {
	ms := voters("a", "b", "c")
	e := func(index, term uint64) quorum.Entry { return quorum.Entry{Index: index, Term: term} }
	good := quorum.Log{
		Self:    ms[0],
		Voters:  ms,
		Hard:    quorum.Hard{Term: 3, Commit: 2},
		Entries: []quorum.Entry{e(1, 1), e(2, 3)},
	}
	newRig(t, good)
	for what, spoil := range map[string]func(*quorum.Log){
		"hole":           func(l *quorum.Log) { l.Entries = []quorum.Entry{e(1, 1), e(3, 3)} },
		"no beginning":   func(l *quorum.Log) { l.Entries = []quorum.Entry{e(2, 1)} },
		"wrong order":    func(l *quorum.Log) { l.Entries = []quorum.Entry{e(1, 3), e(2, 1)} },
		"future term":    func(l *quorum.Log) { l.Entries = []quorum.Entry{e(1, 1), e(2, 4)} },
		"no term":        func(l *quorum.Log) { l.Entries = []quorum.Entry{e(1, 0)} },
		"commit too far": func(l *quorum.Log) { l.Hard.Commit = 3 },
		"absurd term":    func(l *quorum.Log) { l.Hard.Term = 1 << 63 },
		"unknown kind":   func(l *quorum.Log) { l.Entries = []quorum.Entry{{Index: 1, Term: 1, Kind: 9}} },
		"no such change": func(l *quorum.Log) {
			l.Entries = []quorum.Entry{{Index: 1, Term: 1, Kind: 2, Data: []byte("?")}}
		},
		"nobody":          func(l *quorum.Log) { l.Self = quorum.Voter{} },
		"no voters":       func(l *quorum.Log) { l.Voters = nil },
		"a voter twice":   func(l *quorum.Log) { l.Voters = append(voters("a"), ms...) },
		"a nameless peer": func(l *quorum.Log) { l.Voters = []quorum.Voter{{ID: 3}} },
	} {
		log := good
		spoil(&log)
		if _, err := quorum.New(0, quorum.Config{
			Keys:      keys(log.Self.Peer),
			Group:     group,
			Authority: func(by tasks.PeerID) bool { return by == "owner" },
		}, log); !errors.Is(err, quorum.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestFrames(t *testing.T) {
	for what, test := range map[string]struct {
		from  tasks.PeerID
		m     func(ms []quorum.Voter) raftpb.Message
		named bool // the sender is named as suspect
	}{
		"another incarnation": {"b", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgHeartbeat, From: ms[1].ID, To: quorum.NewVoter("a", 2).ID, Term: 9}
		}, false},
		"another's name": {"c", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgHeartbeat, From: ms[1].ID, To: ms[0].ID, Term: 9}
		}, false},
		"no term": {"b", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgApp, From: ms[1].ID, To: ms[0].ID, Commit: 7}
		}, false},
		"own message": {"b", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgHup, From: ms[1].ID, To: ms[0].ID, Term: 2}
		}, false},
		"snapshot": {"b", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgSnap, From: ms[1].ID, To: ms[0].ID, Term: 2, Snapshot: &raftpb.Snapshot{}}
		}, false},
		"hole": {"b", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgApp, From: ms[1].ID, To: ms[0].ID, Term: 2, Index: 1, LogTerm: 2,
				Entries: []raftpb.Entry{{Index: 3, Term: 2}}}
		}, false},
		"a commit beyond the log": {"b", func(ms []quorum.Voter) raftpb.Message {
			return raftpb.Message{Type: raftpb.MsgHeartbeat, From: ms[1].ID, To: ms[0].ID, Term: 2, Commit: 2}
		}, true},
	} {
		g, ms := follower(t)
		out := g.step(quorum.Recv{From: test.from, Frame: frame(test.m(ms))})
		if named := len(find[quorum.Suspect](out)); named != len(out) || (named > 0) != test.named {
			t.Errorf("%s: %v", what, out)
		}
	}
}

func TestRemovedIsTold(t *testing.T) {
	m := newModel(1, 3)
	m.run(2 * time.Second)
	lead := m.leader()
	gone := m.nodes[2]
	if gone == lead {
		gone = m.nodes[1]
	}
	m.crash(gone)
	in := m.add(quorum.NewVoter(gone.self.Peer, 7))
	m.step(lead, quorum.Change{Add: []quorum.Voter{in.self}, Remove: []uint64{gone.self.ID}})
	m.run(3 * time.Second)
	if got := fmt.Sprint(lead.r.Voters()); len(lead.r.Voters()) != 3 || strings.Contains(got, fmt.Sprint(gone.self)) ||
		!strings.Contains(got, fmt.Sprint(in.self)) {
		t.Fatal("voters are", got)
	}
	m.restart(gone)
	m.run(8 * time.Second)
	if !gone.removed || len(m.wrong) > 0 || m.leader() != lead {
		t.Error("removed:", gone.removed, m.wrong)
	}
	for what, ch := range map[string]quorum.Change{
		"nothing":         {},
		"an old ID":       {Add: []quorum.Voter{gone.self}},
		"a stranger":      {Remove: []uint64{5}},
		"the leader":      {Remove: []uint64{lead.self.ID}},
		"a nameless peer": {Add: []quorum.Voter{{ID: 5}}},
	} {
		if out := lead.r.Step(m.now, ch); len(find[quorum.Refused](out)) != 1 || len(out) != 1 {
			t.Errorf("%s: %v", what, out)
		}
	}
}

func FuzzFrame(f *testing.F) {
	ms := voters("a", "b", "c")
	for _, m := range []raftpb.Message{
		{
			Type:    raftpb.MsgApp,
			Term:    2,
			Index:   1,
			LogTerm: 2,
			Commit:  2,
			Entries: []raftpb.Entry{{Index: 2, Term: 2, Data: []byte("x")}, {Index: 3, Term: 2, Type: raftpb.EntryConfChangeV2}},
		},
		{Type: raftpb.MsgAppResp, Term: 1, Index: 1},
		{Type: raftpb.MsgAppResp, Term: 1, Index: 5, Reject: true, RejectHint: 1 << 40, LogTerm: 7},
		{Type: raftpb.MsgHeartbeat, Term: 3, Commit: 1},
		{Type: raftpb.MsgHeartbeatResp, Term: 1},
		{Type: raftpb.MsgVote, Term: 3, Index: 1, LogTerm: 2},
		{Type: raftpb.MsgPreVote, Term: 3, Index: 1, LogTerm: 2},
		{Type: raftpb.MsgVoteResp, Term: 3},
		{Type: raftpb.MsgPreVoteResp, Term: 3, Reject: true},
	} {
		m.From, m.To = ms[1].ID, ms[0].ID
		f.Add(frame(m), frame(m))
	}
	f.Add(append([]byte{1}, make([]byte, 16)...), []byte{})
	f.Add(quorum.AskFrame(ms[1].ID, 2, 7), quorum.AskFrame(ms[0].ID, 1, 7))
	f.Add(quorum.SignedFrame(ms[0].ID, ms[1].ID, 1, []byte("vote"), []byte("next"), nil),
		quorum.SignedFrame(ms[0].ID, ms[1].ID, 1, keys("b").Sign(quorum.VoteText(group, 1, ms[0].ID, ms[1].ID)), nil,
			[]byte("seal")))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		for _, make := range []func(testing.TB) (*rig, []quorum.Voter){follower, leader} {
			g, _ := make(t)
			var out []quorum.Effect
			for _, b := range [][]byte{one, two} {
				out = append(out, g.step(quorum.Recv{From: "b", Frame: b})...)
				out = append(out, g.pass(300*time.Millisecond)...)
			}
			for _, b := range find[quorum.Broken](out) {
				if !strings.Contains(b.Reason, "raft cannot go on") {
					t.Error(b)
				}
			}
		}
	})
}

// TestAbsurdFrames steps well-formed messages of arbitrary numbers: raft must not panic on them.
func TestAbsurdFrames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	num := func() uint64 {
		return []uint64{0, 1, 2, 3, 4, 1 << 40, 1 << 62, 1<<64 - 1}[rnd.IntN(8)]
	}
	for range 5000 {
		make := []func(testing.TB) (*rig, []quorum.Voter){follower, leader}[rnd.IntN(2)]
		g, ms := make(t)
		for range 4 {
			m := raftpb.Message{
				Type:       raftpb.MessageType(rnd.IntN(20)),
				From:       ms[1].ID,
				To:         ms[0].ID,
				Term:       num(),
				LogTerm:    num(),
				Index:      num(),
				Commit:     num(),
				RejectHint: num(),
				Reject:     rnd.IntN(2) == 0,
			}
			if rnd.IntN(10) == 0 {
				m.From = num()
			}
			for i := range rnd.IntN(3) {
				m.Entries = append(m.Entries, raftpb.Entry{
					Index: m.Index + uint64(i) + 1,
					Term:  num(),
					Type:  raftpb.EntryType(2 * rnd.IntN(2)),
				})
			}
			for _, b := range find[quorum.Broken](g.step(quorum.Recv{From: "b", Frame: frame(m)})) {
				// An end to a change that nobody began.
				if !strings.Contains(b.Reason, "non-joint") {
					t.Fatalf("%+v: %s", m, b.Reason)
				}
			}
		}
	}
}

// TestNewVoterGetsWholeLog brings new voters up: by a snapshot and what follows it.
func TestNewVoterGetsWholeLog(t *testing.T) {
	m := newModel(1, 1)
	m.run(time.Second)
	lead := m.leader()
	for _, size := range []int{quorum.MaxProposal, 1, quorum.MaxProposal, quorum.MaxProposal / 2, quorum.MaxProposal / 2} {
		m.step(lead, quorum.Propose{Data: make([]byte, size)})
		m.run(20 * time.Millisecond)
	}
	for range 35000 { // more than fit a frame with their heads
		m.step(lead, quorum.Propose{Data: []byte("x")})
	}
	m.run(time.Second)
	b, c := m.add(quorum.NewVoter("b", 1)), m.add(quorum.NewVoter("c", 1))
	m.step(lead, quorum.Change{Add: []quorum.Voter{b.self, c.self}})
	m.run(5 * time.Second)
	if len(m.wrong) > 0 || len(m.log) != 35005 || b.applied < m.last || c.applied < m.last || m.restored != 2 {
		t.Error(m.wrong, len(m.log), m.last, b.applied, c.applied)
	}
}

func TestVoteIsKept(t *testing.T) {
	ms := voters("a", "b", "c")
	log := quorum.Log{Self: ms[0], Voters: ms}
	ask := func(from quorum.Voter) quorum.Recv {
		return quorum.Recv{
			From:  from.Peer,
			Frame: frame(raftpb.Message{Type: raftpb.MsgVote, From: from.ID, To: ms[0].ID, Term: 5}),
		}
	}
	out := newRig(t, log).step(ask(ms[1]))
	w, s := find[quorum.Write](out), find[quorum.Send](out)
	if len(w) != 1 || len(s) != 1 || message(t, s[0]).Reject {
		t.Fatal(out)
	}
	log.Hard = w[0].Hard
	for _, from := range []quorum.Voter{ms[2], ms[1]} {
		again := newRig(t, log)
		if out := find[quorum.Send](again.step(ask(from))); len(out) > 0 {
			t.Errorf("at once after a restart, %s gets an answer though a leader may live: %v", from.Peer, out)
		}
		again.now = time.Second
		s = find[quorum.Send](again.step(ask(from)))
		if len(s) != 1 || message(t, s[0]).Reject != (from == ms[2]) {
			t.Errorf("after a restart, %s asks for the vote that %s has: %v", from.Peer, ms[1].Peer, s)
		}
	}
}

// TestChangeIsKeptBeforeItCounts: a replica must not forget in a power cut that a change was complete, or it would ask
// the old voters again.
func TestChangeIsKeptBeforeItCounts(t *testing.T) {
	self := voters("a")
	g := newRig(t, quorum.Log{Self: self[0], Voters: self})
	g.step(quorum.Campaign{})
	var index, commit uint64
	for _, e := range g.step(quorum.Change{Add: voters("b")}) {
		switch e := e.(type) {
		case quorum.Write:
			if len(e.Entries) > 0 && index == 0 {
				index = e.Entries[0].Index
			}
			commit = e.Hard.Commit
		case quorum.Changed:
			if index == 0 || commit < index {
				t.Fatalf("entry %d changes the voters, and %d is on disk as committed", index, commit)
			}
			return
		}
	}
	t.Fatal("the voters did not change")
}
