package tasks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAppendsMakeTheDataset: whatever way files are appended in, the units are those of a dataset of all of them, and
// the dataset that was cloned stays as it was.
func TestAppendsMakeTheDataset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := genDataset(t)
		cut := rapid.IntRange(0, len(all.Files)).Draw(t, "first")
		first, err := NewDataset(slices.Clone(all.Files[:cut]))
		if err != nil {
			t.Fatal(err)
		}
		grown := first.Clone()
		for at := cut; at < len(all.Files); {
			to := rapid.IntRange(at+1, len(all.Files)).Draw(t, "to")
			if err := grown.Append(all.Files[at:to]); err != nil {
				t.Fatal(err)
			}
			at = to
		}
		if grown.Space() != all.Space() || len(first.Files) != cut {
			t.Fatalf("it has %v, want %v; the one it was cloned from has %d files", grown.Space(), all.Space(), len(first.Files))
		}
		for i := range all.Files {
			if grown.Units(i) != all.Units(i) {
				t.Fatalf("file %d has units %v, want %v", i, grown.Units(i), all.Units(i))
			}
		}
	})
}

// TestAppendSumNamesEverything: a sum is that of exactly these appends in this order.
func TestAppendSumNamesEverything(t *testing.T) {
	base := Append{Seq: 1, Files: []File{{URL: "a", Part: "t", Entries: 3, Clusters: []int64{0, 2}, Bytes: 5, UUID: "u"}}}
	sum := base.Sum(AppendSum{})
	seen := map[AppendSum]string{sum: "itself"}
	for name, change := range map[string]func(a *Append){
		"number":   func(a *Append) { a.Seq++ },
		"url":      func(a *Append) { a.Files[0].URL, a.Files[0].Part = "at", "" },
		"items":    func(a *Append) { a.Files[0].URL, a.Files[0].Items = "", "a" },
		"entries":  func(a *Append) { a.Files[0].Entries++ },
		"bytes":    func(a *Append) { a.Files[0].Bytes++ },
		"clusters": func(a *Append) { a.Files[0].Clusters = []int64{0, 1} },
		"fewer":    func(a *Append) { a.Files[0].Clusters = []int64{0} },
		"uuid":     func(a *Append) { a.Files[0].UUID = "v" },
		"twice":    func(a *Append) { a.Files = append(a.Files, a.Files[0]) },
		"closing":  func(a *Append) { a.Close = true },
	} {
		a := base
		a.Files = slices.Clone(base.Files)
		change(&a)
		got := a.Sum(AppendSum{})
		if other, known := seen[got]; known {
			t.Errorf("%s has the sum of %s", name, other)
		}
		seen[got] = name
	}
	signed := base
	signed.Sig = []byte("x")
	if signed.Sum(AppendSum{}) != sum {
		t.Error("the sum is over the signature, too")
	}
	if base.Sum(sum) == sum {
		t.Error("the sum is not over what came before")
	}
}

// inline is a blob of items with the hash of some text, that travels with the bytes in data.
func inline(text string, size int64, data []byte) File {
	return File{Items: string(NameOf([]byte(text))), Entries: 1, Bytes: size, Data: data}
}

