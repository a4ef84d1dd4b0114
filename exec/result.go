package exec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// A result, which Session.Finish and Program.Save write, is one file, so that nodes keep and ship it as one blob. It is
// the output, as users get it, alone or followed by further files that the user's code has written:
//
//	offset  size
//	0       m     the output
//	...           the other files
//	t       j     JSON: a list of ResultFile
//	t+j     8     j, big-endian
//	t+j+8   8     m, big-endian
//	t+j+16  8     "DTPFILES"

// ResultFile is a file that stands behind the output in a result.
type ResultFile struct {
	Name   string `json:"name"` // relative and local, with slashes, not hidden, with one of dataEndings
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
}

const (
	resultEnd   = "DTPFILES"
	resultTail  = 24
	maxIndex    = 16 << 20 // bytes of the list
	maxNameSize = 4096
)

// ErrResult says that a result ends like one that is followed by files, and is none.
var ErrResult = errors.New("the list of files behind the output is damaged")

// ReadResult returns the size of the output in a result of that size, and the files behind it. It reads only the list.
// Names are local and not hidden, differ from each other, and none is a folder of another; the files lie within the
// result, behind the output, and do not overlap.
func ReadResult(r io.ReaderAt, size int64) (output int64, files []ResultFile, err error) {
	var tail [resultTail]byte
	if size < resultTail {
		return size, nil, nil
	}
	if _, err := r.ReadAt(tail[:], size-resultTail); err != nil {
		return 0, nil, fmt.Errorf("could not read a result: %w", err)
	}
	if string(tail[16:]) != resultEnd {
		return size, nil, nil
	}
	length, main := binary.BigEndian.Uint64(tail[:]), binary.BigEndian.Uint64(tail[8:])
	if length > maxIndex || length > uint64(size-resultTail) || main > uint64(size-resultTail)-length {
		return 0, nil, ErrResult
	}
	index := make([]byte, length)
	if _, err := r.ReadAt(index, size-resultTail-int64(length)); err != nil {
		return 0, nil, fmt.Errorf("could not read a result: %w", err)
	}
	if err := json.Unmarshal(index, &files); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrResult, err)
	}
	return int64(main), files, checkFiles(files, int64(main), size-resultTail-int64(length))
}

// checkFiles compares a list of files with the bytes [first, last) of a result, in which they must lie in order.
func checkFiles(files []ResultFile, first, last int64) error {
	names := map[string]bool{}
	folders := map[string]bool{}
	for _, f := range files {
		if !localName(f.Name) || names[f.Name] || f.Offset < first || f.Size < 0 || f.Size > last-f.Offset {
			return ErrResult
		}
		first = f.Offset + f.Size
		names[f.Name] = true
		for dir := path.Dir(f.Name); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for name := range names {
		if folders[name] {
			return ErrResult
		}
	}
	return nil
}

// dataEndings are what the names of files in a result may end in: no program takes such a file for its own, as it does
// a Makefile, a macro or a module in the folder where it starts.
var dataEndings = []string{".root"}

// localName reports whether a name leads to a file below the folder that it is joined with, on any host. None is
// hidden, as those are that shells and programs read at their start: results are made by nodes whose word for a name is
// not to be taken.
func localName(name string) bool {
	command := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }
	return name != "" && len(name) <= maxNameSize && name == path.Clean(name) && !path.IsAbs(name) &&
		!strings.HasPrefix(name, ".") && !strings.Contains(name, "/.") && !strings.ContainsFunc(name, command) &&
		slices.Contains(dataEndings, path.Ext(name))
}
