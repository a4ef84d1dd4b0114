package rootexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"

	"github.com/dtpnode/dtpnode/exec"
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
		if where := (*fs.PathError)(nil); !errors.As(err, &where) {
			err = fmt.Errorf("%w: %w", exec.ErrFlawed, err)
		}
		return 0, 0, fmt.Errorf("could not count blob %q: %w", path, err)
	}
	u, ok := found["dtpnode.units"]
	c, too := found["dtpnode.canary"]
	if !ok || !too {
		return 0, 0, fmt.Errorf("could not count blob %q: %w: its counters are missing", path, exec.ErrFlawed)
	}
	return int64(u), c, nil
}

// What a blob may hold, as in child/blob.h. Of 24 bytes each, gigabytes of records would take many times that where a
// merge reads them; and each file becomes one of the user's.
const (
	maxRecords   = 1 << 20
	maxFiles     = 50_000
	maxNameBytes = 64 << 20 // of all names, and names of classes
)

// Claims reads which files and objects a blob has.
func Claims(path string) ([]exec.Claim, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("could not look into blob: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("could not look into blob: %w", err)
	}
	files, objects := exec.Claim{What: "files", Most: maxFiles}, exec.Claim{What: "objects", Most: maxRecords}
	err = scanRecords(f, info.Size(), func(h recordHead, names []byte, _ int64) error {
		sum := fnv.New64a()
		_, _ = sum.Write(names)
		if h.flags&apartFlag != 0 { // it stays beside those of its name, whichever they are
			_ = binary.Write(sum, binary.BigEndian, int64(len(objects.Names)))
			_, _ = io.WriteString(sum, path)
		} else {
			_ = binary.Write(sum, binary.BigEndian, h.ordinal)
		}
		if h.flags&fileFlag != 0 {
			files.Names = append(files.Names, sum.Sum64())
		}
		objects.Names = append(objects.Names, sum.Sum64())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("could not look into blob %q: %w", path, err)
	}
	return []exec.Claim{files, objects}, nil
}

// Flags of a record.
const (
	apartFlag = 1
	fileFlag  = 2
)

// errImpossible says that a record is larger than any that child/blob.cc writes, or than what is left of the blob.
var errImpossible = errors.New("a record's length is impossible")

// recordHead is what child/blob.h says of a record, before the name.
type recordHead struct {
	flags, ordinal, name, class uint32
	object                      uint64 // bytes of the object, or of the file
}

// fits reports whether a record can have that head, where left bytes follow it.
func (h recordHead) fits(left int64) bool {
	const (
		maxName   = 1 << 16
		maxObject = 1<<31 - 1 // of ROOT's buffers
	)
	names := int64(h.name) + int64(h.class)
	return h.name <= maxName && h.class <= maxName && (h.object <= maxObject || h.flags&fileFlag != 0) && names <= left &&
		h.object <= uint64(left-names)
}

// scanCounters keeps the last eight bytes of the counters of a blob of that size.
func scanCounters(r io.ReaderAt, size int64, found map[string]uint64) error {
	return scanRecords(r, size, func(h recordHead, names []byte, end int64) error {
		name := string(names[:h.name])
		if h.object < 8 || name != "dtpnode.units" && name != "dtpnode.canary" {
			return nil
		}
		if _, twice := found[name]; twice {
			return fmt.Errorf("it has %s twice", name)
		}
		var v [8]byte
		if _, err := r.ReadAt(v[:], end-8); err != nil {
			return err
		}
		found[name] = binary.BigEndian.Uint64(v[:])
		return nil
	})
}

// scanRecords walks over the records of a blob of that size, and tells each of them: its head, its name with that of
// its class behind it, and where it ends. It reads nothing else of objects and files, which may have gigabytes. It
// takes what BlobReader in child/blob.cc takes, but for blobs of another ROOT.
func scanRecords(r io.ReaderAt, size int64, each func(h recordHead, names []byte, end int64) error) error {
	var head [16]byte
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), head[:]); err != nil || string(head[:8]) != "DTPBLOB1" {
		return errors.Join(errors.New("not a blob of dtpnode"), err)
	}
	files, bytes := 0, int64(0)
	for at, n := int64(len(head)), 0; at < size; n++ {
		var rec [24]byte
		if _, err := io.ReadFull(io.NewSectionReader(r, at, size-at), rec[:]); err != nil {
			return err
		}
		at += int64(len(rec))
		h := recordHead{
			flags: binary.BigEndian.Uint32(rec[:]), ordinal: binary.BigEndian.Uint32(rec[4:]),
			name: binary.BigEndian.Uint32(rec[8:]), class: binary.BigEndian.Uint32(rec[12:]),
			object: binary.BigEndian.Uint64(rec[16:]),
		}
		if !h.fits(size - at) {
			return errImpossible
		}
		if h.flags&fileFlag != 0 {
			files++
		}
		bytes += int64(h.name) + int64(h.class)
		if n == maxRecords || files > maxFiles || bytes > maxNameBytes {
			return fmt.Errorf("it has more than %d objects, %d files or %d MiB of names", maxRecords, maxFiles,
				maxNameBytes>>20)
		}
		names := make([]byte, int64(h.name)+int64(h.class))
		if _, err := io.ReadFull(io.NewSectionReader(r, at, size-at), names); err != nil {
			return err
		}
		at += int64(len(names)) + int64(h.object)
		if err := each(h, names, at); err != nil {
			return err
		}
	}
	return nil
}
