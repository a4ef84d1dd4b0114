// Package wire converts bytes from another process to Go values and back: msgpack values in frames with a length
// prefix.
//
//	frame   4 bytes big-endian length n, then n bytes
//	value   one msgpack value, nothing after it
//
// Package wire trusts no declared length before the bytes are there. A frame's length is checked against the reader's
// limit and its buffer grows only as bytes arrive; a value's declared lengths and its depth are checked in one pass
// over the bytes before the decoder sees them.
package wire
