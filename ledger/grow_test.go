package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// step is an append of one file; its signature says what it was made for.
func appendOf(seq uint64, entries int64, closes bool) tasks.Append {
	a := tasks.Append{Seq: seq, Close: closes, Sig: []byte("good")}
	if entries > 0 {
		a.Files = []tasks.File{{URL: fmt.Sprint("f", seq), Entries: entries}}
	}
	return a
}

// openRecord is that of an open job of no units, whose submitter signs "good".
func openRecord() *Record {
	signed := func(a *tasks.Append, _ tasks.AppendSum) bool { return string(a.Sig) == "good" }
	return NewRecord(&tasks.Job{Open: true}, signed)
}

// TestAppendsCountOnce: however often appends come, and in whatever order, each makes the record grow once, in the
// order of their numbers; and a copy that begins with a snapshot is like one that has followed from the start.
func TestAppendsCountOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "appends")
		r, copied := openRecord(), openRecord()
		for range rapid.IntRange(0, 60).Draw(t, "entries") {
			seq := rapid.Uint64Range(1, uint64(n)).Draw(t, "seq")
			a := appendOf(seq, int64(seq), seq == uint64(n))
			before := r.Growth.Count()
			_, changed := r.Apply(Entry{Append: &a})
			if _, same := copied.Apply(Entry{Append: &a}); same != changed || changed != (seq == before+1) {
				t.Fatalf("append %d after %d: changed %v, and %v at the copy", seq, before, changed, same)
			}
			if rapid.IntRange(0, 5).Draw(t, "snapshot") == 0 {
				b, err := r.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if copied, err = DecodeRecord(b, openRecord()); err != nil {
					t.Fatal(err)
				}
			}
		}
		count := r.Growth.Count()
		if r.Want.Len() != int64(count*(count+1)/2) || copied.Want != r.Want || r.Growth.Open != (count < uint64(n)) {
			t.Fatalf("%d appends made %v, and %v at the copy; open %v", count, r.Want, copied.Want, r.Growth.Open)
		}
		x, _ := r.Encode()
		if y, _ := copied.Encode(); !bytes.Equal(x, y) {
			t.Fatal("the copies differ")
		}
	})
}

// TestWhatARecordDoesNotGrowBy: an append with a number that is taken, out of turn, unsigned, or after the job was
// closed or stopped; and a job ends only when it is closed.
func TestWhatARecordDoesNotGrowBy(t *testing.T) {
	apply := func(r *Record, e Entry) bool {
		_, changed := r.Apply(e)
		return changed
	}
	appended := func(r *Record, a tasks.Append) bool { return apply(r, Entry{Append: &a}) }
	r := openRecord()
	if !appended(r, appendOf(1, 10, false)) {
		t.Fatal("refused the first")
	}
	forged := appendOf(2, 10, false)
	forged.Sig = []byte("bad")
	for name, a := range map[string]tasks.Append{
		"again":     appendOf(1, 10, false),
		"another":   appendOf(1, 20, false),
		"too early": appendOf(3, 10, false),
		"forged":    forged,
	} {
		if appended(r, a) || r.Want != tasks.R(0, 10) {
			t.Errorf("%s: the job has %v", name, r.Want)
		}
	}
	p := part("a", 1, 0, 10)
	if !apply(r, Entry{Commit: &p}) || apply(r, Entry{End: &End{}}) {
		t.Error("a job ends that is open")
	}
	if !appended(r, appendOf(2, 0, true)) || appended(r, appendOf(3, 10, false)) {
		t.Error("a closed job grows")
	}
	if !apply(r, Entry{End: &End{}}) {
		t.Error("a job does not end that is closed, with all of it done")
	}
	stopped := openRecord()
	if !appended(stopped, appendOf(1, 10, false)) || !apply(stopped, Entry{Stop: &Stop{Reason: "enough"}}) {
		t.Fatal("not stopped")
	}
	if appended(stopped, appendOf(2, 10, false)) || !apply(stopped, Entry{End: &End{}}) || len(stopped.Lost) != 1 {
		t.Errorf("it was stopped: %+v", stopped)
	}
	plain := &Record{Want: tasks.R(0, 5)}
	if appended(plain, appendOf(1, 10, false)) {
		t.Error("a job grows that is not open")
	}
}

