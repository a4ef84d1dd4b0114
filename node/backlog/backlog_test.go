package backlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// calls are calls with numbers from first on, and tails that say which.
func calls(first uint64, n int, head string) *api.ExchangeKeep {
	k := &api.ExchangeKeep{First: first, Heads: [][]byte{[]byte(head)}, Runs: [][2]int64{{int64(n), 0}}}
	for i := range n {
		k.Tails = fmt.Appendf(k.Tails, "call %d", first+uint64(i))
		k.Ends = binary.LittleEndian.AppendUint32(k.Ends, uint32(len(k.Tails)))
	}
	return k
}

func open(t *testing.T, path string) *Backlog {
	t.Helper()
	b, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keep(t *testing.T, b *Backlog, first uint64, n int) {
	t.Helper()
	if after, err := b.Keep(calls(first, n, "head")); err != nil || after != first+uint64(n) {
		t.Fatalf("%d calls from %d on are kept up to %d, %v", n, first, after, err)
	}
}

// rest makes all appends of what is kept, as they would be in a ledger, and returns the tails.
func rest(t *testing.T, b *Backlog, seq uint64) (tails []string) {
	t.Helper()
	b.Orphan()
	for b.Waiting() > 0 {
		items, upto, err := b.Next(Look{Patience: patience})
		if err != nil || len(items) == 0 {
			t.Fatalf("%d items, %v, of %d calls", len(items), err, b.Waiting())
		}
		head := []byte("head")
		for i, it := range items {
			n := int(binary.LittleEndian.Uint32(it[1:]))
			switch {
			case it[0] == 0 && bytes.Equal(it[5:5+n], head):
				tails = append(tails, string(it[5+n:]))
			case it[0] == 1 && n > 0 && n <= i && items[i-n][0] == 0:
				tails = append(tails, string(it[5:]))
			default:
				t.Fatalf("item %d is %q", i, it)
			}
		}
		hash := fmt.Sprint(seq)
		if err := b.Sends(Send{Seq: seq, Items: hash, Upto: upto, Own: true}); err != nil {
			t.Fatal(err)
		}
		b.Counted(seq, hash)
		b.Tried()
		seq++
	}
	return tails
}

func numbered(numbers ...int) (out []string) {
	for _, n := range numbers {
		out = append(out, fmt.Sprintf("call %d", n))
	}
	return out
}

// TestBacklogSurvives: whatever is cut off at the end of the file, what was whole before is there.
func TestBacklogSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	b := open(t, path)
	keep(t, b, 0, 3)
	if err := b.Sends(Send{Seq: 1, Items: "a", Upto: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Cancel([]Span{{4, 5}}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, b, 3, 3)
	full, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(whole); n <= len(full); n++ {
		if err := os.WriteFile(path, full[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, path)
		want := numbered(1, 2)
		if n == len(full) {
			want = numbered(1, 2, 3, 5)
		} else {
			if after := b.After(); after != 3 {
				t.Fatalf("calls up to %d are kept in %d of %d bytes", after, n, len(full))
			}
			keep(t, b, 3, 1) // there is room behind what is whole
			want = append(want, "call 3")
			b = open(t, path)
		}
		b.Settle(func(seq uint64) (string, bool) { return "a", seq == 1 })
		if got := rest(t, b, 2); !slices.Equal(got, want) {
			t.Fatalf("of %d of %d bytes these are left: %q, want %q", n, len(full), got, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the file is there when all is in the ledger: %v", err)
		}
	}
}

// TestBacklogIsBounded: a session that lasts takes no more of the disk than what waits in it, and some.
func TestBacklogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	b := open(t, path)
	const size = 1 << 20
	big := func(number uint64) *api.ExchangeKeep {
		return &api.ExchangeKeep{
			First: number, Heads: [][]byte{[]byte("head")}, Runs: [][2]int64{{1, 0}},
			Ends: binary.LittleEndian.AppendUint32(nil, size), Tails: bytes.Repeat([]byte{byte(number)}, size),
		}
	}
	const ahead = 4 // calls that wait
	for n := range uint64(100) {
		if _, err := b.Keep(big(n)); err != nil {
			t.Fatal(err)
		}
		if n < ahead {
			continue
		}
		seq, hash := n-ahead+1, fmt.Sprint(n)
		if err := b.Sends(Send{Seq: seq, Items: hash, Upto: seq}); err != nil {
			t.Fatal(err)
		}
		b.Counted(seq, hash)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if most := int64(slack + 2*(ahead+2)*(size+100)); info.Size() > most {
			t.Fatalf("%d bytes for %d calls of %d", info.Size(), ahead, size)
		}
	}
	b = open(t, path)
	b.Settle(func(seq uint64) (string, bool) { return fmt.Sprint(seq + ahead - 1), true })
	if got := rest(t, b, 97); len(got) != ahead || got[3] != string(bytes.Repeat([]byte{99}, size)) {
		t.Errorf("%d calls are left", len(got))
	}
}

// TestBacklogMoves: calls are kept for one job at a time, also where the answer to the move was not heard.
func TestBacklogMoves(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	from, to := open(t, one), open(t, two)
	from.Come(Process{PID: 1, Where: "a boot of long ago"})
	keep(t, from, 10, 5)
	if err := from.Cancel([]Span{{11, 12}}); err != nil {
		t.Fatal(err)
	}
	if err := to.TakeFrom(from); err != nil {
		t.Fatal(err)
	}
	if !to.Gone(time.Time{}, patience) {
		t.Error("it is not known that the program has ended which was never connected to the next job")
	}
	if _, err := from.Keep(calls(15, 1, "head")); !errors.Is(err, ErrMoved) {
		t.Errorf("more is kept for a job that was left: %v", err)
	}
	if err := to.TakeFrom(from); !errors.Is(err, ErrMoved) {
		t.Errorf("moved again: %v", err)
	}
	to = open(t, two) // after a restart
	if err := to.TakeFrom(open(t, one)); err != nil {
		t.Errorf("moved again, after a restart: %v", err)
	}
	keep(t, to, 15, 1)
	if got, want := rest(t, open(t, two), 1), numbered(10, 12, 13, 14, 15); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	if err := to.TakeFrom(to); err == nil {
		t.Error("calls were moved to where they are")
	}
}

// TestKeepRefuses what are no calls.
func TestKeepRefuses(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), Name))
	for what, spoil := range map[string]func(*api.ExchangeKeep){
		"none":             func(k *api.ExchangeKeep) { *k = api.ExchangeKeep{} },
		"an end too few":   func(k *api.ExchangeKeep) { k.Ends = k.Ends[:4] },
		"half an end":      func(k *api.ExchangeKeep) { k.Ends = k.Ends[:7] },
		"no such head":     func(k *api.ExchangeKeep) { k.Runs[0][1] = 1 },
		"a run too long":   func(k *api.ExchangeKeep) { k.Runs[0][0] = 3 },
		"a run of none":    func(k *api.ExchangeKeep) { k.Runs = append(k.Runs, [2]int64{0, 0}) },
		"bytes behind":     func(k *api.ExchangeKeep) { k.Tails = append(k.Tails, 0) },
		"an end before it": func(k *api.ExchangeKeep) { k.Ends[0] = 200 },
		"a number too far": func(k *api.ExchangeKeep) { k.First = 1 << 63 },
	} {
		k := calls(0, 2, "head")
		if spoil(k); errors.Is(func() error { _, err := b.Keep(k); return err }(), ErrKeep) {
			continue
		}
		t.Errorf("%s: it is kept", what)
	}
}

