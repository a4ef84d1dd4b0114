package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/dtpnode/dtpnode/wire"
)

// greeting is what one node could say to another. Its keys are short, since they are sent with every value.
type greeting struct {
	Name  string `msgpack:"n"`
	Slots int    `msgpack:"s"`
}

// A value is encoded, framed, read back by somebody who takes no more than 64 bytes at once, and decoded.
func Example() {
	b, err := wire.Marshal(&greeting{Name: "alice", Slots: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	var stream bytes.Buffer
	if err := wire.WriteFrame(&stream, b); err != nil {
		fmt.Println(err)
		return
	}
	frame, err := wire.ReadFrame(&stream, 64)
	if err != nil {
		fmt.Println(err)
		return
	}
	var g greeting
	if err := wire.Unmarshal(frame, &g); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d bytes: %s has %d slots\n", len(b), g.Name, g.Slots)
	// Output: 12 bytes: alice has 4 slots
}

// What a frame declares is checked before anything is allocated for it, and an end inside a frame is told from an end
// between two.
func ExampleReadFrame() {
	_, err := wire.ReadFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}), 1<<20)
	fmt.Println(errors.Is(err, wire.ErrFrameTooLarge))
	_, err = wire.ReadFrame(bytes.NewReader([]byte{0, 0, 0, 5, 'h', 'a'}), 1<<20)
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF))
	_, err = wire.ReadFrame(bytes.NewReader(nil), 1<<20)
	fmt.Println(errors.Is(err, io.EOF))
	// Output:
	// true
	// true
	// true
}

// A field that the reader does not know is skipped, so that nodes of a newer version can say more.
func ExampleUnmarshal() {
	b, err := wire.Marshal(&struct {
		Name string   `msgpack:"n"`
		News []string `msgpack:"news"`
	}{"bob", []string{"of", "a", "newer", "version"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var g greeting
	fmt.Println(wire.Unmarshal(b, &g), g.Name)
	fmt.Println(errors.Is(wire.Unmarshal(b[:len(b)-1], &g), wire.ErrMalformed))
	// Output:
	// <nil> bob
	// true
}

// Five bytes that declare a list of four billion elements are no value.
func ExampleCheck() {
	fmt.Println(wire.Check([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}))
	fmt.Println(wire.Check([]byte{0x93, 1, 2, 3}))
	// Output:
	// malformed message: declares more elements than there are bytes at byte 5
	// <nil>
}