// TestGrowthIsBounded: a job may have so many appends and no more bytes of them, and equal files are in a snapshot
// once.
func TestGrowthIsBounded(t *testing.T) {
	r := openRecord()
	files := []tasks.File{{Items: strings.Repeat("ab", 32), Entries: 100, Bytes: 1 << 20}}
	for i := range tasks.MaxAppends {
		a := tasks.Append{Seq: uint64(i + 1), Files: slices.Clone(files), Sig: []byte("good")}
		if _, changed := r.Apply(Entry{Append: &a}); !changed {
			t.Fatalf("append %d is refused: %s", i+1, r.refuses(&a))
		}
	}
	more := appendOf(tasks.MaxAppends, 1, false)
	if why := r.refuses(&more); why == "" {
		t.Error("there may be more appends than MaxAppends")
	}
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if most := tasks.MaxAppends * 16; len(b) > most {
		t.Errorf("a snapshot of %d equal appends has %d bytes, want at most %d", tasks.MaxAppends, len(b), most)
	}
	items := openRecord()
	for i := range tasks.MaxAllItems/tasks.MaxItems + 1 {
		blob := tasks.File{Items: fmt.Sprintf("%064x", i), Entries: 1, Bytes: tasks.MaxItems}
		a := tasks.Append{Seq: uint64(i + 1), Sig: []byte("good"), Files: []tasks.File{blob}}
		if _, changed := items.Apply(Entry{Append: &a}); changed != (i < tasks.MaxAllItems/tasks.MaxItems) {
			t.Errorf("append %d of items: %q", i+1, items.refuses(&a))
		}
	}
	large := openRecord()
	for i := range tasks.MaxAppends {
		a := tasks.Append{
			Seq:   uint64(i + 1),
			Sig:   []byte("good"),
			Files: []tasks.File{{URL: string(make([]byte, 100<<10)), Entries: int64(i + 1)}},
		}
		if _, changed := large.Apply(Entry{Append: &a}); !changed {
			break
		}
	}
	if b, err = large.Encode(); err != nil || len(b) > tasks.MaxAppended+1<<20 || large.Growth.Count() < 100 {
		t.Errorf("a snapshot of %d large appends has %d bytes: %v", large.Growth.Count(), len(b), err)
	}
}