// TestDamage: of records that cannot be read no more is lost than they had.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	b := open(t, path)
	for n := range uint64(3) {
		keep(t, b, n, 1)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("call 1"))] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := rest(t, open(t, path), 1), numbered(0, 2); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// TestFlippedByte: whichever byte of a file is flipped, no call runs twice, and none that was cancelled.
func TestFlippedByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	b := open(t, path)
	ledger := []string{"a", "b", "c"}
	for n, hash := range ledger {
		keep(t, b, uint64(3*n), 3)
		if err := b.Cancel([]Span{{8, 9}}); err != nil {
			t.Fatal(err)
		}
		if err := b.Sends(Send{Seq: uint64(n) + 1, Items: hash, Upto: uint64(n) + 1}); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := numbered(3, 4, 5, 6, 7)
	for at := range whole {
		data := slices.Clone(whole)
		data[at] ^= byte(1 << (at % 8))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, path)
		b.Settle(func(seq uint64) (string, bool) { return ledger[seq-1], seq <= 3 })
		if _, err := b.Explained(3); err != nil {
			t.Fatal(err)
		}
		got := rest(t, b, 4)
		for i, call := range got {
			if !slices.Contains(all, call) || slices.Contains(got[:i], call) {
				t.Fatalf("with byte %d flipped these run: %q", at, got)
			}
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, path)
	b.Settle(func(seq uint64) (string, bool) { return ledger[seq-1], seq <= 3 })
	if ok, err := b.Explained(3); !ok || err != nil {
		t.Errorf("all is explained, and it is said: %v, %v", ok, err)
	}
	if got := rest(t, b, 4); !slices.Equal(got, all) {
		t.Errorf("there are %q, want %q", got, all)
	}
}

// TestUnexplained: where the ledger has an append of which the file does not tell, none of the calls that wait runs.
func TestUnexplained(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	b := open(t, path)
	keep(t, b, 0, 3)
	if err := b.Sends(Send{Seq: 1, Items: "a", Upto: 1}); err != nil {
		t.Fatal(err)
	}
	ledger := []string{"a", "b"}
	for known := range uint64(3) {
		b = open(t, path)
		b.Settle(func(seq uint64) (string, bool) { return ledger[min(seq, 2)-1], seq <= known })
		ok, err := b.Explained(known)
		if err != nil || ok != (known < 2) {
			t.Errorf("with %d appends in the ledger all are explained: %v, %v", known, ok, err)
		}
		if waits := []int64{3, 2, 0}[known]; b.Waiting() != waits {
			t.Errorf("with %d appends in the ledger %d calls wait, want %d", known, b.Waiting(), waits)
		}
	}
}

// TestProcess tells whether a process has ended, also where its parent does not want to know.
func TestProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	start, runs := began(int32(cmd.Process.Pid))
	p := Process{PID: int32(cmd.Process.Pid), Start: start, Where: where()}
	if !runs || p.Ended() {
		t.Errorf("%+v has ended", p)
	}
	other := p
	if other.Start++; !other.Ended() {
		t.Error("a process that has begun at another time is taken for it")
	}
	if other = p; true {
		if other.Where = "another boot " + other.Where; !other.Ended() {
			t.Error("a process of another boot is taken for it")
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for !p.Ended() { // while it is to be waited for
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !p.Ended() || (Process{}).Ended() {
		t.Error("it has not ended, or nobody has")
	}
}
