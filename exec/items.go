package exec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/tasks"
)

// A job may run over items that its user appends as bytes: each is a unit. Those of one append are one blob, which is
// laid out so that any language reads any item of it without the others:
//
//	8 bytes         itemsMagic
//	8 bytes         n, how many items there are, little-endian as all numbers
//	n times 8 bytes where each item ends, counted from the end of this list; it begins where the one before ends
//	                the items, one after the other
//
// A node hands the blob to generations as a file, of which an entry is an item, or as it is if it is small
// (Packet.Items, Packet.Small).
const itemsMagic = "dtpitems"

// itemsHead is the size of what stands before the list of ends, in bytes.
const itemsHead = len(itemsMagic) + 8

// ErrItems is the root of all errors about a blob of items that is none.
var ErrItems = errors.New("invalid blob of items")

// PackItems makes a blob of items. The error is that they are none, or take more than tasks.MaxItems bytes together.
func PackItems(items [][]byte) ([]byte, error) {
	size := int64(itemsHead) + 8*int64(len(items))
	for _, it := range items {
		size += int64(len(it))
	}
	if len(items) == 0 || size > tasks.MaxItems {
		return nil, fmt.Errorf("%w: %d items take %d bytes, want at least one item, and at most %d bytes", ErrItems,
			len(items), size, tasks.MaxItems)
	}
	out := append(make([]byte, 0, size), itemsMagic...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(items)))
	end := uint64(0)
	for _, it := range items {
		end += uint64(len(it))
		out = binary.LittleEndian.AppendUint64(out, end)
	}
	for _, it := range items {
		out = append(out, it...)
	}
	return out, nil
}

// Items is an open blob of items. Close it after use.
type Items struct {
	r    io.ReaderAt
	file io.Closer // nil for a blob in memory
	n    int64
	size int64 // of the items, in bytes
}

// OpenItems opens the blob of items at path. Its error is under ErrItems if the file is none.
func OpenItems(path string) (*Items, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("could not open a blob of items: %w", err)
	}
	it := &Items{r: f, file: f}
	info, err := f.Stat()
	if err == nil {
		err = it.readHead(info.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("could not open the blob of items %q: %w", path, err), f.Close())
	}
	return it, nil
}

// ReadItems opens a blob of items that is in memory, and is not changed any more. Its error is under ErrItems if it is
// none.
func ReadItems(blob []byte) (*Items, error) {
	it := &Items{r: bytes.NewReader(blob)}
	if err := it.readHead(int64(len(blob))); err != nil {
		return nil, fmt.Errorf("could not read a blob of items: %w", err)
	}
	return it, nil
}

// readHead reads how many items there are, and holds that against the size of the blob.
func (it *Items) readHead(size int64) error {
	var head [itemsHead]byte
	if _, err := it.r.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	n := binary.LittleEndian.Uint64(head[len(itemsMagic):])
	room := size - int64(itemsHead)
	if string(head[:len(itemsMagic)]) != itemsMagic || room < 0 || n > uint64(room)/8 {
		return fmt.Errorf("%w: it has %d bytes and says that it has %d items", ErrItems, size, n)
	}
	it.n, it.size = int64(n), room-8*int64(n)
	return nil
}

// Len is how many items there are.
func (it *Items) Len() int64 { return it.n }

// At reads the item with that number, from 0.
func (it *Items) At(i int64) ([]byte, error) {
	if i < 0 || i >= it.n {
		return nil, fmt.Errorf("%w: item %d is asked for, of %d", ErrItems, i, it.n)
	}
	first := int64(0)
	if i > 0 {
		var err error
		if first, err = it.end(i - 1); err != nil {
			return nil, err
		}
	}
	last, err := it.end(i)
	if err != nil {
		return nil, err
	}
	if first > last {
		return nil, fmt.Errorf("%w: item %d ends at %d and begins at %d", ErrItems, i, last, first)
	}
	item := make([]byte, last-first)
	if _, err := it.r.ReadAt(item, int64(itemsHead)+8*it.n+first); err != nil {
		return nil, fmt.Errorf("could not read item %d: %w", i, err)
	}
	return item, nil
}

// end is where an item ends, counted from where the items begin.
func (it *Items) end(i int64) (int64, error) {
	var b [8]byte
	if _, err := it.r.ReadAt(b[:], int64(itemsHead)+8*i); err != nil {
		return 0, fmt.Errorf("could not read where item %d ends: %w", i, err)
	}
	if e := binary.LittleEndian.Uint64(b[:]); e <= uint64(it.size) {
		return int64(e), nil
	}
	return 0, fmt.Errorf("%w: item %d ends behind the end of the blob", ErrItems, i)
}

// Close closes the blob.
func (it *Items) Close() error {
	if it.file == nil {
		return nil
	}
	return it.file.Close()
}

// An item may name units of its job whose results it takes (tasks.File, Depends). It begins with them then:
//
//	4 bytes         k, how many it names, little-endian as all numbers
//	k times 8 bytes their numbers in the job, each less than the item's own
//	                the item itself
//
// maxNamed bounds k: what takes more results takes sums of them.
const maxNamed = 1 << 16

// LinkedItem makes an item that names units.
func LinkedItem(on []int64, item []byte) []byte {
	out := make([]byte, 0, 4+8*len(on)+len(item))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(on)))
	for _, u := range on {
		out = binary.LittleEndian.AppendUint64(out, uint64(u))
	}
	return append(out, item...)
}

// Links reads which units each item names. Those of item i are on[first[i]] up to on[first[i+1]]. Its error is under
// ErrItems if an item does not tell.
func (it *Items) Links() (first []uint32, on []int64, err error) {
	first = make([]uint32, 1, it.n+1)
	at := int64(0)
	for i := range it.n {
		end, err := it.end(i)
		if err != nil {
			return nil, nil, err
		}
		named, err := it.named(at, end)
		if err != nil {
			return nil, nil, fmt.Errorf("item %d: %w", i, err)
		}
		on = append(on, named...)
		first, at = append(first, uint32(len(on))), end
	}
	return first, on, nil
}

// named is which units the item names whose bytes are from first up to last.
func (it *Items) named(first, last int64) ([]int64, error) {
	var head [4]byte
	base := int64(itemsHead) + 8*it.n
	if last-first < int64(len(head)) {
		return nil, fmt.Errorf("%w: its %d bytes do not say whose results it takes", ErrItems, last-first)
	}
	if _, err := it.r.ReadAt(head[:], base+first); err != nil {
		return nil, fmt.Errorf("could not read whose results it takes: %w", err)
	}
	k := int64(binary.LittleEndian.Uint32(head[:]))
	if k > maxNamed || k*8 > last-first-int64(len(head)) {
		return nil, fmt.Errorf("%w: it takes %d results, in %d bytes, want at most %d", ErrItems, k, last-first, maxNamed)
	}
	b := make([]byte, 8*k)
	if _, err := it.r.ReadAt(b, base+first+int64(len(head))); err != nil {
		return nil, fmt.Errorf("could not read whose results it takes: %w", err)
	}
	on := make([]int64, k)
	for i := range on {
		on[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return on, nil
}
