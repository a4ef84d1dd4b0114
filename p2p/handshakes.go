package p2p

import (
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

// maxHandshakes is how many connections may be in their handshakes at a time. It is below what the resource manager
// admits, which would refuse every newcomer, and above what a whole cluster behind one address needs to come back at
// once.
const maxHandshakes = 1536

// handshakes holds the incoming connections whose handshakes are not complete. Their peers are not authenticated yet,
// and many may never send a byte. When it is full, the oldest connection of the address that has the most is closed, so
// that early arrivals cannot keep out later ones.
type handshakes struct {
	mu     sync.Mutex
	conns  map[network.ConnMultiaddrs]string   // connection to its address, as addressOf gives it
	queues map[string][]network.ConnMultiaddrs // connections by address, the oldest first
}

func newHandshakes() *handshakes {
	return &handshakes{conns: map[network.ConnMultiaddrs]string{}, queues: map[string][]network.ConnMultiaddrs{}}
}

// add counts a new connection. One that ends without a handshake stays counted until it is the oldest of the address
// that has the most.
func (a *handshakes) add(c network.ConnMultiaddrs) {
	addr := addressOf(c)
	a.mu.Lock()
	var out network.ConnMultiaddrs
	if len(a.conns) >= maxHandshakes {
		out = a.oldest()
		a.remove(out)
	}
	a.conns[c] = addr
	a.queues[addr] = append(a.queues[addr], c)
	a.mu.Unlock()
	if conn, ok := out.(io.Closer); ok {
		_ = conn.Close()
	}
}

// finish removes a connection whose peer has authenticated itself.
func (a *handshakes) finish(c network.ConnMultiaddrs) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(c)
}

// oldest returns the connection to close when there are too many. a.mu is held.
func (a *handshakes) oldest() network.ConnMultiaddrs {
	var most []network.ConnMultiaddrs
	for _, q := range a.queues {
		if len(q) > len(most) {
			most = q
		}
	}
	return most[0]
}

// remove forgets a connection. a.mu is held.
func (a *handshakes) remove(c network.ConnMultiaddrs) {
	addr, ok := a.conns[c]
	if !ok {
		return
	}
	delete(a.conns, c)
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
