package p2p

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dtpnode/dtpnode/wire"
)

// Right is what a member may do.
type Right string

// The rights. They are independent of each other.
const (
	Worker    Right = "worker"    // runs other members' jobs
	Submitter Right = "submitter" // has jobs run
	Inviter   Right = "inviter"   // admits and revokes members
	Admin     Right = "admin"     // sees and steers everybody's jobs, as their submitters do
	Read      Right = "read"      // sees the status, log and result of everybody's jobs
)

// AllRights are the rights of a cluster's founder.
func AllRights() []Right { return []Right{Worker, Submitter, Inviter, Admin, Read} }

// maxEpoch bounds a statement's number, so that the next one always fits.
const maxEpoch = 1 << 53

// statement says that a peer is a member, or is none any more. Among the statements about a peer by
// issuers that may make them, the one with the highest epoch holds.
type statement struct {
	Cluster string // peer id of the founder
	Peer    string // whom it is about
	Issuer  string // who signed it
	Name    string // of the peer when it joined
	Rights  []Right
	Revoked bool
	Epoch   uint64
	Issued  int64 // Unix seconds by the issuer's clock; shown, never compared
}

// addresses says where a peer listens; signed by the peer itself. The highest Seq holds.
type addresses struct {
	Cluster string
	Peer    string
	Seq     uint64
	Addrs   [][]byte // multiaddrs in binary form
}

// signed is a record and its signature by the peer it names as the author.
type signed struct {
	Body []byte
	Sig  []byte
}

// bytes tells one record from another.
func (s signed) bytes() string {
	return fmt.Sprintf("%d ", len(s.Body)) + string(s.Body) + string(s.Sig)
}

// What a signature is for is part of what is signed: no record passes for another, nor for what Sign
// signs on behalf of callers.
const (
	forStatement = "dtpnode statement\x00"
	forAddresses = "dtpnode addresses\x00"
	forCaller    = "dtpnode signed\x00"
)

func sign(key crypto.PrivKey, purpose string, v any) (signed, error) {
	body, err := wire.Marshal(v)
	if err != nil {
		return signed{}, err
	}
	sig, err := key.Sign(append([]byte(purpose), body...))
	if err != nil {
		return signed{}, fmt.Errorf("could not sign a record: %w", err)
	}
	return signed{Body: body, Sig: sig}, nil
}

func verify(id peer.ID, purpose string, body, sig []byte) error {
	key, err := id.ExtractPublicKey()
	if err != nil {
		return fmt.Errorf("could not read the key of peer %s: %w", id, err)
	}
	ok, err := key.Verify(append([]byte(purpose), body...), sig)
	if err != nil || !ok {
		return fmt.Errorf("could not verify what peer %s signed: %w", id, ErrBadSignature)
	}
	return nil
}

// openStatement decodes and verifies a statement about a member of cluster.
func openStatement(cluster peer.ID, s signed) (statement, error) {
	var st statement
	if err := wire.Unmarshal(s.Body, &st); err != nil {
		return st, err
	}
	issuer, err := peer.Decode(st.Issuer)
	if err != nil {
		return st, fmt.Errorf("could not read issuer %q: %w", clip(st.Issuer), err)
	}
	if err := st.check(cluster); err != nil {
		return st, fmt.Errorf("could not accept a statement by %s: %w", issuer, err)
	}
	return st, verify(issuer, forStatement, s.Body, s.Sig)
}

func (st *statement) check(cluster peer.ID) error {
	if st.Cluster != cluster.String() {
		return fmt.Errorf("it is about cluster %q", clip(st.Cluster))
	}
	if _, err := peer.Decode(st.Peer); err != nil {
		return fmt.Errorf("peer %q: %w", clip(st.Peer), err)
	}
	if len(st.Name) > maxName || strings.ContainsFunc(st.Name, unprintable) {
		return errors.New("bad name")
	}
	if st.Epoch == 0 || st.Epoch > maxEpoch {
		return fmt.Errorf("epoch %d", st.Epoch)
	}
	if len(st.Rights) > 16 {
		return fmt.Errorf("%d rights", len(st.Rights))
	}
	return nil
}

func (st *statement) has(r Right) bool { return !st.Revoked && slices.Contains(st.Rights, r) }

// openAddresses decodes and verifies an address record of a member of cluster.
func openAddresses(cluster peer.ID, s signed) (addresses, []ma.Multiaddr, error) {
	var a addresses
	if err := wire.Unmarshal(s.Body, &a); err != nil {
		return a, nil, err
	}
	id, err := peer.Decode(a.Peer)
	if err != nil {
		return a, nil, fmt.Errorf("could not read peer %q: %w", clip(a.Peer), err)
	}
	if a.Cluster != cluster.String() || a.Seq > maxEpoch {
		return a, nil, fmt.Errorf("could not accept addresses of %s: cluster %q, number %d", id, clip(a.Cluster), a.Seq)
	}
	addrs, err := decodeAddrs(a.Addrs)
	if err != nil {
		return a, nil, fmt.Errorf("could not accept addresses of %s: %w", id, err)
	}
	return a, addrs, verify(id, forAddresses, s.Body, s.Sig)
}

func decodeAddrs(raw [][]byte) ([]ma.Multiaddr, error) {
	if len(raw) > maxAddrs {
		return nil, fmt.Errorf("%d addresses: %w", len(raw), ErrTooLarge)
	}
	out := make([]ma.Multiaddr, 0, len(raw))
	for _, b := range raw {
		a, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			return nil, fmt.Errorf("could not read address %x: %w", b, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func encodeAddrs(addrs []ma.Multiaddr) [][]byte {
	var out [][]byte
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		out = append(out, a.Bytes())
	}
	return out
}

func (s signed) hash() [sha256.Size]byte {
	return sha256.Sum256(bytes.Join([][]byte{s.Body, s.Sig}, nil))
}

// clip bounds foreign text in a message.
func clip(s string) string { return s[:min(len(s), 80)] }
