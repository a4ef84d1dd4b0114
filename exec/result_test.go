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
	paths, err := PlaceFiles(bytes.NewReader(whole), files, dir, nil)
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
		{{Name: "../up", Offset: 6}},
		{{Name: "/abs", Offset: 6}},
		{{Name: "", Offset: 6}},
		{{Name: "a//b", Offset: 6}},
		{{Name: "a\\b", Offset: 6}},
		{{Name: ".profile", Offset: 6}},
		{{Name: ".config/autostart/a.desktop", Offset: 6}},
		{{Name: "a/.b", Offset: 6}},
		{{Name: "a\x1b[2Jb", Offset: 6}},
		{{Name: "a", Offset: 6}, {Name: "a", Offset: 6}},
		{{Name: "a", Offset: 6}, {Name: "a/b", Offset: 6}},
		{{Name: "a", Offset: 0, Size: 6}},
		{{Name: "a", Offset: 6, Size: 100}},
		{{Name: "a", Offset: 6, Size: -1}},
		{{Name: "a", Offset: 1 << 62, Size: 1 << 62}},
		{{Name: "a", Offset: 6, Size: 4}, {Name: "b", Offset: 8, Size: 2}},
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
