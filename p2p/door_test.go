package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	mss "github.com/multiformats/go-multistream"
)

// knock connects to a node from a local address, as a libp2p peer that then sends nothing, and returns when its
// connection is closed. It has a place in busy until the handshake is over.
func knock(ctx context.Context, w who, from, to string, target *tnode, raw bool, busy chan struct{}) (in bool) {
	busy <- struct{}{}
	release := sync.OnceFunc(func() { <-busy })
	defer release()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if raw {
		release()
		_, _ = io.Copy(io.Discard, conn)
		return true
	}
	if err := mss.SelectProtoOrFail(protocol.ID(libp2ptls.ID), conn); err != nil {
		return false
	}
	tr, err := libp2ptls.New(libp2ptls.ID, w.key, []tptu.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}})
	if err != nil {
		return false
	}
	c, err := tr.SecureOutbound(ctx, conn, target.id)
	if err != nil {
		return false
	}
	release()
	_, _ = io.Copy(io.Discard, c)
	return true
}

// few are the places of strangers here. The bounds hold for any number, and at 256 a busy host makes handshakes for
// minutes.
var few = places{all: 48, address: 24}

// handshakesAtOnce is how many strangers are in a handshake at a time.
const handshakesAtOnce = 8

// Strangers that keep coming and send nothing do not keep a good token out, whether they come from one address or many,
// and whether or not they complete the handshake.
func TestFloodDoesNotHoldTheDoor(t *testing.T) {
	for name, k := range map[string]struct {
		addresses int
		raw       bool
		flooders  int
	}{
		"one address":                       {1, false, few.all + 32},
		"300 addresses":                     {300, false, few.all + 32},
		"300 addresses without a handshake": {300, true, few.all + 32},
		"more than can be in a handshake":   {300, true, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, config(t, "a"))
			a.Node.mu.Lock()
			a.Node.places = few
			a.Node.mu.Unlock()
			token := a.invite(Worker)
			ctx, cancel := context.WithCancel(t.Context())
			var next, through atomic.Int64
			done := make(chan struct{})
			flooders := k.flooders
			// Handshakes are work for both sides, which are in this process: more of them at a time than a busy host has
			// processors for would keep out the good token, too, as any other work would.
			busy := make(chan struct{}, handshakesAtOnce)
			for range flooders {
				w := someone(t)
				go func() {
					defer func() { done <- struct{}{} }()
					for ctx.Err() == nil {
						i := next.Add(1) % int64(k.addresses)
						if knock(ctx, w, fmt.Sprintf("127.7.%d.%d", i/200, 1+i%200), a.Addrs()[0], a, k.raw, busy) {
							through.Add(1)
						}
					}
				}()
			}
			defer func() {
				cancel()
				for range flooders {
					<-done
				}
			}()
			a.full(k.raw, func() bool { return next.Load() >= int64(flooders) })
			begin := time.Now()
			b := open(t, config(t, "b"))
			b.joinThrough(token)
			a.up(0, b.ID())
			a.Node.mu.Lock()
			held := len(a.strangers)
			a.Node.mu.Unlock()
			if held > few.all {
				t.Errorf("%d strangers are in", held)
			}
			t.Logf("joined in %v under %d knocks", time.Since(begin).Round(time.Millisecond), next.Load())
		})
	}
}

// joinThrough joins with a token, and does what the error says when so many are at the door that it is not let in at
// once: it tries again. How many handshakes a busy host gets through in their time is not the door's doing.
func (n *tnode) joinThrough(token string) {
	n.t.Helper()
	const tries = 5
	for try := 1; ; try++ {
		err := n.Join(n.t.Context(), token)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrJoinRefused) && !errors.Is(err, ErrUnreachable) || try == tries {
			n.t.Fatalf("%s, try %d: %v", n.cfg.Name, try, err)
		}
	}
}

// full waits until strangers hold as many places as one address can get.
func (n *tnode) full(raw bool, all func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		n.Node.mu.Lock()
		held := len(n.strangers)
		n.Node.mu.Unlock()
		if held >= few.address || raw && all() {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("only %d strangers came", held)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
