package p2p

import (
	"bytes"
	"io"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
)

// dawdle opens streams for a blob and reads no further than its size.
func (n *tnode) dawdle(h host.Host, hash string, streams int) {
	n.t.Helper()
	for range streams {
		s, err := h.NewStream(n.t.Context(), n.id, versioned(protocolNumber, "blob"))
		if err != nil {
			n.t.Fatal(err)
		}
		if err := writeValue(s, &blobRequest{Hash: hash}); err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = s.Reset() })
		var a blobReply
		if err := readValue(s, frameSlack, &a); err != nil {
			n.t.Fatal(err)
		}
	}
}

// Readers that hold every place and do not read keep nobody from a blob, whether they are one member or many.
func TestSlowReadersDoNotHoldAllPlaces(t *testing.T) {
	big := make([]byte, 64<<20)
	small := bytes.Repeat([]byte("dtpnode"), 1000)
	store := memStore{hashOf(big): big, hashOf(small): small}
	for name, members := range map[string]int{"one member": 1, "as many members as places": blobSlots} {
		t.Run(name, func(t *testing.T) {
			a, b := couple(t, func(c *Config) { c.Blobs = store })
			ws := people(t, members)
			a.admitAll(ws, Worker)
			for _, w := range ws {
				h := plainHost(t, w)
				if err := a.dialFrom(h); err != nil {
					t.Fatal(err)
				}
				a.dawdle(h, hashOf(big), blobSlots/members)
			}
			for range 2 * blobSlots {
				if _, err := b.Fetch(t.Context(), a.ID(), hashOf(small), 1<<20, io.Discard); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A waiting peer takes a place from the peer with the most, but none from one that reads and has no more places than
// itself.
func TestSlotsAreShared(t *testing.T) {
	p := people(t, 3)
	var ended []int
	s := &slots{room: 4}
	var held []*sending
	for i := range 4 {
		held = append(held, s.acquire(t.Context(), p[i/3].id, patience, func() { ended = append(ended, i) }))
	}
	got := make(chan *sending)
	go func() { got <- s.acquire(t.Context(), p[2].id, patience, func() {}) }()
	for {
		s.mu.Lock()
		n := len(ended)
		s.mu.Unlock()
		if n > 0 {
			break
		}
	}
	if len(ended) != 1 || ended[0] > 2 {
		t.Fatalf("ended: %v", ended)
	}
	s.release(held[ended[0]])
	if (<-got).to != p[2].id || len(ended) != 1 {
		t.Errorf("ended: %v", ended)
	}
}
