package p2p

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/wire"
)

// These are the files of the state folder.
const (
	identityFile   = "identity.key" // private key, libp2p protobuf form, mode 0600
	membershipFile = "membership"   // magic, SHA-256 of the rest, msgpack of saved; mode 0600
	lockFile       = "p2p.lock"     // held while a node runs on the folder
)

// A membership file begins with the name of its format. Format 1 held statements, see legacy.go.
const (
	membershipMagic = "dtpnode membership 2\n"
	oldMagic        = "dtpnode membership 1\n"
)

// saved is the content of the membership file: what a node remembers between two runs.
type saved struct {
	Cluster string
	Roster  exchange
	Invites []invite
	Ports   []savedPort
	Seen    []savedSeen
	Gone    []savedSeen
	Out     *savedOut
}

// savedSeen is when a member was last connected to this node.
type savedSeen struct {
	Peer  string
	Unix  int64
	Left  bool // it announced that it would leave
	Unmet bool // it was never connected, and Unix is when it was first heard of
}

// savedPort is the port that a listen address with port 0 got.
type savedPort struct {
	Listen string
	Port   int
}

// Damaged returns the reasons why a node could not start on a state folder, each followed by a semicolon and what to
// do. It changes nothing in the folder.
func Damaged(dir string) (all []error) {
	if _, err := readIdentity(dir); err != nil {
		all = append(all, err)
	}
	if _, err := loadMembership(dir); err != nil {
		all = append(all, err)
	}
	return all
}

// loadIdentity reads the node's private key, or makes one on the first run.
func loadIdentity(dir string) (crypto.PrivKey, error) {
	key, err := readIdentity(dir)
	if key == nil && err == nil {
		return newIdentity(filepath.Join(dir, identityFile))
	}
	return key, err
}

// readIdentity reads the node's private key; it is nil before the first run. It is an error if the key is missing but
// there is a membership file: with a new key this would be another node, which no member knows and which owns none of
// its jobs.
func readIdentity(dir string) (crypto.PrivKey, error) {
	path := filepath.Join(dir, identityFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		member := filepath.Join(dir, membershipFile)
		if _, err := os.Stat(member); err == nil {
			return nil, fmt.Errorf("could not find the node's key %q: %w, for there is a membership, which is of use with "+
				"that key alone; "+
				"restore the key, or remove %s to begin as a new node that joins with a new token", path, ErrDamagedState, member)
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read the node's key: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("could not use the node's key %q: others may read it (mode %#o); run: chmod 600 %s", path,
			info.Mode().Perm(), path)
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("could not read the node's key %q: %w: %w; restore the file, or remove the folder to start "+
			"as a new node", path, ErrDamagedState, err)
	}
	return key, nil
}

func newIdentity(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("could not make the node's key: %w", err)
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("could not encode the node's key: %w", err)
	}
	return key, durable.PlaceSynced(path, durable.Bytes(raw))
}

// loadMembership returns nil on the first run.
func loadMembership(dir string) (*saved, error) {
	path := filepath.Join(dir, membershipFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read the membership file: %w", err)
	}
	s, err := decodeMembership(raw)
	if err != nil {
		return nil, fmt.Errorf("could not read the membership file %q: %w; restore it, or remove it and join again with a "+
			"new token", path, err)
	}
	return s, nil
}

func decodeMembership(raw []byte) (*saved, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(membershipMagic))
	if !ok {
		rest, ok = bytes.CutPrefix(raw, []byte(oldMagic))
	}
	if !ok || len(rest) < sha256.Size {
		return nil, fmt.Errorf("%w: it is no membership file of this version", ErrDamagedState)
	}
	sum, body := rest[:sha256.Size], rest[sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(want[:], sum) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamagedState)
	}
	s := new(saved)
	if err := wire.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamagedState, err)
	}
	return s, nil
}

func encodeMembership(s *saved) ([]byte, error) {
	body, err := wire.Marshal(s)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return bytes.Join([][]byte{[]byte(membershipMagic), sum[:], body}, nil), nil
}

func saveMembership(dir string, s *saved) error {
	raw, err := encodeMembership(s)
	if err != nil {
		return err
	}
	return durable.PlaceSynced(filepath.Join(dir, membershipFile), durable.Bytes(raw))
}
