package roottest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Half of what a short program of ROOT takes is ROOT's start, and the tests run two of them hundreds of times. So each
// of these has a process that has the start behind it, for as long as the process of the tests, and a run is a fork of
// that (cxx/forks.hxx).

// forked are the programs that begin with cxx/forks.hxx.
var forked = []string{"compare", "reference"}

// servers are the processes of programs, by the paths of these and the environment.
var servers = struct {
	sync.Mutex
	sockets map[string]int // each ends when its socket is closed, as with the tests' process
}{sockets: map[string]int{}}

// server starts the process of a program, unless it runs, and returns its socket.
func server(program string) (socket int, err error) {
	env := os.Environ()
	key := program + "\x00" + strings.Join(env, "\x00")
	servers.Lock()
	defer servers.Unlock()
	if socket, ok := servers.sockets[key]; ok {
		return socket, nil
	}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	other := os.NewFile(uintptr(ends[1]), "socket")
	defer other.Close()
	cmd := exec.Command(program, "--serve")
	cmd.Env, cmd.ExtraFiles, cmd.Stderr = env, []*os.File{other}, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, errors.Join(err, syscall.Close(ends[0]))
	}
	servers.sockets[key] = ends[0]
	return ends[0], nil
}

// run runs one of the forked programs in a folder, by default this process's, and returns what it has printed to
// standard output and to standard error, or in text both where together is true. The error is an ended if the program
// has ended otherwise than with status 0.
func (r *ROOT) run(t testing.TB, program, dir string, args []string, together bool) (text, errs string, err error) {
	t.Helper()
	socket, err := server(r.program(t, program))
	if err != nil {
		return "", "", fmt.Errorf("could not start %s: %w", program, err)
	}
	if dir == "" {
		if dir, err = os.Getwd(); err != nil {
			return "", "", err
		}
	}
	printed := t.TempDir()
	out, err := os.Create(printed + "/stdout")
	if err != nil {
		return "", "", err
	}
	defer out.Close()
	second := out
	if !together {
		if second, err = os.Create(printed + "/stderr"); err != nil {
			return "", "", err
		}
		defer second.Close()
	}
	status, statusTo, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer status.Close()
	words := strings.Join(append([]string{dir}, args...), "\x00") + "\x00"
	rights := syscall.UnixRights(int(out.Fd()), int(second.Fd()), int(statusTo.Fd()))
	err = errors.Join(syscall.Sendmsg(socket, []byte(words), rights, nil, 0), statusTo.Close())
	if err != nil {
		return "", "", fmt.Errorf("could not have %s run: %w", program, err)
	}
	var word [4]byte
	_, err = io.ReadFull(status, word[:])
	if err != nil {
		err = fmt.Errorf("%s has ended without a word: %w", program, err)
	} else if how := ended(binary.NativeEndian.Uint32(word[:])); how != 0 {
		err = how
	}
	first, e1 := os.ReadFile(out.Name())
	err = errors.Join(err, e1)
	if together {
		return string(first), "", err
	}
	also, e2 := os.ReadFile(second.Name())
	return string(first), string(also), errors.Join(err, e2)
}

// ended is how a run has ended.
type ended syscall.WaitStatus

func (e ended) Error() string {
	if s := syscall.WaitStatus(e); s.Signaled() {
		return "signal: " + s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", e.status())
}

// status is the exit status, -1 after a signal.
func (e ended) status() int { return syscall.WaitStatus(e).ExitStatus() }
