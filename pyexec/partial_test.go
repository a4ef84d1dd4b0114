package pyexec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// valuesFile is a partial with a value for each unit of runs: the unit in words, or nothing where it divides by 7.
func valuesFile(canary uint64, runs ...tasks.Range) []byte {
	var head, list, ends, values bytes.Buffer
	number := func(to *bytes.Buffer, n int64) { to.Write(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	var units int64
	at := make([]int64, len(runs))
	size := make([]int64, len(runs))
	for i := range runs { // the last run first: a process writes them as they come
		i = len(runs) - 1 - i
		at[i] = int64(partialHead + values.Len())
		for u := runs[i].First; u < runs[i].Last; u++ {
			values.Write(valueOf(u))
		}
		size[i] = int64(partialHead+values.Len()) - at[i]
	}
	for i, r := range runs {
		for _, n := range []int64{r.First, r.Last, at[i], size[i]} {
			number(&list, n)
		}
		end := int64(0)
		for u := r.First; u < r.Last; u++ {
			end += int64(len(valueOf(u)))
			number(&ends, end)
		}
		units += r.Len()
	}
	if err := writeHead(&head, modeValues, units, canary, int64(len(runs))); err != nil {
		panic(err) // a buffer takes all
	}
	number(&ends, int64(partialHead+values.Len()))
	return bytes.Join([][]byte{head.Bytes(), values.Bytes(), list.Bytes(), ends.Bytes()}, nil)
}

func valueOf(unit int64) []byte {
	if unit%7 == 0 {
		return nil
	}
	return fmt.Appendf(nil, "the value of %d", unit)
}

// TestMergeOfValues deals units to partials at random, merges them in any order, and finds each value where it belongs.
func TestMergeOfValues(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		hands := make([][]tasks.Range, rapid.IntRange(1, 4).Draw(rt, "partials"))
		var all tasks.Cover
		at := rapid.Int64Range(0, 5).Draw(rt, "first")
		for range rapid.IntRange(0, 12).Draw(rt, "runs") {
			r := tasks.R(at, at+rapid.Int64Range(1, 9).Draw(rt, "length"))
			i := rapid.IntRange(0, len(hands)-1).Draw(rt, "whose")
			hands[i] = append(hands[i], r)
			all = all.Add(r)
			at = r.Last + rapid.SampledFrom([]int64{0, 0, 3}).Draw(rt, "gap")
		}
		var paths []string
		var canary uint64
		for i, runs := range hands {
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(path, valuesFile(uint64(i+1), runs...), 0o600); err != nil {
				rt.Fatal(err)
			}
			paths, canary = append(paths, path), canary+uint64(i+1)
		}
		out := filepath.Join(dir, "out")
		p, err := mergeValues(t.Context(), rapid.Permutation(paths).Draw(rt, "order"), out, nil)
		if err != nil {
			rt.Fatalf("could not merge: %v", err)
		}
		units, c, err := (&Finder{}).Counted(out)
		if err != nil || units != all.Len() || c != canary || p.Units != units || p.Canary != canary {
			rt.Fatalf("merged is %+v, counted %d and %d: %v; want %d and %d", p, units, c, err, all.Len(), canary)
		}
		seen := int64(0)
		err = (&Finder{}).Values(t.Context(), out, all, func(unit int64, value []byte) error {
			seen++
			if !bytes.Equal(value, valueOf(unit)) {
				return fmt.Errorf("unit %d has %q", unit, value)
			}
			return nil
		})
		if err != nil || seen != all.Len() {
			rt.Fatalf("%d of %d values: %v", seen, all.Len(), err)
		}
		if found, err := locatedIn(t, out, all); err != nil || !found.Equal(all) {
			rt.Fatalf("found %v of %v: %v", found, all, err)
		}
	})
}

