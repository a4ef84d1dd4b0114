// Package faultnet is a network between hosts, made of user-space code that can delay, lose and cut off
// their packets, each direction of each pair of hosts by itself. A host is a network namespace with one
// interface (tun.go); what is between the interfaces is here.
package faultnet

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Path is one direction between two hosts. The zero value is a perfect one.
type Path struct {
	Delay time.Duration // of each packet
	Loss  float64       // share of the packets that are lost, by chance
	Cut   bool          // all are
}

// Net forwards IPv4 packets between ports, the i-th of which has the i-th address.
type Net struct {
	ports []io.ReadWriteCloser
	index map[netip.Addr]int
	paths [][]*path // from, to
	wg    sync.WaitGroup
	quit  chan struct{} // closed by Close
	once  sync.Once
	fail  chan error // of room for one: the first port that failed
}

// path is a Path with its packets under way, which one goroutine delivers in order.
type path struct {
	mu    sync.Mutex
	now   Path
	rng   *rand.Rand
	queue chan packet
	count Count
}

// Count is what became of the packets of a path.
type Count struct{ Delivered, Lost atomic.Int64 }

type packet struct {
	data []byte
	at   time.Time // when it arrives
}

// queueLimit is how many packets a path holds; more are lost, as in any router.
const queueLimit = 4096

// mtu is the largest packet.
const mtu = 1500

// New starts forwarding. Chance, where there is loss, is drawn from seed. Close ends it and closes the ports.
func New(ports []io.ReadWriteCloser, addrs []netip.Addr, seed uint64) (*Net, error) {
	if len(ports) != len(addrs) {
		return nil, fmt.Errorf("could not make a network of %d ports with %d addresses", len(ports), len(addrs))
	}
	n := &Net{ports: ports, index: map[netip.Addr]int{}, quit: make(chan struct{}), fail: make(chan error, 1)}
	for i, a := range addrs {
		n.index[a] = i
		n.paths = append(n.paths, nil)
		for k := range addrs {
			p := &path{queue: make(chan packet, queueLimit), rng: rand.New(rand.NewPCG(seed, uint64(i*len(addrs)+k)))}
			n.paths[i] = append(n.paths[i], p)
			n.wg.Go(func() { n.deliver(p, ports[k]) })
		}
	}
	for i := range ports {
		n.wg.Go(func() { n.read(i) })
	}
	return n, nil
}

// Set changes the path from one host to another. Packets under way arrive as they would have, unless it is
// cut.
func (n *Net) Set(from, to int, p Path) {
	w := n.paths[from][to]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = p
}

// SetAll changes all paths.
func (n *Net) SetAll(p Path) {
	for i := range n.paths {
		for k := range n.paths[i] {
			n.Set(i, k, p)
		}
	}
}

// Partition cuts all paths between the hosts in group and the others, both ways.
func (n *Net) Partition(group ...int) {
	in := map[int]bool{}
	for _, i := range group {
		in[i] = true
	}
	for i := range n.paths {
		for k := range n.paths[i] {
			if in[i] != in[k] {
				n.Set(i, k, Path{Cut: true})
			}
		}
	}
}

// Count is what has become of the packets from one host to another.
func (n *Net) Count(from, to int) *Count { return &n.paths[from][to].count }

// Close ends the network. It returns the error of a port that failed before.
func (n *Net) Close() error {
	n.once.Do(func() { close(n.quit) })
	var errs []error
	for _, p := range n.ports {
		errs = append(errs, p.Close())
	}
	n.wg.Wait()
	select {
	case err := <-n.fail:
		errs = append(errs, err)
	default:
	}
	return errors.Join(errs...)
}

// read takes the packets that a host sends.
func (n *Net) read(from int) {
	buf := make([]byte, mtu)
	for {
		k, err := n.ports[from].Read(buf)
		if err != nil {
			n.failed(fmt.Errorf("could not read from host %d: %w", from, err))
			return
		}
		to, ok := n.index[destination(buf[:k])]
		if !ok || to == from {
			continue // the kernel's own, for multicast groups
		}
		n.paths[from][to].take(append([]byte(nil), buf[:k]...))
	}
}

// destination is the address that an IPv4 packet goes to.
func destination(p []byte) netip.Addr {
	if len(p) < 20 || p[0]>>4 != 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(p[16:20]))
}

func (n *Net) failed(err error) {
	select {
	case <-n.quit: // it was closed
		return
	default:
	}
	select {
	case n.fail <- err:
	default:
	}
}

// take puts a packet under way, or loses it.
func (p *path) take(data []byte) {
	p.mu.Lock()
	now := p.now
	lost := now.Cut || now.Loss > 0 && p.rng.Float64() < now.Loss
	p.mu.Unlock()
	if !lost {
		select {
		case p.queue <- packet{data, time.Now().Add(now.Delay)}:
			return
		default:
		}
	}
	p.count.Lost.Add(1)
}

func (p *path) cut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now.Cut
}

// deliver hands on what is under way on a path when its time has come.
func (n *Net) deliver(p *path, to io.Writer) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var next packet
		select {
		case next = <-p.queue:
		case <-n.quit:
			return
		}
		if wait := time.Until(next.at); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-n.quit:
				return
			}
		}
		if p.cut() {
			p.count.Lost.Add(1)
			continue
		}
		if _, err := to.Write(next.data); err != nil {
			p.count.Lost.Add(1) // its interface is full, or down
			continue
		}
		p.count.Delivered.Add(1)
	}
}
