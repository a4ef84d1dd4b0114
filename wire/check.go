package wire

import (
	"encoding/binary"
	"fmt"
)

// MaxDepth is how deep arrays and maps may be nested in a value.
const MaxDepth = 16

// An element of an array can become a Go struct of hundreds of bytes, however few bytes encode it. So at most
// maxThrifty elements of a value may be nil, an empty array, which the decoder takes for a struct without content, or a
// map of less than thriftyMap bytes; no honest message has many such elements. This bounds the memory of a decoded
// value to a few dozen times its encoded size.
const (
	maxThrifty = 256
	thriftyMap = 12
)

// Check reports whether b is exactly one well-formed msgpack value that is safe to decode: every
// declared length fits the bytes that are left, nothing is nested deeper than MaxDepth, and no array is
// stuffed with empty elements. It takes one pass and allocates nothing.
func Check(b []byte) error {
	// open[i] counts the values still to come at depth i, and owed is their sum. Each takes a byte or more, so owed may
	// not exceed the bytes that are left, however the lengths are spread over nested arrays.
	var open [MaxDepth + 1]int
	var from [MaxDepth + 1]int  // offset at which the array or map at depth i begins
	var list [MaxDepth + 1]bool // whether it is an array
	open[0] = 1
	depth, owed, at, thrifty := 0, 1, 0, 0
	for owed > 0 {
		if at >= len(b) {
			return malformed(at, "ends in the middle of a value")
		}
		head, body, kids, ok := item(b[at:])
		if !ok {
			return malformed(at, "has a wrong type or a cut length")
		}
		if uint64(len(b)-at-head) < body {
			return malformed(at, "declares more bytes than there are")
		}
		open[depth]--
		owed--
		began, first := at, b[at]
		at += head + int(body)
		if list[depth] && (first == 0xc0 || kids == 0 && isList(first)) {
			thrifty++
		}
		if kids > 0 {
			if kids > uint64(len(b)-at-owed) {
				return malformed(at, "declares more elements than there are bytes")
			}
			if depth == MaxDepth {
				return malformed(at, "is nested too deep")
			}
			depth++
			open[depth], from[depth] = int(kids), began
			list[depth] = first>>4 == 0x9 || first == 0xdc || first == 0xdd
			owed += int(kids)
		}
		for depth > 0 && open[depth] == 0 {
			if depth--; list[depth] && !list[depth+1] && at-from[depth+1] < thriftyMap {
				thrifty++
			}
		}
		if thrifty > maxThrifty {
			return malformed(at, "has too many empty elements")
		}
		if owed > len(b)-at {
			return malformed(at, "ends in the middle of an array or map")
		}
	}
	if at != len(b) {
		return malformed(at, "has bytes after its end")
	}
	return nil
}

// isList reports whether a value that begins with c is an array or a map.
func isList(c byte) bool { return c >= 0x80 && c <= 0x9f || c >= 0xdc && c <= 0xdf }

func malformed(at int, why string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrMalformed, why, at)
}

// item reads the head of the value at the start of b: the bytes of the head (type and length), the bytes
// of the body that follows it, and the number of values nested in it. Not ok means a cut head or the
// type byte 0xc1, which msgpack never uses.
func item(b []byte) (head int, body, kids uint64, ok bool) {
	switch c := b[0]; {
	case c <= 0x7f || c >= 0xe0: // fixint
		return 1, 0, 0, true
	case c <= 0x8f: // fixmap
		return 1, 0, 2 * uint64(c&0x0f), true
	case c <= 0x9f: // fixarray
		return 1, 0, uint64(c & 0x0f), true
	case c <= 0xbf: // fixstr
		return 1, uint64(c & 0x1f), 0, true
	case c == 0xc0 || c == 0xc2 || c == 0xc3: // nil, false, true
		return 1, 0, 0, true
	case c == 0xc1:
		return 0, 0, 0, false
	case c >= 0xca && c <= 0xd3: // float 32, 64; uint and int 8 to 64
		return 1, [...]uint64{4, 8, 1, 2, 4, 8, 1, 2, 4, 8}[c-0xca], 0, true
	case c >= 0xd4 && c <= 0xd8: // fixext 1 to 16, after a type byte
		return 2, 1 << (c - 0xd4), 0, true
	}
	return sized(b)
}

// sized does item for the types whose length follows in 1, 2 or 4 bytes.
func sized(b []byte) (head int, body, kids uint64, ok bool) {
	c := b[0]
	switch {
	case c <= 0xc6: // bin 8, 16, 32
		n, w, ok := length(b, 1<<(c-0xc4))
		return 1 + w, n, 0, ok
	case c <= 0xc9: // ext 8, 16, 32, with a type byte after the length
		n, w, ok := length(b, 1<<(c-0xc7))
		return 2 + w, n, 0, ok && len(b) >= 2+w
	case c <= 0xdb: // str 8, 16, 32
		n, w, ok := length(b, 1<<(c-0xd9))
		return 1 + w, n, 0, ok
	case c <= 0xdd: // array 16, 32
		n, w, ok := length(b, 2<<(c-0xdc))
		return 1 + w, 0, n, ok
	default: // map 16, 32
		n, w, ok := length(b, 2<<(c-0xde))
		return 1 + w, 0, 2 * n, ok
	}
}

// length reads the big-endian number of w bytes after the type byte.
func length(b []byte, w int) (n uint64, width int, ok bool) {
	if len(b) < 1+w {
		return 0, w, false
	}
	switch w {
	case 1:
		n = uint64(b[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	default:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	return n, w, true
}
