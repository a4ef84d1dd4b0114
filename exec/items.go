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
