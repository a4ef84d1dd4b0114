package backlog

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process names a process of this host, so that another one which later has its number is not taken for it. The zero
// value names none.
type Process struct {
	PID   int32  `msgpack:"p"`
	Start uint64 `msgpack:"s"` // when it has begun, in ticks since the host has
	Where string `msgpack:"w"` // the boot of the host, and the namespace in which the number counts
}

// Peer is the process at the other end of a connection, or none if that is not known.
func Peer(c net.Conn) (p Process) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return p
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p
	}
	pid := int32(0)
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = cred.Pid
		}
	})
	start, runs := began(pid)
	if where := where(); runs && where != "" {
		p = Process{PID: pid, Start: start, Where: where}
	}
	return p
}

// Ended reports whether the process is known to have ended.
func (p Process) Ended() bool {
	if p.PID == 0 {
		return false
	}
	here := where()
	boot, namespace, _ := strings.Cut(p.Where, " ")
	bootNow, namespaceNow, ok := strings.Cut(here, " ")
	switch {
	case !ok:
		return false
	case boot != bootNow:
		return true
	case namespace != namespaceNow:
		return false
	}
	start, runs := began(p.PID)
	return !runs || start != p.Start
}

// where is the boot of the host, and the namespace of the numbers of processes; empty if that cannot be found.
func where() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(boot)) + " " + namespace
}

// began is when a process has begun; runs is false if there is none, or if it has ended and its parent does not know.
func began(pid int32) (start uint64, runs bool) {
	if pid <= 0 {
		return 0, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// Its name is in parentheses, and may have any characters. The state follows, and the start is the 20th word then.
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(words) < 20 || words[0] == "Z" || words[0] == "X" {
		return 0, false
	}
	start, err = strconv.ParseUint(words[19], 10, 64)
	return start, err == nil
}
