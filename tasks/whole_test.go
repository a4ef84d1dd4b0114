package tasks

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWholeFilesAreNotDivided cuts random ranges of random datasets whose files are whole: packets end with their file
// or range, and cuts are between files, or at the end of what is cut.
func TestWholeFilesAreNotDivided(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var files []File
		for i := range 1 + rng.IntN(6) {
			f := File{URL: fmt.Sprint(i), Entries: rng.Int64N(50)}
			for c := int64(0); c < f.Entries; c += 1 + rng.Int64N(9) {
				f.Clusters = append(f.Clusters, c)
			}
			files = append(files, f)
		}
		d, err := NewDataset(files)
		if err != nil {
			t.Fatal(err)
		}
		d.Whole = true
		bounds := map[int64]bool{}
		for i := range files {
			bounds[d.Units(i).Last] = true
		}
		space := d.Space()
		first := rng.Int64N(max(space.Last, 1))
		r := R(first, first+rng.Int64N(space.Last-first+1))
		if r.Empty() {
			continue
		}
		p := d.Clone().Packet(r, 1+rng.Int64N(20))
		if p.First != r.First || p.Empty() || p.Last != r.Last && !bounds[p.Last] ||
			p != p.Intersect(d.Units(fileOf(d, p.First))) {
			t.Fatalf("seed %d: the packet of %v is %v", seed, r, p)
		}
		at := r.First + 1 + rng.Int64N(r.Len())
		if c := d.Cut(r, at, rng.Int64N(10)); c <= r.First || c > r.Last || c != r.Last && !bounds[c] {
			t.Fatalf("seed %d: %v is cut at %d, asked for at %d", seed, r, c, at)
		}
	}
}

func fileOf(d *Dataset, u int64) int {
	i, _ := d.Locate(u)
	return i
}

// TestInputOfAJob refuses descriptions whose input is none, and keeps the blob of one with every copy of the ledger.
func TestInputOfAJob(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	good := Ship{Name: InputShip, SHA256: hash, Size: MaxInput, Keep: true}
	for name, c := range map[string]struct {
		begun Ship
		input []byte
		ok    bool
	}{
		"none":         {ok: true},
		"little":       {input: []byte("x"), ok: true},
		"a blob":       {begun: good, ok: true},
		"both":         {begun: good, input: []byte("x")},
		"too large":    {begun: Ship{Name: InputShip, SHA256: hash, Size: MaxInput + 1, Keep: true}},
		"of no size":   {begun: Ship{Name: InputShip, SHA256: hash, Keep: true}},
		"of no hash":   {begun: Ship{Name: InputShip, SHA256: "ab", Size: 1, Keep: true}},
		"other name":   {begun: Ship{Name: "library", SHA256: hash, Size: 1, Keep: true}},
		"without name": {begun: Ship{SHA256: hash, Size: 1, Keep: true}},
		"not kept":     {begun: Ship{Name: InputShip, SHA256: hash, Size: 1}},
	} {
		j := Job{Protocol: Protocol, Work: Work{Kind: "ROOT"}, Begun: c.begun, Input: c.input}
		if err := j.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if kept := j.Kept(); c.ok && c.begun.Name != "" && (len(kept) != 1 || kept[0] != c.begun) {
			t.Errorf("%s: keeps %v", name, kept)
		}
	}
	ships := []Ship{
		{Name: InputShip, SHA256: hash, Size: MaxInput},
		{Name: "sources", SHA256: hash, Size: MaxShip, Keep: true},
	}
	if err := (Work{Kind: "ROOT", Ships: ships}).Check(); err != nil {
		t.Error(err)
	}
}