// TestAppendedFilesAreBoundedInMemory: however files are appended, again and again or each once, a job's node has no
// more of them than eight times what may be appended, in the record and in the two datasets that engine and daemon
// make.
func TestAppendedFilesAreBoundedInMemory(t *testing.T) {
	for name, url := range map[string]func(i, k int) string{
		"the same files again":   func(_, k int) string { return fmt.Sprintf("/d/%d", k) },
		"each file once":         func(i, k int) string { return fmt.Sprintf("/d/%d/%d", i, k) },
		"two lists in turn":      func(i, k int) string { return fmt.Sprintf("/d/%d/%d", i%2, k) },
		"the same name all over": func(int, int) string { return "" },
	} {
		r, memory := NewRecord(&tasks.Job{Open: true}, nil), 0
		data, err := tasks.NewDataset(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tasks.MaxAppends {
			a := tasks.Append{Seq: uint64(i + 1), Sig: make([]byte, 64)}
			for k := range 400 {
				a.Files = append(a.Files, tasks.File{URL: url(i, k), Entries: 1})
			}
			if _, changed := r.Apply(Entry{Append: &a}); !changed {
				break
			}
			if err := data.Append(a.Files); err != nil {
				t.Fatal(err)
			}
			memory += int(unsafe.Sizeof(a)) + len(a.Sig) + len(tasks.AppendSum{})
		}
		for _, f := range data.Files {
			const start = 8 // bytes: a dataset has the first unit of each file beside it
			memory += 3*(int(unsafe.Sizeof(f))+len(f.URL)) + 2*start
		}
		if memory > 8*tasks.MaxAppended || r.Growth.Count() < 100 {
			t.Errorf("%s: %d appends of %d files take %d MiB of memory, want at most %d", name, r.Growth.Count(),
				len(data.Files), memory>>20, 8*tasks.MaxAppended>>20)
		}
	}
}

// TestSnapshotProvesItsAppends: the last signature is under all appends of a snapshot.
func TestSnapshotProvesItsAppends(t *testing.T) {
	var sums []tasks.AppendSum
	begun := NewRecord(&tasks.Job{Open: true}, func(a *tasks.Append, sum tasks.AppendSum) bool {
		sums = append(sums, sum)
		return true
	})
	for i := range uint64(3) {
		a := appendOf(i+1, 5, false)
		begun.Apply(Entry{Append: &a})
	}
	b, err := begun.Encode()
	if err != nil {
		t.Fatal(err)
	}
	last := sums[2]
	checked := 0
	honest := NewRecord(&tasks.Job{Open: true}, func(_ *tasks.Append, sum tasks.AppendSum) bool {
		checked++
		return sum == last
	})
	if got, err := DecodeRecord(b, honest); err != nil || checked != 1 || got.Growth.Count() != 3 {
		t.Errorf("%v, %d signatures were checked", err, checked)
	}
	begun.Growth.Appends[0].Files[0].Entries++ // a lie about the first
	begun.Want.Last++
	if b, err = begun.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeRecord(b, honest); err == nil {
		t.Error("another append is taken that nobody has signed")
	}
}

// growingDesk is the home of an open job that has grown by one append, of 1000 units, and knows workers.
func growingDesk(t *testing.T, workers ...tasks.PeerID) *desk {
	d := newDesk(t, Config{}, workers...)
	d.home.record.Growth.Open = true
	return d
}

// TestHomeTakesAppends: they are proposed in their order, whatever order they come in; one that is in the log is
// acknowledged, another by its number refused; and nobody is asked to try units that it has not heard of.
func TestHomeTakesAppends(t *testing.T) {
	d := growingDesk(t, "a", "b")
	out := func(a tasks.Append) []Effect {
		d.out = nil
		d.step(Append{a})
		return d.out
	}
	if got := out(appendOf(2, 10, false)); len(all[Grown](d)) > 0 {
		t.Fatalf("the second came first: %+v", got)
	}
	out(appendOf(1, 10, false))
	grown := all[Grown](d)
	if len(grown) != 2 || grown[0].Units != tasks.R(units, units+10) || grown[1].Units != tasks.R(units+10, units+20) {
		t.Fatalf("grown %+v", grown)
	}
	if !slices.Equal(grown[0].Tell, []tasks.PeerID{"a", "b"}) {
		t.Errorf("told at once: %v", grown[0].Tell)
	}
	out(appendOf(1, 10, false))
	if got := all[Appended](d); len(got) != 1 || got[0].Seq != 1 || len(all[Grown](d)) > 0 {
		t.Errorf("again: %+v", d.out)
	}
	out(appendOf(2, 11, false))
	if got := all[Refused](d); len(got) != 1 || got[0].Append.Seq != 2 {
		t.Errorf("another: %+v", d.out)
	}
	if d.home.works("a", tasks.R(units, units+1)) || !d.home.works("a", tasks.R(0, 1)) {
		t.Error("a node counts as one that can run what it has not reported to know")
	}
	if got := d.home.Record().unknown(d.home.nodes.byID["a"].report.Appends); !got.Equal(span(units, units+20)) {
		t.Errorf("unknown to it are %v", got)
	}
	d.home.nodes.byID["a"].report.Appends = 1
	if got := d.home.Record().unknown(d.home.nodes.byID["a"].report.Appends); !got.Equal(span(units+10, units+20)) {
		t.Errorf("unknown to it are %v", got)
	}
}

// TestOpenJobDoesNotEnd before it is closed, though all that there is of it is committed; nor does one that a new home
// takes over.
func TestOpenJobDoesNotEnd(t *testing.T) {
	d := growingDesk(t, "a")
	p := part("a", 1, 0, units)
	d.step(
		Applied{
			Entry:   Entry{Commit: &p},
			Changed: func() bool { _, c := d.home.record.Apply(Entry{Commit: &p}); return c }(),
		},
	)
	if d.home.Ended() || !d.home.open().Empty() {
		t.Fatalf("ended %v with %v open", d.home.Ended(), d.home.open())
	}
	d.home = New(Config{Self: "h"}, d.home.record, d.home.data, false)
	d.take(d.home.Resume(d.now))
	d.step(Replicas{Ready: true})
	if d.home.Ended() {
		t.Fatal("it ends under a new home")
	}
	d.step(Append{appendOf(1, 0, true)})
	if !d.home.Ended() {
		t.Error("it is closed and done, and does not end")
	}
}

// TestLostProposalsAreMadeAgain: an append that the log has lost is proposed again, by the home or, since its submitter
// says it again, by the next.
func TestLostProposalsAreMadeAgain(t *testing.T) {
	d := growingDesk(t, "a")
	d.deaf = true
	d.step(Append{appendOf(1, 10, false)})
	d.step(Append{appendOf(1, 10, false)})
	proposals := func() (n int) {
		for _, p := range all[Propose](d) {
			if p.Entry.Append != nil {
				n++
			}
		}
		return n
	}
	if n := proposals(); n != 1 {
		t.Fatalf("proposed %d times", n)
	}
	d.now += d.home.cfg.Propose
	d.deaf = false
	d.step(Tick{})
	if d.home.record.Growth.Count() != 1 {
		t.Error("not proposed again")
	}
}

// TestAppendAfterOneThatWasDroppedIsNotRefused has the log drop an append and take the one that follows, as it may
// where too much waits for a majority. The record does not admit that one yet, but it will when both are proposed
// again. If its submitter were told that it can never be in the log, and appended its files under another number, they
// would count twice.
func TestAppendAfterOneThatWasDroppedIsNotRefused(t *testing.T) {
	d := growingDesk(t, "a")
	d.deaf = true
	d.step(Append{appendOf(1, 10, false)})
	d.step(Append{appendOf(2, 10, false)})
	second := appendOf(2, 10, false)
	v, changed := d.home.Record().Apply(Entry{Append: &second})
	d.step(Applied{Entry: Entry{Append: &second}, Verdict: v, Changed: changed})
	if got := all[Refused](d); changed || len(got) > 0 {
		t.Errorf("admitted %v, refused %+v", changed, got)
	}
	d.now += d.home.cfg.Propose
	d.deaf = false
	d.step(Tick{})
	if n := d.home.Record().Growth.Count(); n != 2 || len(all[Refused](d)) > 0 {
		t.Errorf("the job has %d appends, want both", n)
	}
}

// TestRefusedAppendSaysWhy: of an append that the record does not admit in its turn the submitter is told the reason.
func TestRefusedAppendSaysWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		before Entry
		want   string
	}{
		"stopped": {Entry{Stop: &Stop{Reason: "enough"}}, "the job was stopped"},
		"forged":  {Entry{}, "it is not what the job's submitter has signed"},
	} {
		d := growingDesk(t, "a")
		d.home.record.Growth.signed = func(*tasks.Append, tasks.AppendSum) bool { return name != "forged" }
		d.deaf = true
		d.step(Append{appendOf(1, 10, false)})
		d.home.Record().Apply(tc.before)
		a := appendOf(1, 10, false)
		v, changed := d.home.Record().Apply(Entry{Append: &a})
		d.step(Applied{Entry: Entry{Append: &a}, Verdict: v, Changed: changed})
		if got := all[Refused](d); len(got) != 1 || got[0].Reason != tc.want {
			t.Errorf("%s: %+v, want %q", name, got, tc.want)
		}
	}
}

// TestRefusalOfAnEarlierAppend: an append that was refused may be in the log once more. The one that was given its
// number since is not refused because of that.
func TestRefusalOfAnEarlierAppend(t *testing.T) {
	d := growingDesk(t, "a")
	d.home.record.Growth.signed = func(a *tasks.Append, _ tasks.AppendSum) bool { return string(a.Sig) == "good" }
	d.deaf = true
	bad := appendOf(1, 10, false)
	bad.Sig = []byte("bad")
	comes := func() []Refused {
		v, changed := d.home.Record().Apply(Entry{Append: &bad})
		d.step(Applied{Entry: Entry{Append: &bad}, Verdict: v, Changed: changed})
		return all[Refused](d)
	}
	d.step(Append{bad})
	if got := comes(); len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	d.step(Append{appendOf(1, 20, false)})
	if got := comes(); len(got) != 0 {
		t.Errorf("another append with its number is refused: %+v", got)
	}
}