// TestMergeWithoutTaken leaves values out that were taken, in one partial and again, and keeps all others as they were.
func TestMergeWithoutTaken(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		all := tasks.R(0, 30)
		some := func(what string) tasks.Cover {
			first := rapid.Int64Range(0, 29).Draw(rt, what)
			return tasks.CoverOf(tasks.R(first, rapid.Int64Range(first+1, 30).Draw(rt, "until")))
		}
		path, gone := filepath.Join(dir, "0"), tasks.Cover{}
		if err := os.WriteFile(path, valuesFile(5, tasks.R(0, 9), tasks.R(9, 30)), 0o600); err != nil {
			rt.Fatal(err)
		}
		for i := range 3 {
			taken := some("taken").Union(some("taken, too"))
			out := filepath.Join(dir, fmt.Sprint(i+1))
			p, err := mergeValues(t.Context(), []string{path}, out, taken)
			if err != nil || p.Units != all.Len() || p.Canary != 5 {
				rt.Fatalf("merged is %+v: %v", p, err)
			}
			path, gone = out, gone.Union(taken)
		}
		seen := int64(0)
		err = (&Finder{}).Values(t.Context(), path, tasks.CoverOf(all), func(unit int64, value []byte) error {
			seen++
			want := valueOf(unit)
			if gone.Covers(tasks.CoverOf(tasks.R(unit, unit+1))) {
				want = []byte{takenValue}
			}
			if !bytes.Equal(value, want) {
				return fmt.Errorf("unit %d has %q, want %q", unit, value, want)
			}
			return nil
		})
		if err != nil || seen != all.Len() {
			rt.Fatalf("%d of %d values: %v", seen, all.Len(), err)
		}
	})
}

// locatedIn are the units whose values lie where Locate says.
func locatedIn(t *testing.T, path string, units tasks.Cover) (found tasks.Cover, err error) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	err = (&Finder{}).Locate(t.Context(), path, units, func(first, at int64, ends []uint64) error {
		last := uint64(0)
		for i, end := range ends {
			if got := file[at+int64(last) : at+int64(end)]; !bytes.Equal(got, valueOf(first+int64(i))) {
				return fmt.Errorf("unit %d has %q", first+int64(i), got)
			}
			found, last = found.Add(tasks.R(first+int64(i), first+int64(i)+1)), end
		}
		return nil
	})
	return found, err
}

// TestMergeRefusesTwice: a unit that two partials have is not counted twice, nor in silence once.
func TestMergeRefusesTwice(t *testing.T) {
	a := writeFile(t, "a", valuesFile(1, tasks.R(0, 5)))
	b := writeFile(t, "b", valuesFile(2, tasks.R(4, 6)))
	out := filepath.Join(t.TempDir(), "out")
	if p, err := mergeValues(t.Context(), []string{a, b}, out, nil); err == nil {
		t.Errorf("merged is %+v", p)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file is left of it")
	}
}

// TestMergeOfASum: a partial that holds a sum has no values that could be merged.
func TestMergeOfASum(t *testing.T) {
	var sum bytes.Buffer
	if err := writeHead(&sum, modeSum, 3, 9, 1); err != nil {
		t.Fatal(err)
	}
	sum.WriteString("a pickle")
	path := writeFile(t, "sum", sum.Bytes())
	if units, canary, err := (&Finder{}).Counted(path); err != nil || units != 3 || canary != 9 {
		t.Errorf("counted are %d and %d: %v", units, canary, err)
	}
	if _, err := mergeValues(t.Context(), []string{path}, path+".out", nil); err == nil {
		t.Error("merged as if it had values")
	}
	err := (&Finder{}).Values(t.Context(), path, tasks.CoverOf(tasks.R(0, 3)), nil)
	if !errors.Is(err, exec.ErrNoValues) {
		t.Errorf("the values of a sum: %v", err)
	}
}

// FuzzPartial reads what another node may have sent as a partial. What is accepted has as many values as it says, and
// its merge with nothing has the same.
func FuzzPartial(f *testing.F) {
	f.Add(valuesFile(7, tasks.R(0, 3), tasks.R(3, 4), tasks.R(20, 30)))
	f.Add(valuesFile(0))
	f.Add([]byte(partialMagic))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "partial")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		units, canary, err := (&Finder{}).Counted(path)
		if err != nil {
			return
		}
		seen, bytes := int64(0), 0
		err = (&Finder{}).Values(context.Background(), path, tasks.CoverOf(tasks.R(0, tasks.MaxUnits)),
			func(_ int64, v []byte) error { seen++; bytes += len(v); return nil })
		if err != nil {
			return
		}
		if seen != units || bytes > len(b)-partialHead {
			t.Fatalf("%d values of %d bytes, of %d units in %d bytes", seen, bytes, units, len(b))
		}
		out, err := mergeValues(context.Background(), []string{path}, path+".out", nil)
		if err != nil || out.Units != units || out.Canary != canary {
			t.Fatalf("its merge is %+v: %v; want %d and %d", out, err, units, canary)
		}
	})
}
