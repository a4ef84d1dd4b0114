package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// TestLists checks that only elements of arrays are counted.
func TestLists(t *testing.T) {
	type file struct {
		Name     string  `msgpack:"n"`
		Clusters []int64 `msgpack:"c"`
	}
	b, err := Marshal(&struct {
		Name  string `msgpack:"n"`
		Files []file `msgpack:"f"`
		Sites []string
		Empty []int64
	}{Name: "job", Files: []file{{"a", []int64{0, 1, 1 << 40}}, {"b", nil}}, Sites: []string{"x", "y"}})
	if err != nil {
		t.Fatal(err)
	}
	if structs, others := Lists(b); structs != 2 || others != 5 {
		t.Errorf("counted are %d structs and %d others", structs, others)
	}
	for _, bad := range []string{"", "\xc1", "\x9f", "\xdd\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff"} {
		Lists([]byte(bad)) // must return without a panic
	}
}

// stuffed is an encoded struct whose field a is a list of so many equal elements.
func stuffed(element string, n int) []byte {
	b := append([]byte("\x81\xa1a\xdd"), binary.BigEndian.AppendUint32(nil, uint32(n))...)
	return append(b, bytes.Repeat([]byte(element), n)...)
}

// TestEmptyElementsAreFew: whatever decodes to a struct without content, which takes far more memory than bytes, is
// refused when there are many.
func TestEmptyElementsAreFew(t *testing.T) {
	type row struct {
		Name string    `msgpack:"n"`
		Rest [20]int64 `msgpack:"r"`
	}
	for name, element := range map[string]string{
		"nil":           "\xc0",
		"empty map":     "\x80",
		"empty array":   "\x90",
		"empty map16":   "\xde\x00\x00",
		"empty array16": "\xdc\x00\x00",
		"empty array32": "\xdd\x00\x00\x00\x00",
		"small map":     "\x81\xa1n\xa1x",
	} {
		for n, fine := range map[int]bool{maxThrifty: true, maxThrifty + 1: false} {
			var got struct {
				All []row `msgpack:"a"`
			}
			if err := Unmarshal(stuffed(element, n), &got); (err == nil) != fine || fine && len(got.All) != n {
				t.Errorf("%d times %s: %v, and %d elements", n, name, err, len(got.All))
			}
		}
	}
}

// TestUnmarshalWithin: a list that takes far more memory than bytes is refused where it may not.
func TestUnmarshalWithin(t *testing.T) {
	type rows struct {
		All []struct {
			Name string `msgpack:"n"`
		} `msgpack:"a"`
	}
	const n = 1 << 12
	b := stuffed("\x81\xa1n\xabhello world", n)
	var got rows
	if err := UnmarshalWithin(b, n*structSize, &got); !errors.Is(err, ErrMalformed) || got.All != nil {
		t.Errorf("%d elements in %d bytes: %v, and %d of them are decoded", n, len(b), err, len(got.All))
	}
	if err := UnmarshalWithin(b, 2*n*structSize, &got); err != nil || len(got.All) != n {
		t.Errorf("where there is room: %v, and %d elements", err, len(got.All))
	}
}
