// Package local finds the daemon of this user on this host, and starts one where none runs. All of its
// daemons are processes of the same binary, reached over their control socket.
package local

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/node/api"
)

// Paths are the folders of a daemon.
type Paths struct {
	State string // identity, membership, jobs; one daemon for each folder
	Cache string // ROOT, compiled code, data that can be made again; shared
}

// Resolve makes the folders absolute. An empty state means $DTPNODE_STATE, else
// $XDG_STATE_HOME/dtpnode; an empty cache $DTPNODE_CACHE, else $XDG_CACHE_HOME/dtpnode.
func Resolve(state, cache string) (Paths, error) {
	state, err := folder(cmp.Or(state, os.Getenv("DTPNODE_STATE")), "XDG_STATE_HOME", ".local/state", "--state")
	if err != nil {
		return Paths{}, err
	}
	cache, err = folder(cmp.Or(cache, os.Getenv("DTPNODE_CACHE")), "XDG_CACHE_HOME", ".cache", "--cache")
	return Paths{State: state, Cache: cache}, err
}

// folder returns given as an absolute path, else the user's base folder by the XDG specification, which requires
// relative paths in its variables to be ignored.
func folder(given, variable, fallback, flag string) (string, error) {
	if given != "" {
		abs, err := filepath.Abs(given)
		if err != nil {
			return "", fmt.Errorf("could not make %s %q absolute: %w", flag, given, err)
		}
		return abs, nil
	}
	if base := os.Getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, "dtpnode"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", &api.Error{
			Message: fmt.Sprintf("could not choose a folder: %v and $%s is not set", err, variable),
			Hint:    "name a folder with " + flag,
		}
	}
	return filepath.Join(home, fallback, "dtpnode"), nil
}

// Log is where a daemon in the background writes its log.
func (p Paths) Log() string { return filepath.Join(p.State, "dtpnode.log") }

// Client returns a client for the daemon of these folders.
func (p Paths) Client() *api.Client { return api.NewClient(api.SocketPath(p.State)) }
