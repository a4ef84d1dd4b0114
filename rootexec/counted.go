package rootexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Counted reads the units and the canary that a blob's own objects show. These are TParameter<Long64_t>
// as ROOT streams them, the value last; child/blob.h describes the records around them.
func Counted(path string) (units int64, canary uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, fmt.Errorf("could not count blob: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("could not count blob: %w", err)
	}
	found := map[string]uint64{}
	if err := scanCounters(f, info.Size(), found); err != nil {
		return 0, 0, fmt.Errorf("could not count blob %q: %w", path, err)
	}
	u, ok := found["dtpnode.units"]
	c, too := found["dtpnode.canary"]
	if !ok || !too {
		return 0, 0, fmt.Errorf("could not count blob %q: its counters are missing", path)
	}
	return int64(u), c, nil
}

// maxRecords bounds the records of a blob: of 24 bytes each, gigabytes of them would take many times that where a
// merge reads them.
const maxRecords = 1 << 20

// errImpossible says that a record is larger than any that child/blob.cc writes, or than what is left of the blob.
var errImpossible = errors.New("a record's length is impossible")

// recordHead is what child/blob.h says of a record, before the name.
type recordHead struct {
	flags, name, class uint32
	object             uint64 // bytes of the object, or of the file
}

// fits reports whether a record can have that head, where left bytes follow it.
func (h recordHead) fits(left int64) bool {
	const (
		isFile    = 2
		maxName   = 1 << 16
		maxObject = 1<<31 - 1 // of ROOT's buffers
	)
	names := int64(h.name) + int64(h.class)
	return h.name <= maxName && h.class <= maxName && (h.object <= maxObject || h.flags&isFile != 0) && names <= left &&
		h.object <= uint64(left-names)
}

// scanCounters walks over the records of a blob of that size and keeps the last eight bytes of the counters. It reads
// nothing else of objects and files, which may have gigabytes. It takes what BlobReader in child/blob.cc takes, but for
// blobs of another ROOT.
func scanCounters(r io.ReaderAt, size int64, found map[string]uint64) error {
	var head [16]byte
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), head[:]); err != nil || string(head[:8]) != "DTPBLOB1" {
		return errors.Join(errors.New("not a blob of dtpnode"), err)
	}
	for at, n := int64(len(head)), 0; at < size; n++ {
		if n == maxRecords {
			return errors.New("it has too many records")
		}
		var rec [24]byte
		if _, err := io.ReadFull(io.NewSectionReader(r, at, size-at), rec[:]); err != nil {
			return err
		}
		at += int64(len(rec))
		h := recordHead{
			flags: binary.BigEndian.Uint32(rec[:]), name: binary.BigEndian.Uint32(rec[8:]),
			class: binary.BigEndian.Uint32(rec[12:]), object: binary.BigEndian.Uint64(rec[16:]),
		}
		if !h.fits(size - at) {
			return errImpossible
		}
		name := make([]byte, h.name)
		if _, err := io.ReadFull(io.NewSectionReader(r, at, size-at), name); err != nil {
			return err
		}
		at += int64(h.name) + int64(h.class) + int64(h.object)
		if h.object >= 8 && (string(name) == "dtpnode.units" || string(name) == "dtpnode.canary") {
			if _, twice := found[string(name)]; twice {
				return fmt.Errorf("it has %s twice", name)
			}
			var v [8]byte
			if _, err := r.ReadAt(v[:], at-8); err != nil {
				return err
			}
			found[string(name)] = binary.BigEndian.Uint64(v[:])
		}
	}
	return nil
}
