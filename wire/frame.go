package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrFrameTooLarge is the error, under errors.Is, of a frame that is longer than its reader allows or than the length
// prefix can express.
var ErrFrameTooLarge = errors.New("frame too large")

const (
	header    = 4
	firstRead = 16 << 10 // most control frames fit; a peer that only declares a length costs no more
)

// ReadFrame reads one frame of at most max bytes from r. It returns io.EOF if r ends before a frame
// begins, io.ErrUnexpectedEOF if it ends inside one.
func ReadFrame(r io.Reader, max int) ([]byte, error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if uint64(n) > uint64(max) {
		return nil, fmt.Errorf("%w: %d bytes declared, %d allowed", ErrFrameTooLarge, n, max)
	}
	return readGrowing(r, int(n))
}

// readGrowing reads n bytes. It allocates at most twice what has arrived, or firstRead.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, min(n, firstRead))
	have := 0
	for {
		m, err := io.ReadFull(r, b[have:])
		have += m
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if have == n {
			return b, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, b)
		b = grown
	}
}

// WriteFrame writes b as one frame to w.
func WriteFrame(w io.Writer, b []byte) error {
	if uint64(len(b)) > math.MaxUint32 {
		return fmt.Errorf("%w: %d bytes", ErrFrameTooLarge, len(b))
	}
	// A small frame takes one write: on a network stream two would be two packets.
	out := make([]byte, header, header+min(len(b), firstRead))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	if len(b) <= firstRead {
		out = append(out, b...)
		b = nil
	}
	if _, err := w.Write(out); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	_, err := w.Write(b)
	return err
}
