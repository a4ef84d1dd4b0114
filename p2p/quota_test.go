package p2p

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
)

// A member that opens requests and never completes them, or asks for what takes long, gets as many answered at once as
// one member may, is told so, and does not keep others' requests from being answered.
func TestOneMemberDoesNotTakeAllRequests(t *testing.T) {
	a, b := couple(t, func(c *Config) {
		c.Serve = func(context.Context, PeerID, string, []byte) ([]byte, error) { return []byte("answer"), nil }
	})
	w := someone(t)
	a.enrolled(w, Read)
	h := plainHost(t, w)
	if err := a.dialFrom(h); err != nil {
		t.Fatal(err)
	}
	ask := func() network.Stream { // the beginning of a request, so that the other side sees the stream
		s, err := h.NewStream(t.Context(), a.id, versioned(protocolNumber, "request"))
		if err == nil {
			_, err = s.Write([]byte{0})
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Reset() })
		return s
	}
	for range servePeer {
		ask()
	}
	for {
		a.requests.mu.Lock()
		held := a.requests.held[w.id]
		a.requests.mu.Unlock()
		if held == servePeer {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the questions do not come in")
		}
	}
	var r reply
	if err := readValue(ask(), frameSlack, &r); err != nil || !strings.Contains(r.Err, "of this member") {
		t.Errorf("one more is not refused: %+v, %v", r, err)
	}
	for range 3 * servePeer {
		if got, err := b.Request(t.Context(), a.ID(), "x", nil); err != nil || string(got) != "answer" {
			t.Fatalf("another member's is not answered: %q, %v", got, err)
		}
	}
	if _, err := b.Request(t.Context(), a.ID(), "x", make([]byte, MaxAsk+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large a question: %v", err)
	}
}

func TestQuota(t *testing.T) {
	q, ps := newQuota(3, 2), people(t, 3)
	for i, want := range []struct {
		who int
		ok  bool
	}{{0, true}, {0, true}, {0, false}, {1, true}, {2, false}} {
		if why := q.acquire(ps[want.who].id); (why == "") != want.ok {
			t.Errorf("%d: %q", i, why)
		}
	}
	q.release(ps[0].id)
	if why := q.acquire(ps[2].id); why != "" {
		t.Error(why)
	}
	for _, k := range []int{0, 1, 2} {
		q.release(ps[k].id)
	}
	if len(q.held) != 0 || q.sum != 0 {
		t.Errorf("left over: %v, %d", q.held, q.sum)
	}
}

// A member without any right that jobs need gets no blob, even if it knows the hash, since the hash of a description is
// announced to all.
func TestBlobsAreForWhoHasToDoWithJobs(t *testing.T) {
	data := []byte("a job's description")
	for right, ok := range map[Right]bool{Worker: true, Submitter: true, Read: true, Admin: true, Inviter: false} {
		t.Run(string(right), func(t *testing.T) {
			keeps := config(t, "a")
			keeps.Blobs = memStore{hashOf(data): data}
			a, b := open(t, keeps), open(t, config(t, "b"))
			b.join(a.invite(right))
			b.up(0, a.ID())
			_, err := b.Fetch(t.Context(), a.ID(), hashOf(data), 1<<20, io.Discard)
			if (err == nil) != ok {
				t.Errorf("fetched: %v", err)
			}
		})
	}
}
