package journal_test

import (
	"encoding/binary"
	"hash/fnv"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/quorum"
)

// Where bbolt's meta pages, the first two of a file, keep what they say, and its checksum.
const (
	pageSize      = 4096
	metaAt        = 16
	metaChecksum  = metaAt + 56
	bytesOfAnEdit = 6
)

// edited is a file after edits of six bytes each: what is done, a byte that it is done with, and where.
func edited(file, edits []byte) []byte {
	out := append([]byte(nil), file...)
	for ; len(edits) >= bytesOfAnEdit && len(out) > 0; edits = edits[bytesOfAnEdit:] {
		value, at := edits[1], int(binary.BigEndian.Uint32(edits[2:]))%len(out)
		switch edits[0] % 6 {
		case 0: // a bit flips
			out[at] ^= 1 << (value % 8)
		case 1: // a byte is another
			out[at] = value
		case 2: // a sector was never written
			clear(out[at&^511:][:min(512, len(out)-at&^511)])
		case 3: // a page is another one
			copy(out[at&^(pageSize-1):], file[int(value)*pageSize%len(file):][:pageSize])
		case 4: // the file ends early
			out = out[:at]
		case 5: // the file goes on
			out = append(out, make([]byte, int(value)*64)...)
		}
	}
	return out
}

// resealed puts the checksums of bbolt's meta pages right, as a disk never would.
func resealed(file []byte) []byte {
	for page := 0; page < 2*pageSize && len(file) >= page+metaChecksum+8; page += pageSize {
		h := fnv.New64a()
		h.Write(file[page+metaAt : page+metaChecksum])
		binary.LittleEndian.PutUint64(file[page+metaChecksum:], h.Sum64())
	}
	return file
}

// FuzzFile opens files that were changed: each is what was written, or is told as damaged; nothing hangs, and nothing
// ends the process.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	var files [2][]byte
	var logs [2]quorum.Log
	files[0], logs[0] = written(f, filepath.Join(dir, "written"))
	files[1], logs[1] = compacted(f, filepath.Join(dir, "compacted"))
	for what := range byte(6) {
		for _, at := range []byte{0, 0x10, 0x20, 0x30} { // the meta pages, and the first of those that follow
			f.Add(what%2 == 0, at%0x20 == 0, []byte{what, 3, 0, 0, at, 0x18})
		}
	}
	f.Fuzz(func(t *testing.T, snapshots, reseal bool, edits []byte) {
		i := 0
		if snapshots {
			i = 1
		}
		if len(edits) > 64*bytesOfAnEdit {
			return
		}
		file := edited(files[i], edits)
		if reseal {
			file = resealed(file)
		}
		exactOrDamaged(t, filepath.Join(t.TempDir(), "j"), "changed", file, logs[i])
	})
}
