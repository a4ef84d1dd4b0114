package faultnet

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// device is the name of the interface in each namespace.
const device = "fault0"

// Possible says why Join cannot work on this host, if it cannot.
func Possible() error {
	if os.Getuid() != 0 {
		return errors.New("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("namespaces are set up with `ip`: install iproute2")
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("could not open /dev/net/tun: %w", err)
	}
	return unix.Close(fd)
}

// Join makes a network of namespaces that `ip netns` knows by these names: the i-th gets an interface with
// the address 10.214.77.(i+1).
func Join(seed uint64, namespaces ...string) (*Net, []netip.Addr, error) {
	var ports []io.ReadWriteCloser
	var addrs []netip.Addr
	for i, name := range namespaces {
		addr := netip.AddrFrom4([4]byte{10, 214, 77, byte(i + 1)})
		f, err := join(name, addr)
		if err != nil {
			for _, p := range ports {
				_ = p.Close()
			}
			return nil, nil, fmt.Errorf("could not make an interface in namespace %q: %w", name, err)
		}
		ports, addrs = append(ports, f), append(addrs, addr)
	}
	n, err := New(ports, addrs, seed)
	return n, addrs, err
}

func join(name string, addr netip.Addr) (*os.File, error) {
	f, err := tunIn(filepath.Join("/run/netns", name))
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"addr", "add", addr.String() + "/24", "dev", device},
		{"link", "set", "dev", device, "mtu", fmt.Sprint(mtu)},
		{"link", "set", "dev", device, "up"},
		{"link", "set", "dev", "lo", "up"},
	} {
		if out, err := exec.Command("ip", append([]string{"-n", name}, args...)...).CombinedOutput(); err != nil {
			return nil, errors.Join(fmt.Errorf("ip %v: %w: %s", args, err, out), f.Close())
		}
	}
	return f, nil
}

// tunIn makes a TUN interface in a namespace. Its file works from everywhere.
func tunIn(namespace string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() { // on a thread of its own, which is in the namespace and ends with the goroutine
		runtime.LockOSThread()
		f, err := enterAndOpen(namespace)
		done <- result{f, err}
	}()
	r := <-done
	return r.f, r.err
}

func enterAndOpen(namespace string) (*os.File, error) {
	ns, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("could not enter: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("could not open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(device)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("could not make interface %q: %w", device, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil // only now: the poller takes no TUN file before it has an interface
}
