package quorum_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// piece is a frame about a snapshot with this data, as b sends it to a in term 2.
func piece(kind byte, ms []quorum.Voter, index, size uint64, sum [32]byte, offset uint64, data []byte) []byte {
	out := []byte{kind}
	for _, v := range []uint64{ms[0].ID, ms[1].ID, 2, index, 2, size} {
		out = binary.BigEndian.AppendUint64(out, v)
	}
	return append(binary.BigEndian.AppendUint64(append(out, sum[:]...), offset), data...)
}

type seats struct {
	Voters []quorum.Voter `msgpack:"v"`
	Chain  quorum.Chain   `msgpack:"c"`
	State  []byte         `msgpack:"s"`
}

func snapshotOf(t testing.TB, ms []quorum.Voter, state string, links ...quorum.Link) []byte {
	chain := quorum.Chain{Founders: sorted(voters("a", "b", "c")), Links: links}
	b, err := wire.Marshal(&seats{Voters: ms, Chain: chain, State: []byte(state)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// next is the link to the first voters after the founders, made in term 2.
func next(ms []quorum.Voter, by ...tasks.PeerID) quorum.Link {
	c := quorum.Conf{Seq: 1, Term: 2, Voters: sorted(ms)}
	return quorum.Link{Conf: c, Sigs: sign(quorum.ConfText(group, c), by...)}
}

// sorted puts three voters in the order of their IDs, as a snapshot has them.
func sorted(ms []quorum.Voter) []quorum.Voter {
	s := append([]quorum.Voter(nil), ms...)
	for i := range s {
		for k := i + 1; k < len(s); k++ {
			if s[k].ID < s[i].ID {
				s[i], s[k] = s[k], s[i]
			}
		}
	}
	return s
}

// TestPieces sends a follower a snapshot with pieces out of order, repeated, wrong, and with another snapshot in
// between.
func TestPieces(t *testing.T) {
	g, ms := follower(t)
	data := snapshotOf(t, sorted(ms), "the state")
	sum := sha256.Sum256(data)
	send := func(at, n int) []quorum.Effect {
		return g.step(quorum.Recv{From: "b", Frame: piece(2, ms, 9, uint64(len(data)), sum, uint64(at), data[at:at+n])})
	}
	if out := send(0, 0); len(find[quorum.Send](out)) != 1 {
		t.Fatal("an offer is not answered:", out)
	}
	send(10, 10)
	send(0, 10)
	send(0, 10)
	if out := g.pass(2 * time.Second); len(find[quorum.Send](out)) == 0 {
		t.Error("what is lost is not asked for again")
	}
	g.step(quorum.Recv{
		From:  "b",
		Frame: frame(raftpb.Message{Type: raftpb.MsgHeartbeat, From: ms[1].ID, To: ms[0].ID, Term: 2}),
	})
	out := send(10, len(data)-10)
	r := find[quorum.Restore](out)
	if len(r) != 1 || r[0].Index != 9 || string(r[0].State) != "the state" {
		t.Fatal("the snapshot is not restored:", out)
	}
	w := find[quorum.Write](out)
	if len(w) != 1 || !w[0].Reset || w[0].Snapshot == nil || w[0].Hard.Commit != 9 {
		t.Error("or not written first:", w)
	}
	if out := send(0, len(data)); len(find[quorum.Restore](out)) > 0 {
		t.Error("restored twice:", out)
	}
}

// TestWrongPieces sends what no leader does: nothing is restored, and nothing allocated that was not sent.
func TestWrongPieces(t *testing.T) {
	for what, wrong := range map[string]func(ms []quorum.Voter) (index, size uint64, sum [32]byte, data []byte){
		"another sum": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, sorted(ms), "x")
			return 9, uint64(len(d)), [32]byte{1}, d
		},
		"no voters": func([]quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, nil, "x")
			return 9, uint64(len(d)), sha256.Sum256(d), d
		},
		"a voter twice": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, []quorum.Voter{ms[0], ms[0]}, "x")
			return 9, uint64(len(d)), sha256.Sum256(d), d
		},
		"without this voter": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, ms[1:2], "x", next(ms[1:2], "b", "c"))
			return 9, uint64(len(d)), sha256.Sum256(d), d
		},
		"voters whom nobody has signed": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, ms[:1], "x", next(ms[:1], "b"))
			return 9, uint64(len(d)), sha256.Sum256(d), d
		},
		"voters that its chain does not name": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, ms[:1], "x")
			return 9, uint64(len(d)), sha256.Sum256(d), d
		},
		"a state that the owner does not take": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, sorted(ms), "wrong")
			return 9, uint64(len(d)), sha256.Sum256(d), d
		},
		"garbage": func([]quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			return 9, 3, sha256.Sum256([]byte("abc")), []byte("abc")
		},
		"endless": func([]quorum.Voter) (uint64, uint64, [32]byte, []byte) { return 9, 1 << 50, [32]byte{}, []byte("abc") },
		"large": func([]quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			return 9, 60 << 20, [32]byte{}, []byte("abc")
		},
		"no index": func(ms []quorum.Voter) (uint64, uint64, [32]byte, []byte) {
			d := snapshotOf(t, sorted(ms), "x")
			return 0, uint64(len(d)), sha256.Sum256(d), d
		},
	} {
		ms := voters("a", "b", "c")
		r, err := quorum.New(0, quorum.Config{Keys: keys("a"), Group: group, CheckState: func(b []byte) error {
			if string(b) == "wrong" {
				return errors.New("wrong")
			}
			return nil
		}}, quorum.Log{Self: ms[0], Voters: ms})
		if err != nil {
			t.Fatal(err)
		}
		g := &rig{t: t, r: r}
		g.step(quorum.Recv{
			From:  "b",
			Frame: frame(raftpb.Message{Type: raftpb.MsgHeartbeat, From: ms[1].ID, To: ms[0].ID, Term: 2}),
		})
		index, size, sum, data := wrong(ms)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := g.step(quorum.Recv{From: "b", Frame: piece(2, ms, index, size, sum, 0, data)})
		runtime.ReadMemStats(&after)
		if len(find[quorum.Restore](out))+len(find[quorum.Broken](out))+len(find[quorum.Write](out)) > 0 {
			t.Errorf("%s: %v", what, out)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", what, n)
		}
		if out := g.step(quorum.Recv{From: "c", Frame: piece(2, ms, 9, 3, sum, 0, []byte("abc"))}); len(out) > 0 {
			t.Errorf("%s: one that does not lead is listened to: %v", what, out)
		}
	}
}

