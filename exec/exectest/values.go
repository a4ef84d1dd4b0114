package exectest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// values is the part of the finder that reads values; a runtime whose kind has none skips the test.
func (e *env) values(t *testing.T) exec.Values {
	t.Helper()
	v, ok := e.Finder.(exec.Values)
	switch {
	case !ok && e.Value == nil:
		t.Skip("the kind of work has no values of units")
	case !ok || e.Value == nil:
		t.Fatal("either the finder reads values, and the suite says what they must be, or neither")
	}
	return v
}

// itemsOf makes a blob of items that differ, and the packets that are to run it, whose first entry is the unit base.
func (e *env) itemsOf(t *testing.T, n, step, base int64, id *uint64) (items [][]byte, packets []exec.Packet) {
	t.Helper()
	for i := range n {
		items = append(items, fmt.Appendf(nil, "item %d of %d", i, n))
	}
	blob, err := exec.PackItems(items)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "items")
	if err := os.WriteFile(path, blob, 0o600); err != nil {
		t.Fatal(err)
	}
	packets = e.cut("", n, step, base, id)
	for i := range packets {
		packets[i].Items, packets[i].Part = path, ""
		if i%2 == 1 {
			packets[i].Items, packets[i].Small = "", blob
		}
	}
	return items, packets
}

// readValues reads values out of partials and sees that each unit has one value, and the units of a partial come in
// their order.
func readValues(t reporter, v exec.Values, paths []string, units tasks.Cover) map[int64][]byte {
	t.Helper()
	got := map[int64][]byte{}
	for _, path := range paths {
		last := int64(-1)
		err := v.Values(context.Background(), path, units, func(unit int64, value []byte) error {
			if _, twice := got[unit]; twice || unit <= last {
				t.Errorf("unit %d comes twice, or after %d", unit, last)
			}
			got[unit], last = bytes.Clone(value), unit
			return nil
		})
		if err != nil {
			t.Fatalf("could not read the values in %s: %v", path, err)
		}
	}
	return got
}

// testValues runs items in several generations, merges their partials at random, and finds each unit's value once in
// what is left, however much of it is asked for.
func testValues(t *testing.T, e *env) {
	v := e.values(t)
	j := e.job(t, Code{Values: true})
	const n, base = 60, 1000
	var id uint64
	items, _ := e.itemsOf(t, n, n, base, &id)
	dirs := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(dirs, "")
		if err != nil {
			rt.Fatalf("%v", err)
		}
		_, packets := e.itemsOf(t, n, rapid.Int64Range(5, n).Draw(rt, "step"), base, &id)
		paths := j.dealt(rt, dir, rapid.Permutation(packets).Draw(rt, "order"), rapid.IntRange(1, 3).Draw(rt, "generations"))
		paths = j.merged(rt, dir, paths)
		first := rapid.Int64Range(base-5, base+n).Draw(rt, "first")
		asked := tasks.R(first, rapid.Int64Range(first, base+n+5).Draw(rt, "last"))
		got := readValues(rt, v, paths, tasks.CoverOf(asked))
		for unit := range int64(n) {
			value, there := got[base+unit]
			in := asked.First <= base+unit && base+unit < asked.Last
			if want := e.Value(base+unit, items[unit]); there != in || in && !bytes.Equal(value, want) {
				rt.Fatalf("of %v the unit %d has the value %q, want %q", asked, base+unit, value, want)
			}
		}
		if int64(len(got)) != tasks.CoverOf(asked).Intersect(tasks.CoverOf(tasks.R(base, base+n))).Len() {
			rt.Fatalf("of %v there are %d values", asked, len(got))
		}
	})
}

// testNoValues asks for values where there are none: of code that keeps none, of what is no partial, of nobody who
// listens.
func testNoValues(t *testing.T, e *env) {
	v := e.values(t)
	var id uint64
	made := map[bool]string{}
	for _, keeps := range []bool{true, false} {
		j := e.job(t, Code{Values: keeps})
		packets := e.cut(e.Input(t, fmt.Sprint(keeps), 20, 0), 20, 10, 0, &id)
		g := j.begin(t, exec.Limits{})
		g.work(t, packets)
		made[keeps] = g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets).Path
	}
	all := tasks.CoverOf(tasks.R(0, 20))
	none := func(int64, []byte) error { return errors.New("called") }
	for _, units := range []tasks.Cover{nil, all} {
		if err := v.Values(t.Context(), made[false], units, none); !errors.Is(err, exec.ErrNoValues) {
			t.Errorf("values of %v in a partial without any: %v", units, err)
		}
	}
	if err := v.Values(t.Context(), made[true], nil, none); err != nil {
		t.Errorf("no unit is asked for: %v", err)
	}
	gone := errors.New("nobody listens")
	calls := 0
	err := v.Values(t.Context(), made[true], all, func(int64, []byte) error { calls++; return gone })
	if !errors.Is(err, gone) || calls != 1 {
		t.Errorf("%d values were told to who does not listen: %v", calls, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Values(over, made[true], all, func(int64, []byte) error { return nil }); err == nil {
		t.Error("values are read after the end of the context")
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("no partial"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, bad + ".no"} {
		if err := v.Values(t.Context(), path, all, none); err == nil || errors.Is(err, exec.ErrNoValues) {
			t.Errorf("values of what is no partial: %v", err)
		}
	}
}

// testBadItems runs blobs of items that are none, or not those that were appended: the packet is refused or the
// generation fails, and what comes after goes well.
func testBadItems(t *testing.T, e *env) {
	e.values(t)
	j := e.job(t, Code{Values: true})
	var id uint64
	_, good := e.itemsOf(t, 10, 10, 0, &id)
	content, err := os.ReadFile(good[0].Items)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bad := map[string][]byte{
		"cut":    content[:len(content)-1-rand.IntN(8)],
		"random": []byte("nothing that is a blob of items"),
		"fewer":  mustPack(t, [][]byte{[]byte("one")}),
	}
	for name, b := range bad {
		p := good[0]
		p.Items = filepath.Join(dir, name)
		if err := os.WriteFile(p.Items, b, 0o600); err != nil {
			t.Fatal(err)
		}
		wantNoItems(t, j, name, p)
		p.Items, p.Small = "", b
		wantNoItems(t, j, name+" small", p)
	}
	gone := good[0]
	gone.Items = filepath.Join(dir, "absent")
	wantNoItems(t, j, "absent", gone)
	g := j.begin(t, exec.Limits{})
	g.work(t, good)
	g.seal(t, e, filepath.Join(dir, "partial"), good)
}

func mustPack(t *testing.T, items [][]byte) []byte {
	t.Helper()
	b, err := exec.PackItems(items)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantNoItems runs a packet of bad items.
func wantNoItems(t *testing.T, j *job, name string, p exec.Packet) {
	t.Helper()
	g := j.begin(t, exec.Limits{})
	g.lease(t, p)
	select {
	case d := <-g.done:
		if d.Refused == nil {
			t.Errorf("%s items: done is %+v", name, d)
		}
	case f := <-g.fails:
		if f.Kind != exec.KindData && f.Kind != exec.KindOpen {
			t.Errorf("%s items: failed: %+v", name, f)
		}
	}
}
