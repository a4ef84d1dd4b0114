package exec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// resultOf is a result of an output and files, which lie behind it in order.
func resultOf(t testing.TB, output string, files ...[2]string) []byte {
	t.Helper()
	b := []byte(output)
	var index []ResultFile
	for _, f := range files {
		index = append(index, ResultFile{Name: f[0], Offset: int64(len(b)), Size: int64(len(f[1]))})
		b = append(b, f[1]...)
	}
	return ended(t, b, int64(len(output)), index)
}

func ended(t testing.TB, b []byte, output int64, index []ResultFile) []byte {
	t.Helper()
	text, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, text...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
	b = binary.BigEndian.AppendUint64(b, uint64(output))
	return append(b, resultEnd...)
}

func TestReadResult(t *testing.T) {
	whole := resultOf(t, "output", [2]string{"skim.root", "trees"}, [2]string{"a/b.root", ""})
	size, files, err := ReadResult(bytes.NewReader(whole), int64(len(whole)))
	if err != nil || size != 6 || len(files) != 2 {
		t.Fatal(size, files, err)
	}
	dir := t.TempDir()
	paths, err := PlaceFiles(bytes.NewReader(whole), files, dir, "", nil)
	if err != nil || len(paths) != 2 {
		t.Fatal(paths, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "skim.root")); err != nil || string(got) != "trees" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a", "b.root")); err != nil || info.Size() != 0 {
		t.Error(err)
	}
	for _, plain := range []string{"", "short", strings.Repeat("a ROOT file", 100)} {
		if size, files, err := ReadResult(strings.NewReader(plain), int64(len(plain))); err != nil ||
			size != int64(len(plain)) || files != nil {
			t.Errorf("%q: %d, %v, %v", plain, size, files, err)
		}
	}
}

// TestReadResultRefuses: whatever a result says, nothing is written elsewhere, twice, or out of other bytes.
func TestReadResultRefuses(t *testing.T) {
	for _, index := range [][]ResultFile{
		{{Name: "../up.root", Offset: 6}},
		{{Name: "/abs.root", Offset: 6}},
		{{Name: "", Offset: 6}},
		{{Name: "a//b.root", Offset: 6}},
		{{Name: "a\\b.root", Offset: 6}},
		{{Name: ".profile.root", Offset: 6}},
		{{Name: ".config/autostart/a.desktop.root", Offset: 6}},
		{{Name: "a/.b.root", Offset: 6}},
		{{Name: "a\x1b[2Jb.root", Offset: 6}},
		{{Name: "a.root", Offset: 6}, {Name: "a.root", Offset: 6}},
		{{Name: "a.root", Offset: 6}, {Name: "a.root/b.root", Offset: 6}},
		{{Name: "a.root", Offset: 0, Size: 6}},
		{{Name: "a.root", Offset: 6, Size: 100}},
		{{Name: "a.root", Offset: 6, Size: -1}},
		{{Name: "a.root", Offset: 1 << 62, Size: 1 << 62}},
		{{Name: "a.root", Offset: 6, Size: 4}, {Name: "b.root", Offset: 8, Size: 2}},
		{{Name: "Makefile", Offset: 6}},
		{{Name: "rootlogon.C", Offset: 6}},
		{{Name: ".root", Offset: 6}},
	} {
		whole := ended(t, []byte("outputfile"), 6, index)
		if _, files, err := ReadResult(bytes.NewReader(whole), int64(len(whole))); !errors.Is(err, ErrResult) {
			t.Errorf("%+v: %v, %v", index, files, err)
		}
	}
	whole := ended(t, []byte("output"), 6000, nil)
	if _, _, err := ReadResult(bytes.NewReader(whole), int64(len(whole))); !errors.Is(err, ErrResult) {
		t.Error(err)
	}
}

