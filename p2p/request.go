package p2p

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// request asks a peer for something. Each stream carries one.
type request struct {
	Kind    string
	Payload []byte
}

// reply answers a request.
type reply struct {
	Err     string // empty: Payload is the answer
	Payload []byte
}

const frameSlack = 4 << 10 // room for the other fields of a request or reply

// Request sends a request to a peer and waits for its answer. If the peer's handler fails, the error is under
// ErrRemote.
func (n *Node) Request(ctx context.Context, to PeerID, kind string, payload []byte) ([]byte, error) {
	wrap := func(err error) error { return fmt.Errorf("could not ask %s for %q: %w", to, clip(kind), err) }
	if len(payload) > MaxAsk || len(kind) > 256 {
		return nil, wrap(ErrTooLarge)
	}
	s, err := n.stream(ctx, to, "request")
	if err != nil {
		return nil, wrap(err)
	}
	defer s.Reset() //nolint:errcheck // tells the peer that nobody waits for the answer any more
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	var a reply
	err = s.SetWriteDeadline(time.Now().Add(n.cfg.StallTimeout))
	if err == nil {
		err = writeValue(s, &request{Kind: kind, Payload: payload})
	}
	if err == nil {
		err = readValue(s, MaxRequest+frameSlack, &a)
	}
	switch {
	case ctx.Err() != nil:
		return nil, wrap(context.Cause(ctx))
	case err != nil:
		return nil, wrap(err)
	case a.Err != "":
		return nil, wrap(fmt.Errorf("%w: %s", ErrRemote, a.Err))
	}
	return a.Payload, nil
}

// stream opens a stream to a peer that is linked already; it never dials.
func (n *Node) stream(ctx context.Context, to PeerID, name string) (network.Stream, error) {
	id, err := peer.Decode(to)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	l, closed := n.links[id], n.closed
	n.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if l == nil {
		return nil, ErrNotConnected
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.StallTimeout)
	defer cancel()
	return n.host.NewStream(network.WithNoDial(ctx, "linked"), id, versioned(l.protocol, name))
}

// serveRequest answers one request.
func (n *Node) serveRequest(s network.Stream) {
	defer s.Reset() //nolint:errcheck // after Close it has no effect
	if s.SetDeadline(time.Now().Add(n.cfg.StallTimeout)) != nil {
		return
	}
	from := s.Conn().RemotePeer()
	if why := n.requests.acquire(from); why != "" {
		_ = writeValue(s, &reply{Err: why})
		_ = s.Close()
		return
	}
	defer n.requests.release(from)
	var q request
	if readValue(s, MaxAsk+frameSlack, &q) != nil || s.SetReadDeadline(time.Time{}) != nil {
		return
	}
	a := n.answer(s, q)
	if s.SetWriteDeadline(time.Now().Add(n.cfg.StallTimeout)) != nil || writeValue(s, &a) != nil {
		return
	}
	_ = s.CloseWrite()
}

// answer calls the handler with a context that ends when the asking peer's stream does.
func (n *Node) answer(s network.Stream, q request) (a reply) {
	if n.cfg.Serve == nil {
		return reply{Err: "this node answers no requests"}
	}
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	gone := make(chan struct{})
	go func() { // ends with the stream, or by the deadline set below
		defer close(gone)
		if _, err := io.CopyN(io.Discard, s, 1); err != nil {
			cancel()
		}
	}()
	defer func() {
		_ = s.SetReadDeadline(time.Now())
		<-gone
	}()
	defer func() {
		if r := recover(); r != nil {
			n.log.Error("a request handler panicked", "kind", clip(q.Kind), "panic", r)
			a = reply{Err: "internal error"}
		}
	}()
	b, err := n.cfg.Serve(ctx, s.Conn().RemotePeer().String(), q.Kind, q.Payload)
	if err == nil && len(b) > MaxRequest {
		err = fmt.Errorf("the answer of %d bytes is %w", len(b), ErrTooLarge)
	}
	if err != nil {
		text := err.Error()
		if text == "" {
			text = "unnamed error"
		}
		return reply{Err: text[:min(len(text), frameSlack/2)]}
	}
	return reply{Payload: b}
}
