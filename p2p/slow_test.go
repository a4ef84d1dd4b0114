package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// drip is a reader that gives a byte at a time, each just before a stall would be noticed.
type drip struct {
	left  int
	every time.Duration
}

func (d *drip) Read(b []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(d.every)
	d.left--
	b[0] = 'x'
	return 1, nil
}

func (d *drip) Seek(int64, int) (int64, error) { return 0, errors.New("no") }
func (d *drip) Close() error                   { return nil }

// dripping is a BlobStore that serves any hash in this way.
type dripping struct {
	size  int
	every time.Duration
}

func (d dripping) Open(string) (io.ReadSeekCloser, int64, error) {
	return &drip{left: d.size, every: d.every}, int64(d.size), nil
}

// TestBlobByteByByte: a member that sends a byte of a blob now and then does not hold up a fetch for ever.
func TestBlobByteByByte(t *testing.T) {
	ca := config(t, "a")
	ca.Blobs = dripping{size: 10_000, every: 100 * time.Millisecond}
	a := open(t, ca)
	cb := config(t, "b")
	cb.StallTimeout = 500 * time.Millisecond
	b := open(t, cb)
	b.join(a.invite(Worker))
	a.up(0, b.ID())
	b.up(0, a.ID())
	var got bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := b.Fetch(ctx, a.ID(), hashOf([]byte("anything")), 1<<20, &got); !errors.Is(err, ErrSlow) ||
		ctx.Err() != nil {
		t.Errorf("%d bytes came one by one: %v", got.Len(), err)
	}
}
