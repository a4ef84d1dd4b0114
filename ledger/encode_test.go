package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// fill sets everything that a value has to something that is not its zero; n makes it unlike others.
func fill(t *testing.T, what string, v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.String:
		v.SetString(fmt.Sprint("s", n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, what, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, what, v.Index(0), n)
		fill(t, what, v.Index(1), n+10)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[tasks.Range]() {
			v.Set(reflect.ValueOf(tasks.R(int64(n), int64(n)+3)))
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "_msgpack" {
				fill(t, what+"."+f.Name, v.Field(i), n+i)
			}
		}
	case reflect.Uint8:
		v.SetUint(uint64(n))
	default:
		t.Fatalf("%s is a %s, which a snapshot may not hold: equal records must encode equally", what, v.Type())
	}
}

// TestEveryFieldIsEncoded sets each field of a record, also those that are added to it one day, and reads it back.
func TestEveryFieldIsEncoded(t *testing.T) {
	want := tasks.R(0, 1000)
	for i := range reflect.TypeFor[Record]().NumField() {
		f := reflect.TypeFor[Record]().Field(i)
		r, begun := Record{Want: want}, &Record{Want: want}
		if !f.IsExported() {
			t.Fatalf("field %s is not exported: a snapshot would lose it", f.Name)
		}
		switch f.Name {
		case "Want":
		case "Growth": // what follows from its fields is found anew
			r.Growth.Open, begun.Growth.Open = true, true
			file := tasks.File{Entries: 5}
			fill(t, "Growth.Appends.Files", reflect.ValueOf(&file).Elem(), 7)
			file.Clusters = []int64{0, 3}
			items := file // which has either a name or items
			items.Data = []byte("xy")
			items.URL, items.Items, items.Bytes = "", string(tasks.NameOf(items.Data)), 2
			file.Items, file.Data, file.Depends = "", nil, false
			for i, a := range []tasks.Append{{Sig: []byte("1")}, {Sig: []byte("2"), Close: true}} {
				a.Seq, a.Files = r.Growth.Count()+1, []tasks.File{file, items}[i:]
				if _, changed := r.Apply(Entry{Append: &a}); !changed {
					t.Fatalf("not admitted: %+v", a)
				}
			}
		case "Done":
			p := part("a", 1, 900, 910)
			q := merge.Partial{ID: merge.ID{Node: "b", Seq: 2}}
			fill(t, "Done.parts", reflect.ValueOf(&q).Elem(), 5)
			q.Units = q.Cover.Len()
			r.Done.Commit(p)
			r.Done.Commit(q)
		default:
			fill(t, f.Name, reflect.ValueOf(&r).Elem().Field(i), 20)
		}
		if f.Name == "Recovery" { // it is of one voter, in a term of recoveries
			c := &r.Recovery.Conf
			c.Seq, c.Term, c.Prior, c.Voters = 1<<45, 1<<45, 1<<45-1, c.Voters[:1]
		}
		if f.Name == "Attempts" {
			r.Round = 40 // no attempt is of a later round
		}
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeRecord(b, begun)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		again, _ := got.Encode()
		if !reflect.DeepEqual(*got, r) || !bytes.Equal(again, b) {
			t.Errorf("%s is read as another:\n%+v\n%+v", f.Name, *got, r)
		}
		if empty, _ := (&Record{Want: want}).Encode(); f.Name != "Want" && bytes.Equal(empty, b) {
			t.Errorf("%s is not in the snapshot", f.Name)
		}
	}
	a, b := Record{Want: want}, Record{Want: want, Lost: []Lost{}, Undone: tasks.Cover{}}
	x, _ := a.Encode()
	if y, _ := b.Encode(); !bytes.Equal(x, y) {
		t.Error("equal records are encoded in two ways")
	}
}

