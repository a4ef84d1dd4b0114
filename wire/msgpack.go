package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrMalformed is the error, under errors.Is, of bytes that are no value Unmarshal accepts.
var ErrMalformed = errors.New("malformed message")

// Marshal encodes v as one msgpack value. Equal structs give equal bytes, unless they hold a map: what is
// hashed or signed has none.
func Marshal(v any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("could not encode %T: %v", v, r)
		}
	}()
	var buf bytes.Buffer
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(&buf)
	enc.UseCompactInts(true)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("could not encode %T: %w", v, err)
	}
	return buf.Bytes(), nil
}

// Unmarshal decodes b, which must be exactly one msgpack value, into the struct v points to. Fields that
// v lacks are skipped, so that fields can be added to a message. Any failure is ErrMalformed.
//
// v must be a pointer to a struct whose fields are of fixed types: no field of type any, and none that
// refers to its own type. The memory of the result is then bounded by len(b) times the size of the
// largest element type.
func Unmarshal(b []byte, v any) (err error) {
	if err := Check(b); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: could not decode into %T: %v", ErrMalformed, v, r)
		}
	}()
	dec := msgpack.GetDecoder()
	defer msgpack.PutDecoder(dec)
	rd := bytes.NewReader(b)
	dec.Reset(rd)
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: could not decode into %T: %w", ErrMalformed, v, err)
	}
	// The decoder trusts its target type; a value it stopped short of was not the one we checked.
	if rd.Len() != 0 {
		return fmt.Errorf("%w: could not decode into %T: %d bytes left over", ErrMalformed, v, rd.Len())
	}
	return nil
}

// structSize is no less than the Go type of any element of a list that UnmarshalWithin decodes, in bytes, where that is
// a struct; otherSize is the same for all other elements.
const (
	structSize = 192
	otherSize  = 16
)

// UnmarshalWithin is Unmarshal for large answers of members, which choose how many elements their lists have: a list of
// nils takes some hundred times its bytes in memory. It refuses, before it decodes them, bytes of which the result may
// take more than memory bytes. Structs in the lists of v, without what they refer to, must have no more than 192 bytes.
func UnmarshalWithin(b []byte, memory int64, v any) error {
	structs, others := Lists(b)
	if need := int64(len(b)) + structSize*int64(structs) + otherSize*int64(others); need > memory {
		return fmt.Errorf("%w: %d bytes may take %d in memory, and %T may take %d", ErrMalformed, len(b), need, v, memory)
	}
	return Unmarshal(b, v)
}