// FuzzPiece gives a follower and a leader whatever frames about snapshots may come.
func FuzzPiece(f *testing.F) {
	ms := voters("a", "b", "c")
	data := snapshotOf(f, sorted(ms), "state")
	sum := sha256.Sum256(data)
	for _, b := range [][]byte{piece(2, ms, 9, uint64(len(data)), sum, 0, nil),
		piece(2, ms, 9, uint64(len(data)), sum, 0, data),
		piece(2, ms, 9, uint64(len(data)), sum, 5, data[5:9]), piece(3, ms, 9, uint64(len(data)), sum, 5, nil), {2}, {3, 1}} {
		f.Add(b, data)
	}
	f.Fuzz(func(t *testing.T, b, data []byte) {
		for _, make := range []func(testing.TB) (*rig, []quorum.Voter){follower, leader} {
			g, ms := make(t)
			out := g.step(quorum.Recv{From: "b", Frame: b})
			out = append(out, g.step(quorum.Recv{
				From:  "b",
				Frame: piece(2, ms, 9, uint64(len(data)), sha256.Sum256(data), 0, data),
			})...)
			out = append(out, g.pass(300*time.Millisecond)...)
			if broken := find[quorum.Broken](out); len(broken) > 0 {
				t.Error(broken)
			}
		}
	})
}
