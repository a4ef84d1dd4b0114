package tasks

import (
	"testing"

	"pgregory.net/rapid"
)

// bits is the dumb model of a cover over a small space.
type bits [64]bool

func toBits(c Cover) (b bits) {
	for _, r := range c {
		for u := r.First; u < r.Last; u++ {
			b[u] = true
		}
	}
	return b
}

func genRange(t *rapid.T, name string) Range {
	a := rapid.Int64Range(0, 63).Draw(t, name)
	return R(a, a+rapid.Int64Range(0, 63-a).Draw(t, name+"len"))
}

func genCover(t *rapid.T, name string) Cover {
	var rs []Range
	for range rapid.IntRange(0, 6).Draw(t, name+"n") {
		rs = append(rs, genRange(t, name))
	}
	return CoverOf(rs...)
}

func TestCoverAgainstBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genCover(t, "a"), genCover(t, "b")
		r := genRange(t, "r")
		A, B, R := toBits(a), toBits(b), toBits(CoverOf(r))
		cases := map[string]struct {
			got Cover
			f   func(x, y bool) bool
			y   bits
		}{
			"union":     {a.Union(b), func(x, y bool) bool { return x || y }, B},
			"minus":     {a.Minus(b), func(x, y bool) bool { return x && !y }, B},
			"intersect": {a.Intersect(b), func(x, y bool) bool { return x && y }, B},
			"add":       {a.Add(r), func(x, y bool) bool { return x || y }, R},
		}
		for name, c := range cases {
			if !c.got.Valid(Range{First: 0, Last: 64}) {
				t.Fatalf("%s: %v is not canonical", name, c.got)
			}
			G := toBits(c.got)
			for i := range G {
				if G[i] != c.f(A[i], c.y[i]) {
					t.Fatalf("%s of %v and %v: %v is wrong at %d", name, a, b, c.got, i)
				}
			}
		}
		if a.Intersects(b) != !a.Intersect(b).Empty() {
			t.Fatalf("Intersects(%v, %v)", a, b)
		}
		if a.Covers(b) != b.Minus(a).Empty() {
			t.Fatalf("Covers(%v, %v)", a, b)
		}
		if toBits(a) != A || toBits(b) != B {
			t.Fatal("an operand was changed")
		}
	})
}

func genDataset(t *rapid.T) *Dataset {
	var fs []File
	for range rapid.IntRange(1, 5).Draw(t, "files") {
		f := File{URL: "f", Entries: rapid.Int64Range(0, 1000).Draw(t, "entries")}
		for c := int64(0); c < f.Entries; c += rapid.Int64Range(1, 300).Draw(t, "cluster") {
			f.Clusters = append(f.Clusters, c)
		}
		fs = append(fs, f)
	}
	d, err := NewDataset(fs)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPacketsTileTheSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := genDataset(t)
		r := d.Space()
		target := rapid.Int64Range(1, 500).Draw(t, "target")
		for !r.Empty() {
			p := d.Packet(r, target)
			if p.First != r.First || p.Empty() || p.Last > r.Last {
				t.Fatalf("packet %v of %v", p, r)
			}
			i, _ := d.Locate(p.First)
			if j, _ := d.Locate(p.Last - 1); i != j {
				t.Fatalf("packet %v lies in files %d and %d", p, i, j)
			}
			if p.Len() > 2*target {
				t.Fatalf("packet %v is over twice the target %d", p, target)
			}
			r.First = p.Last
		}
	})
}

func TestPacketEndsAtClusters(t *testing.T) {
	d, err := NewDataset([]File{
		{URL: "a", Entries: 250, Clusters: []int64{0, 100, 200}},
		{URL: "b", Entries: 1000, Clusters: []int64{0}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r      Range
		target int64
		want   Range
	}{
		{R(0, 1250), 100, R(0, 100)},
		{R(0, 1250), 80, R(0, 100)},
		{R(0, 1250), 130, R(0, 100)},
		{R(0, 1250), 180, R(0, 200)},
		{R(0, 1250), 10, R(0, 10)},       // a cluster is cut when it is far larger than the target
		{R(200, 1250), 400, R(200, 250)}, // never over a file's end
		{R(250, 1250), 300, R(250, 550)},
		{R(0, 60), 100, R(0, 60)},
	} {
		if got := d.Packet(c.r, c.target); got != c.want {
			t.Errorf("Packet(%v, %d) = %v, want %v", c.r, c.target, got, c.want)
		}
	}
}

func TestCutPrefersFilesThenClusters(t *testing.T) {
	d, err := NewDataset([]File{
		{URL: "a", Entries: 300, Clusters: []int64{0, 100, 200}},
		{URL: "b", Entries: 300, Clusters: []int64{0, 100, 200}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ at, slack, want int64 }{
		{320, 50, 300}, {320, 10, 320}, {390, 50, 400}, {250, 60, 300}, {0, 10, 0}, {700, 10, 600},
	} {
		if got := d.Cut(d.Space(), c.at, c.slack); got != c.want {
			t.Errorf("Cut(%d, slack %d) = %d, want %d", c.at, c.slack, got, c.want)
		}
	}
}

// A chain of more than 2^31 entries, as the union of sparse covers and as packets.
func TestSpaceOver31Bits(t *testing.T) {
	const n = int64(3) << 31
	d, err := NewDataset([]File{{URL: "a", Entries: n}, {URL: "b", Entries: n}})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Space(); got != R(0, 2*n) {
		t.Fatal(got)
	}
	if i, e := d.Locate(n + 7); i != 1 || e != 7 {
		t.Fatalf("Locate: file %d entry %d", i, e)
	}
	if p := d.Packet(R(n-10, 2*n), 1<<33); p != R(n-10, n) {
		t.Fatal(p)
	}
	c := CoverOf(R(0, n)).Minus(CoverOf(R(1<<31, 1<<32)))
	if c.Len() != n-(1<<31) {
		t.Fatal(c, c.Len())
	}
}

func TestDatasetRefusesNonsense(t *testing.T) {
	for _, f := range []File{
		{Entries: -1}, {Entries: 10, Clusters: []int64{0, 0}}, {Entries: 10, Clusters: []int64{5, 3}},
		{Entries: 10, Clusters: []int64{10}}, {Entries: 10, Clusters: []int64{-1}},
	} {
		if _, err := NewDataset([]File{f}); err == nil {
			t.Errorf("accepted %+v", f)
		}
	}
}
