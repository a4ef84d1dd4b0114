package faultnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// port is an interface in memory.
type port struct {
	sends chan []byte // by the host
	gets  chan []byte // to the host
	once  sync.Once
	done  chan struct{}
}

func newPort() *port {
	return &port{sends: make(chan []byte), gets: make(chan []byte, 10_000), done: make(chan struct{})}
}

func (p *port) Read(b []byte) (int, error) {
	select {
	case d := <-p.sends:
		return copy(b, d), nil
	case <-p.done:
		return 0, io.EOF
	}
}

func (p *port) Write(b []byte) (int, error) {
	p.gets <- b
	return len(b), nil
}

func (p *port) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }

// memory makes a network of hosts in memory.
func memory(t *testing.T, hosts int) (*Net, []*port) {
	t.Helper()
	var ports []*port
	var rw []io.ReadWriteCloser
	var addrs []netip.Addr
	for i := range hosts {
		p := newPort()
		ports, rw, addrs = append(ports, p), append(rw, p), append(addrs, address(i))
	}
	n, err := New(rw, addrs, 7)
	if err != nil {
		t.Fatal(err)
	}
	return n, ports
}

// ip is an IPv4 packet with a number in it.
func ip(to int, number uint32) []byte {
	b := make([]byte, 24)
	b[0] = 0x45
	dst := address(to).As4()
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint32(b[20:], number)
	return b
}

func numberOf(b []byte) uint32 { return binary.BigEndian.Uint32(b[20:]) }

func TestDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, ports := memory(t, 3)
		n.Set(0, 1, Path{Delay: 200 * time.Millisecond})
		start := time.Now()
		for i := range uint32(100) {
			ports[0].sends <- ip(1, i)
			ports[0].sends <- ip(2, i)
			ports[0].sends <- ip(9, i)                          // nobody's address
			ports[0].sends <- append([]byte{0x60}, ip(1, i)...) // IPv6
			ports[0].sends <- []byte{0x45}
		}
		for i := range uint32(100) {
			if got := numberOf(<-ports[2].gets); got != i {
				t.Fatalf("got %d, want %d", got, i)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the path without delay took %s", d)
		}
		for i := range uint32(100) {
			if got := numberOf(<-ports[1].gets); got != i {
				t.Fatalf("got %d, want %d", got, i)
			}
		}
		if d := time.Since(start); d != 200*time.Millisecond {
			t.Errorf("the path with 200 ms of delay took %s", d)
		}
		synctest.Wait()
		if c := n.Count(0, 1); c.Delivered.Load() != 100 || c.Lost.Load() != 0 || len(ports[1].gets) > 0 {
			t.Errorf("%d delivered, %d lost", c.Delivered.Load(), c.Lost.Load())
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, ports := memory(t, 2)
		n.Set(0, 1, Path{Loss: 0.05})
		for i := range uint32(4000) {
			ports[0].sends <- ip(1, i)
			ports[1].sends <- ip(0, i)
		}
		synctest.Wait()
		if lost := n.Count(0, 1).Lost.Load(); lost < 120 || lost > 280 || int64(len(ports[1].gets)) != 4000-lost {
			t.Errorf("%d of 4000 packets were lost, want about 200", lost)
		}
		if lost := n.Count(1, 0).Lost.Load(); lost != 0 {
			t.Errorf("%d packets were lost the other way", lost)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, ports := memory(t, 4)
		all := func() (reached [4][4]bool) {
			for i := range 4 {
				for k := range 4 {
					ports[i].sends <- ip(k, 1)
				}
			}
			synctest.Wait()
			for k := range 4 {
				for len(ports[k].gets) > 0 {
					<-ports[k].gets
				}
			}
			for i := range 4 {
				for k := range 4 {
					reached[i][k] = n.Count(i, k).Delivered.Swap(0) == 1
				}
			}
			return reached
		}
		n.Partition(0, 2)
		n.Set(1, 3, Path{Cut: true})
		got := all()
		for i := range 4 {
			for k := range 4 {
				want := i%2 == k%2 && i != k && (i != 1 || k != 3)
				if got[i][k] != want {
					t.Errorf("partitioned, from %d to %d: %v", i, k, got[i][k])
				}
			}
		}
		n.SetAll(Path{Delay: time.Second})
		ports[0].sends <- ip(1, 1)
		synctest.Wait()
		n.Partition(0) // also what is under way
		time.Sleep(2 * time.Second)
		if len(ports[1].gets) > 0 {
			t.Error("a packet that was under way crossed the cut")
		}
		n.SetAll(Path{})
		got = all()
		for i := range 4 {
			for k := range 4 {
				if got[i][k] != (i != k) {
					t.Errorf("healed, from %d to %d: %v", i, k, got[i][k])
				}
			}
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFailedPortIsTold(t *testing.T) {
	n, ports := memory(t, 2)
	_ = ports[0].Close()
	if err := <-n.fail; !errors.Is(err, io.EOF) {
		t.Errorf("told %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := New(nil, []netip.Addr{address(1)}, 0); err == nil {
		t.Error("a network with an address and no port")
	}
}

// TestNamespaces sends datagrams between real namespaces.
func TestNamespaces(t *testing.T) {
	if err := Possible(); err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	var names []string
	for i := range 2 {
		name := fmt.Sprintf("fn%d-%d", os.Getpid(), i)
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Fatalf("could not make a namespace: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		names = append(names, name)
	}
	n, addrs, err := Join(1, names...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	a, b := listen(t, names[0], addrs[0]), listen(t, names[1], addrs[1])
	defer a.Close()
	defer b.Close()
	n.Set(0, 1, Path{Delay: 50 * time.Millisecond})
	start := time.Now()
	buf := make([]byte, 100)
	if _, err := a.WriteTo([]byte("there"), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	k, from, err := b.ReadFrom(buf)
	if err != nil || string(buf[:k]) != "there" || time.Since(start) < 50*time.Millisecond {
		t.Fatalf("got %q after %s, error %v", buf[:k], time.Since(start), err)
	}
	if _, err := b.WriteTo([]byte("and back"), from); err != nil {
		t.Fatal(err)
	}
	if k, _, err := a.ReadFrom(buf); err != nil || string(buf[:k]) != "and back" {
		t.Fatalf("got %q, error %v", buf[:k], err)
	}
}

// listen opens a socket in a namespace.
func listen(t *testing.T, namespace string, addr netip.Addr) *net.UDPConn {
	t.Helper()
	type result struct {
		c   *net.UDPConn
		err error
	}
	done := make(chan result)
	go func() { // on a thread of its own, which ends with it
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			_ = ns.Close()
		}
		var c *net.UDPConn
		if err == nil {
			c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		}
		done <- result{c, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.c
}