// TestAppendsAreBounded: what comes from whoever may submit is refused before it takes room.
func TestAppendsAreBounded(t *testing.T) {
	file := File{URL: "a", Entries: 1}
	for name, a := range map[string]Append{
		"no number":    {Files: []File{file}},
		"too late":     {Seq: MaxAppends + 1, Files: []File{file}},
		"nothing":      {Seq: 1},
		"empty file":   {Seq: 1, Files: []File{{URL: "a"}}},
		"negative":     {Seq: 1, Files: []File{{URL: "a", Entries: -1}}},
		"too many":     {Seq: 1, Files: []File{{URL: "a", Entries: MaxUnits}, file}},
		"too long":     {Seq: 1, Files: []File{{URL: strings.Repeat("a", MaxAppend), Entries: 1}}},
		"odd clusters": {Seq: 1, Files: []File{{URL: "a", Entries: 3, Clusters: []int64{2, 1}}}},
		"other items":  {Seq: 1, Files: []File{inline("a", 1, []byte("b"))}},
		"fewer items":  {Seq: 1, Files: []File{inline("abc", 2, []byte("abc"))}},
		"large items": {
			Seq:   1,
			Files: []File{inline(strings.Repeat("a", MaxItemsData+1), MaxItemsData+1, make([]byte, MaxItemsData+1))},
		},
		"items and none": {Seq: 1, Files: []File{{Entries: 1, Bytes: 1, Data: []byte("a")}}},
		"big signature":  {Seq: 1, Files: []File{file}, Sig: make([]byte, 1<<10)},
	} {
		if err := a.Check(); !errors.Is(err, ErrAppend) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, a := range []Append{{Seq: 1, Files: []File{file}}, {Seq: MaxAppends, Close: true},
		{Seq: 1, Files: []File{inline("a", 1, []byte("a"))}}} {
		if err := a.Check(); err != nil {
			t.Error(err)
		}
	}
	open := Job{Protocol: Protocol, Open: true, Want: R(0, 1), Data: Dataset{Files: []File{{Entries: 2}}}}
	if open.Check() == nil {
		t.Error("accepted an open job that does not want all of its units")
	}
}

// TestItemsOfADescription: the blobs of items that a description names are held to the bounds of those that are
// appended. Nodes ask for them by their hash, make files by that name, and take as many bytes as the description says.
func TestItemsOfADescription(t *testing.T) {
	const hash = "ab"
	blob := func(i int, bytes int64) File {
		return File{Items: fmt.Sprintf("%062x%s", i, hash), Entries: 1, Bytes: bytes}
	}
	var full, again []File
	for i := range MaxAllItems / MaxItems {
		full, again = append(full, blob(i, MaxItems)), append(again, blob(0, MaxItems))
	}
	for name, tc := range map[string]struct {
		files []File
		fine  bool
	}{
		"one":               {[]File{blob(0, 1)}, true},
		"as many as can be": {full, true},
		"one more":          {append(slices.Clip(full), blob(len(full), 1)), false},
		"one many times":    {append(slices.Clip(again), again...), true},
		"a path":            {[]File{{Items: "/../../x", Entries: 1, Bytes: 1}}, false},
		"endless":           {[]File{blob(0, 1<<60)}, false},
		"less than nothing": {[]File{blob(0, -1)}, false},
		"without a size":    {[]File{blob(0, 0)}, false},
		"beside a file":     {[]File{{URL: "a", Items: blob(0, 1).Items, Entries: 1, Bytes: 1}}, false},
	} {
		j := Job{Protocol: Protocol, Work: Work{Kind: "test"}, Data: Dataset{Files: tc.files}}
		if err := j.Check(); (err == nil) != tc.fine || err != nil && !errors.Is(err, ErrJob) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAppendPartsAreTheFiles: whatever files are appended at once, they are split into appends that are taken, with all
// files in their order, and no two that follow each other would fit into one.
func TestAppendPartsAreTheFiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := make([]File, rapid.IntRange(0, 3000).Draw(t, "files"))
		longest := rapid.IntRange(1, 2000).Draw(t, "longest")
		for i := range files {
			files[i] = File{URL: strings.Repeat("a", 1+i*7919%longest), Entries: int64(i + 1)}
		}
		parts := AppendParts(files)
		if got := slices.Concat(parts...); len(got) != len(files) || len(parts) > 1 && len(parts[0]) == 0 {
			t.Fatalf("%d files are in %d parts with %d files", len(files), len(parts), len(got))
		}
		next := int64(1)
		for i, part := range parts {
			for _, f := range part {
				if f.Entries != next {
					t.Fatalf("file %d is in the place of %d", f.Entries, next)
				}
				next++
			}
			a := Append{Seq: uint64(i + 1), Files: part, Sig: make([]byte, MaxAppendSig), Close: len(part) == 0}
			if err := a.Check(); err != nil {
				t.Fatalf("part %d of %d files: %v", i, len(part), err)
			}
			if i > 0 {
				if both := (&Append{Files: slices.Concat(parts[i-1], part[:1])}); both.Weight() <= MaxAppend-MaxAppendSig {
					t.Fatalf("part %d could have had the first file of the next", i-1)
				}
			}
		}
	})
}
