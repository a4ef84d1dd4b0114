package rootexec

import (
	"bufio"
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
	found := map[string]uint64{}
	if err := scanCounters(bufio.NewReader(f), found); err != nil {
		return 0, 0, fmt.Errorf("could not count blob %q: %w", path, err)
	}
	u, ok := found["dtpnode.units"]
	c, too := found["dtpnode.canary"]
	if !ok || !too {
		return 0, 0, fmt.Errorf("could not count blob %q: its counters are missing", path)
	}
	return int64(u), c, nil
}

// errImpossible says that a record is larger than any that child/blob.cc writes.
var errImpossible = errors.New("a record's length is impossible")

// scanCounters walks over a blob's records and keeps the last eight bytes of the counters. It takes what BlobReader in
// child/blob.cc takes, but for blobs of another ROOT.
func scanCounters(r *bufio.Reader, found map[string]uint64) error {
	const (
		maxName   = 1 << 16
		maxObject = 1<<31 - 1 // of ROOT's buffers
	)
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:8]) != "DTPBLOB1" {
		return errors.Join(errors.New("not a blob of dtpnode"), err)
	}
	for {
		var rec [24]byte
		if _, err := io.ReadFull(r, rec[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		n, c := int64(binary.BigEndian.Uint32(rec[8:])), int64(binary.BigEndian.Uint32(rec[12:]))
		size := binary.BigEndian.Uint64(rec[16:])
		if n > maxName || c > maxName || size > maxObject {
			return errImpossible
		}
		name := make([]byte, n)
		if _, err := io.ReadFull(r, name); err != nil {
			return err
		}
		skip := c + int64(size)
		counter := size >= 8 && (string(name) == "dtpnode.units" || string(name) == "dtpnode.canary")
		if counter {
			skip -= 8
		}
		if _, err := io.CopyN(io.Discard, r, skip); err != nil {
			return err
		}
		if counter {
			var v [8]byte
			if _, err := io.ReadFull(r, v[:]); err != nil {
				return err
			}
			found[string(name)] = binary.BigEndian.Uint64(v[:])
		}
	}
}
