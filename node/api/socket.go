package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is what fits into sun_path of Linux with its terminating zero.
const maxSocketPath = 107

// SocketPath is the path of the control socket of the daemon whose state folder is state (an absolute
// path): control.sock inside it. Where that is longer than a Unix socket's address may be, it is in a
// folder of the user's own, named by a hash of state, under $XDG_RUNTIME_DIR or the system's
// temporary folder.
func SocketPath(state string) string {
	const name = "control.sock"
	state = filepath.Clean(state)
	if path := filepath.Join(state, name); len(path) <= maxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(state))
	dir := fmt.Sprintf("dtpnode-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8]))
	if run := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		if path := filepath.Join(run, dir, name); len(path) <= maxSocketPath {
			return path
		}
	}
	if path := filepath.Join(os.TempDir(), dir, name); len(path) <= maxSocketPath {
		return path
	}
	return filepath.Join("/tmp", dir, name)
}

// MakeSocketDir makes the folder of a socket path, for the user alone, and checks that nobody else
// owns it. The daemon calls it before it listens.
func MakeSocketDir(socket string) error {
	dir := filepath.Dir(socket)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("could not make the folder of the control socket %q: %w", dir, err)
	}
	return checkSocketDir(socket)
}

// RemoveSocket removes the control socket of a daemon that has ended, and the folder of the socket's own, where it has
// one.
func RemoveSocket(socket string) {
	_ = os.Remove(socket)
	_ = os.Remove(filepath.Dir(socket)) // a state folder is not empty, and stays
}

// checkSocketDir refuses a folder of another user, who could listen there in the daemon's place.
func checkSocketDir(socket string) error {
	dir := filepath.Dir(socket)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Getuid() {
		return nil
	}
	return &Error{
		Message: fmt.Sprintf("could not use the control socket %q: its folder belongs to user %d, not to you", socket,
			stat.Uid),
		Hint: "choose a folder of your own with --state",
	}
}

// LockPath is the file that a daemon with a state folder holds locked until its process is done with that folder.
func LockPath(stateDir string) string { return filepath.Join(stateDir, "daemon.lock") }
