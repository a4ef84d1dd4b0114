package child

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxDebugged bounds the size of a library whose debug information is read: that of user code is small, and that of
// what it is linked with may be large.
const maxDebugged = 128 << 20

// lineFinder finds the lines of the source of code in libraries, by their own debug information (DWARF), for which it
// needs no program of the host.
type lineFinder struct {
	libs map[string]*debugged // by path; nil without debug information
}

func newLineFinder() *lineFinder { return &lineFinder{libs: map[string]*debugged{}} }

// debugged is a library with debug information.
type debugged struct {
	symbols map[string]uint64 // addresses
	data    *dwarf.Data
	dir     string // the library's folder
}

// find is "FILE:LINE" of the code at an offset from a symbol, in hex, or from the beginning of the library if that is
// empty; empty if it is not known. back says that the code is where a call returns to.
func (l *lineFinder) find(path, symbol, offset string, back bool) string {
	lib, known := l.libs[path]
	if !known {
		lib = readDebugged(path)
		l.libs[path] = lib
	}
	off, err := strconv.ParseUint(strings.TrimPrefix(offset, "0x"), 16, 64)
	if lib == nil || err != nil {
		return ""
	}
	at, ok := lib.symbols[symbol]
	if !ok && symbol != "" {
		return ""
	}
	if at += off; back && at > 0 {
		at--
	}
	return lib.line(at)
}

// readDebugged reads a library, nil if there is nothing to be known of it.
func readDebugged(path string) *debugged {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxDebugged {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if f.Section(".debug_line") == nil && f.Section(".zdebug_line") == nil {
		return nil
	}
	out := &debugged{symbols: map[string]uint64{}, dir: filepath.Dir(path)}
	if out.data, err = f.DWARF(); err != nil {
		return nil
	}
	dynamic, _ := f.DynamicSymbols()
	static, _ := f.Symbols()
	for _, s := range append(static, dynamic...) {
		if s.Section != elf.SHN_UNDEF {
			out.symbols[s.Name] = s.Value
		}
	}
	return out
}

// line finds an address in the tables of lines.
func (d *debugged) line(at uint64) string {
	r := d.data.Reader()
	unit, err := r.SeekPC(at)
	if err != nil {
		return ""
	}
	lines, err := d.data.LineReader(unit)
	if err != nil || lines == nil {
		return ""
	}
	// The table has a sequence for each function that is linked for itself, in no order, which LineReader.SeekPC relies
	// on.
	var entry, next dwarf.LineEntry
	for entry.EndSequence = true; lines.Next(&next) == nil; entry = next {
		if !entry.EndSequence && entry.Address <= at && at < next.Address && entry.File != nil && entry.Line > 0 {
			return fmt.Sprintf("%s:%d", d.short(entry.File.Name), entry.Line)
		}
	}
	return ""
}

// short is a source's name as its user knows it: below the library's folder, wherever that was when it was compiled.
func (d *debugged) short(file string) string {
	if _, below, ok := strings.Cut(file, "/"+filepath.Base(d.dir)+"/"); ok {
		return strings.TrimPrefix(below, "./")
	}
	return filepath.Base(file)
}