// FuzzResult reads results of any bytes: what it returns lies within them.
func FuzzResult(f *testing.F) {
	f.Add(resultOf(f, "output", [2]string{"skim.root", "trees"}))
	f.Add(resultOf(f, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, files, err := ReadResult(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if size < 0 || size > int64(len(b)) {
			t.Fatalf("an output of %d of %d bytes", size, len(b))
		}
		for _, r := range files {
			if r.Offset < size || r.Size < 0 || r.Offset+r.Size > int64(len(b)) || !filepath.IsLocal(r.Name) {
				t.Fatalf("%+v of %d bytes", r, len(b))
			}
		}
	})
}

// TestPlaceFilesSparesOtherJobs replaces what a job of the same mark has written, and nothing else.
func TestPlaceFilesSparesOtherJobs(t *testing.T) {
	dir := t.TempDir()
	one, other := OutputMark("me", "ROOT", "/a/Sel.C"), OutputMark("me", "ROOT", "/b/Sel.C")
	if one == other || len(one) >= markSize {
		t.Fatalf("%q, %q", one, other)
	}
	for i, c := range []struct{ mark, before string }{
		{one, ""}, {one, ""}, {other, "o-before.root"}, {other, ""}, {"", "o-before-2.root"}, {one, "o-before-3.root"},
	} {
		placed, err := PlaceFiles(strings.NewReader("x"), []ResultFile{{Name: "o.root", Size: 1}}, dir, c.mark, nil)
		if err != nil || placed[0].Before != c.before || !Marked(placed[0].Path, c.mark) {
			t.Errorf("at %d: %+v, %v", i, placed, err)
		}
	}
}

// TestPlaceFilesSparesTheRest: where files of a result go is the word of another node. What the user has, or has linked
// to, is there afterwards as it was; what a job has written gives way to the next.
func TestPlaceFilesSparesTheRest(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	has := func(name, want string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, want %q: %v", name, got, want, err)
		}
	}
	write("mine.root", "the user's")
	write("input.root", "the data")
	for _, link := range []string{"link", "deep"} {
		if err := os.Symlink(outside, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"mine.root", "input.root", "link/l.root", "deep/er/d.root", "new/n.root"}
	place := func(text string) []Placed {
		t.Helper()
		var all [][2]string
		for _, name := range names {
			all = append(all, [2]string{name, text})
		}
		whole := resultOf(t, "output", all...)
		_, files, err := ReadResult(bytes.NewReader(whole), int64(len(whole)))
		if err != nil {
			t.Fatal(err)
		}
		placed, err := PlaceFiles(bytes.NewReader(whole), files, dir, "", func(path string) bool {
			return path == filepath.Join(dir, "input.root")
		})
		if err != nil || len(placed) != len(names) {
			t.Fatal(placed, err)
		}
		return placed
	}
	if placed := place("first"); placed[0].Before != "mine-before.root" || placed[4].Before != "" {
		t.Errorf("%+v", placed)
	}
	for i, p := range place("second") {
		marks := unix.Setxattr(filepath.Join(dir, "input.root"), "user.test", []byte("1"), 0) == nil
		if marks && p.Before != "" {
			t.Errorf("%s: what a job has written is kept as %s", names[i], p.Before)
		}
	}
	// What its user has changed in place, of the same size, is the user's.
	mine := filepath.Join(dir, "mine.root")
	write("mine.root", "edited")
	if Written(mine) || Marked(mine, "") {
		t.Error("what a user has changed counts as a job's")
	}
	if placed := place("second"); placed[0].Before != "mine-before-2.root" {
		t.Errorf("%+v", placed[0])
	}
	has("mine-before-2.root", "edited")
	has("mine-before.root", "the user's")
	has("input.root", "the data")
	for _, name := range []string{"mine.root", "input-merged.root", "l.root", "d.root", "new/n.root"} {
		has(name, "second")
	}
	if there, err := os.ReadDir(outside); err != nil || len(there) > 0 {
		t.Errorf("outside of the folder: %v, %v", there, err)
	}
	for _, name := range []string{"", "../up.root", ".hidden/h.root", "/tmp/abs.root"} {
		if _, err := PlaceFiles(strings.NewReader(""), []ResultFile{{Name: name}}, dir, "", nil); !errors.Is(err, ErrResult) {
			t.Errorf("file %q was placed: %v", name, err)
		}
	}
}
