package exec

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// openBytes opens a blob of items with that content.
func openBytes(t testing.TB, content []byte) (*Items, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "items")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	it, err := OpenItems(path)
	if err == nil {
		t.Cleanup(func() { _ = it.Close() })
	}
	return it, err
}

// Items come out of a blob as they went in, each by its number.
func TestItemsComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		items := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 1, 20).Draw(rt, "items")
		blob, err := PackItems(items)
		if err != nil {
			rt.Fatal(err)
		}
		it, err := openBytes(t, blob)
		if err != nil {
			rt.Fatal(err)
		}
		if it.Len() != int64(len(items)) {
			rt.Fatalf("%d items, want %d", it.Len(), len(items))
		}
		for i, want := range items {
			if got, err := it.At(int64(i)); err != nil || !bytes.Equal(got, want) {
				rt.Fatalf("item %d is %q: %v; want %q", i, got, err, want)
			}
		}
		for _, i := range []int64{-1, it.Len()} {
			if _, err := it.At(i); !errors.Is(err, ErrItems) {
				rt.Fatalf("item %d: %v", i, err)
			}
		}
	})
}

func TestItemsAreBounded(t *testing.T) {
	for name, items := range map[string][][]byte{"none": nil, "too many bytes": {make([]byte, tasks.MaxItems)}} {
		if _, err := PackItems(items); !errors.Is(err, ErrItems) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzItems opens any bytes as a blob of items: it is refused, or every item of it can be read or is refused.
func FuzzItems(f *testing.F) {
	good, err := PackItems([][]byte{[]byte("a"), nil, []byte("bcd")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-2])
	f.Add([]byte(itemsMagic + "\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		it, err := openBytes(t, content)
		if err != nil {
			if !errors.Is(err, ErrItems) {
				t.Error(err)
			}
			return
		}
		for i := range it.Len() {
			if item, err := it.At(i); err == nil && len(item) > len(content) {
				t.Errorf("item %d has %d bytes in a blob of %d", i, len(item), len(content))
			}
		}
		first, on, err := it.Links()
		whole := int64(len(first)) == it.Len()+1 && int(first[len(first)-1]) == len(on) && 8*len(on) <= len(content)
		if err == nil && !whole {
			t.Errorf("%d items name %d units, in %d bytes", it.Len(), len(on), len(content))
		}
	})
}

// Items that name units come out of a blob with these, and what does not tell which is refused.
func TestItemsNameUnits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Int64(), 0, 5), 1, 10).Draw(rt, "on")
		items := make([][]byte, len(want))
		for i, on := range want {
			items[i] = LinkedItem(on, []byte("item"))
		}
		blob, err := PackItems(items)
		if err != nil {
			rt.Fatal(err)
		}
		it, err := ReadItems(blob)
		if err != nil {
			rt.Fatal(err)
		}
		first, on, err := it.Links()
		if err != nil || len(first) != len(want)+1 {
			rt.Fatalf("%d items of %d: %v", len(first)-1, len(want), err)
		}
		for i := range want {
			if got := on[first[i]:first[i+1]]; !slices.Equal(got, want[i]) {
				rt.Fatalf("item %d names %v, want %v", i, got, want[i])
			}
		}
	})
	for name, item := range map[string][]byte{
		"too short":        {1, 0, 0},
		"more than it has": {1, 0, 0, 0, 9, 9},
		"too many":         append([]byte{1, 0, 1, 0}, make([]byte, 8<<16)...),
	} {
		blob, err := PackItems([][]byte{item})
		if err != nil {
			t.Fatal(err)
		}
		it, err := ReadItems(blob)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := it.Links(); !errors.Is(err, ErrItems) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