// TestSnapshotRemembersFailedEnds reads a record of a job that cannot be finished from a snapshot: who may try is as
// before, what an earlier round says counts no more, and a retry begins the next round, on both copies alike.
func TestSnapshotRemembersFailedEnds(t *testing.T) {
	want := tasks.R(0, 10)
	r := &Record{Want: want}
	for _, e := range []Entry{
		{Stop: &Stop{Reason: "by the user"}}, {End: &End{}},
		{Attempt: &Attempt{Node: "a", Failure: Failure{Kind: "disk", Reason: "no space left"}}}, {Retry: &Retry{}},
		{Attempt: &Attempt{Round: 1, Node: "a", At: 7, Failure: Failure{Kind: "disk", Reason: "no space left"}}},
		{Attempt: &Attempt{Round: 1, Node: "b", Code: true, At: 9,
			Failure: Failure{Kind: "signal", Reason: "SIGSEGV", Stack: "#0 Terminate", Tail: "calibration?"}}},
	} {
		if _, changed := r.Apply(e); !changed {
			t.Fatalf("not admitted: %+v", e)
		}
	}
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeRecord(b, &Record{Want: want})
	if err != nil {
		t.Fatal(err)
	}
	if got.Round != 1 || !slices.Equal(got.Attempts, r.Attempts) {
		t.Fatalf("read back: round %d, %+v", got.Round, got.Attempts)
	}
	for _, id := range []tasks.PeerID{"a", "b", "c", "s"} {
		if got.MayTry(id, "s") != r.MayTry(id, "s") || got.MayTry(id, "s") != (id == "s") {
			t.Errorf("%s may try: %v, want it of the submitter alone", id, got.MayTry(id, "s"))
		}
	}
	home := New(Config{Self: "b", Submitter: "s"}, got, nil, false)
	if !home.Stuck() {
		t.Error("a home that begins with the snapshot does not know that the job cannot be finished")
	}
	for _, e := range []Entry{{Retry: &Retry{}}, {Attempt: &Attempt{Node: "c"}}} {
		if _, changed := got.Apply(e); changed {
			t.Errorf("what an earlier round says counts: %+v", e)
		}
	}
	if _, changed := got.Apply(Entry{Retry: &Retry{Round: 1}}); !changed || got.Round != 2 || !got.MayTry("a", "s") {
		t.Errorf("no next round: %+v", got)
	}
}

// TestWrongRecords reads records that no replica writes.
func TestWrongRecords(t *testing.T) {
	want := tasks.R(0, 100)
	encode := func(e encoded) []byte {
		r := Record(*e.Record)
		for _, p := range e.Parts {
			r.Done.Commit(p)
		}
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rec := func(r Record) *recordWithoutDone { w := recordWithoutDone(r); return &w }
	parts := func(all ...merge.Partial) []byte { return encode(encoded{Record: rec(Record{Want: want}), Parts: all}) }
	lost := func(done []merge.Partial, ranges ...tasks.Range) []byte {
		r := Record{Want: want}
		for _, l := range ranges {
			r.Lost = append(r.Lost, Lost{Range: l})
		}
		return encode(encoded{Record: rec(r), Parts: done})
	}
	for what, b := range map[string][]byte{
		"nothing":       nil,
		"garbage":       []byte("garbage"),
		"another job":   encode(encoded{Record: rec(Record{Want: tasks.R(0, 99)})}),
		"twice":         parts(part("a", 1, 0, 10), part("b", 1, 5, 15)),
		"outside":       encode(encoded{Record: rec(Record{Want: want}), Parts: []merge.Partial{part("a", 1, 90, 110)}}),
		"one name":      parts(part("a", 1, 0, 10), part("a", 1, 15, 25)),
		"lost and done": lost([]merge.Partial{part("a", 1, 0, 10)}, tasks.R(5, 7)),
		"lost twice":    lost(nil, tasks.R(5, 7), tasks.R(6, 8)),
		"tried twice":   encode(encoded{Record: rec(Record{Want: want, Attempts: []Attempt{{Node: "a"}, {Node: "a"}}})}),
		"tried late":    encode(encoded{Record: rec(Record{Want: want, Attempts: []Attempt{{Node: "a", Round: 1}}})}),
		"tries":         encode(encoded{Record: rec(Record{Want: want, Attempts: make([]Attempt, maxAttempts+1)})}),
		"undone":        encode(encoded{Record: rec(Record{Want: want, Undone: tasks.CoverOf(tasks.R(200, 300))})}),
	} {
		if _, err := DecodeRecord(b, &Record{Want: want}); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzRecord reads whatever a snapshot may hold: nothing panics, and what is read is a record that encodes as itself.
func FuzzRecord(f *testing.F) {
	r := Record{
		Want:   tasks.R(0, 100),
		Lost:   []Lost{{Range: tasks.R(50, 60)}},
		Stop:   &Stop{Reason: "why"},
		Undone: tasks.CoverOf(tasks.R(0, 3)),
	}
	r.Done.Commit(part("a", 1, 10, 20))
	b, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b, &Record{Want: tasks.R(0, 100)})
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeRecord(again, &Record{Want: r.Want}); err != nil {
			t.Fatal(err)
		}
		r.Apply(Entry{Uncommit: &merge.ID{Node: "a", Seq: 1}})
		r.Apply(Entry{End: &End{}})
		if !r.Done.Cover().Valid(r.Want) || r.lostCover().Intersects(r.Done.Cover()) {
			t.Fatalf("committed %v, set aside %v", r.Done.Cover(), r.lostCover())
		}
	})
}
