package p2p

import (
	"context"
	"io"
	"testing"
)

// benchCouple is two nodes of one cluster whose events nobody uses.
func benchCouple(b *testing.B, change func(*Config)) (x, y *Node) {
	b.Helper()
	var nodes [2]*Node
	for i := range nodes {
		c := Config{Dir: b.TempDir()}
		change(&c)
		n, err := Open(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = n.Close() })
		nodes[i] = n
	}
	token, _, err := nodes[0].Invite(AllRights(), 1e12)
	if err != nil {
		b.Fatal(err)
	}
	if err := nodes[1].Join(b.Context(), token); err != nil {
		b.Fatal(err)
	}
	for _, n := range nodes {
		for e := range n.Events() {
			if _, up := e.(PeerUp); up {
				break
			}
		}
	}
	return nodes[0], nodes[1]
}

func nextMessage(b *testing.B, n *Node) Message {
	for e := range n.Events() {
		if m, ok := e.(Message); ok {
			m.Done()
			return m
		}
	}
	b.Fatal("closed")
	return Message{}
}

func BenchmarkSendRoundTrip(b *testing.B) {
	x, y := benchCouple(b, func(*Config) {})
	go func() {
		for e := range y.Events() {
			if m, ok := e.(Message); ok {
				_ = y.Send(m.From, m.Payload)
				m.Done()
			}
		}
	}()
	for b.Loop() {
		if err := x.Send(y.ID(), []byte("0123456789abcdef")); err != nil {
			b.Fatal(err)
		}
		nextMessage(b, x)
	}
}

func BenchmarkRequest(b *testing.B) {
	x, y := benchCouple(b, func(c *Config) {
		c.Serve = func(_ context.Context, _ PeerID, _ string, p []byte) ([]byte, error) { return p, nil }
	})
	for b.Loop() {
		if _, err := x.Request(b.Context(), y.ID(), "echo", []byte("0123456789abcdef")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	blob := make([]byte, 256<<20)
	hash := hashOf(blob)
	x, y := benchCouple(b, func(c *Config) { c.Blobs = memStore{hash: blob} })
	b.SetBytes(int64(len(blob)))
	for b.Loop() {
		if _, err := x.Fetch(b.Context(), y.ID(), hash, int64(len(blob)), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
