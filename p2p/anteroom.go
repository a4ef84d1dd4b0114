package p2p

import (
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

// maxGuests is how many connections may be in their handshakes. It is below what the resource manager admits, which
// would turn away whoever comes, and above what a whole cluster behind one address needs to come back at once.
const maxGuests = 1536

// anteroom knows the connections whose handshakes are not over: nobody knows yet who they are, and many may never say a
// word. When it is full the one that has been in for the longest goes, of the address that has the most, so that those
// who came before keep nobody out.
type anteroom struct {
	mu     sync.Mutex
	guests map[network.ConnMultiaddrs]string   // and their addresses
	queues map[string][]network.ConnMultiaddrs // by address, the oldest first
}

func newAnteroom() *anteroom {
	return &anteroom{guests: map[network.ConnMultiaddrs]string{}, queues: map[string][]network.ConnMultiaddrs{}}
}

// enter lets a connection in. One that ends without a handshake stays counted until it would have to go.
func (a *anteroom) enter(c network.ConnMultiaddrs) {
	addr := addressOf(c)
	a.mu.Lock()
	var out network.ConnMultiaddrs
	if len(a.guests) >= maxGuests {
		out = a.oldest()
		a.remove(out)
	}
	a.guests[c] = addr
	a.queues[addr] = append(a.queues[addr], c)
	a.mu.Unlock()
	if conn, ok := out.(io.Closer); ok {
		_ = conn.Close()
	}
}

// leave is for a connection that has shown who it is.
func (a *anteroom) leave(c network.ConnMultiaddrs) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(c)
}

// oldest is the one to go. Under a.mu.
func (a *anteroom) oldest() network.ConnMultiaddrs {
	var most []network.ConnMultiaddrs
	for _, q := range a.queues {
		if len(q) > len(most) {
			most = q
		}
	}
	return most[0]
}

// remove forgets a connection. Under a.mu.
func (a *anteroom) remove(c network.ConnMultiaddrs) {
	addr, ok := a.guests[c]
	if !ok {
		return
	}
	delete(a.guests, c)
	q := a.queues[addr]
	for i := range q {
		if q[i] == c {
			q = append(q[:i], q[i+1:]...)
			break
		}
	}
	if a.queues[addr] = q; len(q) == 0 {
		delete(a.queues, addr)
	}
}
