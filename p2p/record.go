package p2p

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dtpnode/dtpnode/wire"
)

// Right is what a member may do.
type Right string

// The rights. They are independent of each other.
const (
	Worker    Right = "worker"    // runs jobs, those of other members too
	Submitter Right = "submitter" // submits jobs
	Inviter   Right = "inviter"   // admits and revokes members
	Admin     Right = "admin"     // sees and controls everybody's jobs, as their submitters do
	Read      Right = "read"      // sees the status, log and result of everybody's jobs
)

// AllRights are the rights of a cluster's founder.
func AllRights() []Right { return []Right{Worker, Submitter, Inviter, Admin, Read} }

// maxNumber bounds the version and sequence numbers of records, so that the next number always fits.
const maxNumber = 1 << 53

// addresses is a record of where a peer listens, signed by the peer itself. The one with the highest Seq holds.
type addresses struct {
	Cluster string
	Peer    string
	Seq     uint64
	Addrs   [][]byte // multiaddrs in binary form
}

// signed is an encoded record and its signature by the peer that it names as its author.
type signed struct {
	Body []byte
	Sig  []byte
}

// bytes is a key that distinguishes records.
func (s signed) bytes() string {
	return fmt.Sprintf("%d ", len(s.Body)) + string(s.Body) + string(s.Sig)
}

// The purpose of a signature is part of the signed text, so that no record passes for one of another kind, nor for what
// Sign signs on behalf of callers.
const (
	forStatement  = "dtpnode statement\x00" // of membership files of format 1
	forRegister   = "dtpnode register\x00"
	forDeparture  = "dtpnode departure\x00"
	forSuccession = "dtpnode succession\x00"
	forAddresses  = "dtpnode addresses\x00"
	forCaller     = "dtpnode signed\x00"
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

// openAddresses decodes and verifies an address record of a member of cluster.
func openAddresses(cluster peer.ID, s signed) (addresses, []ma.Multiaddr, error) {
	a, addrs, err := readAddresses(cluster, s)
	if err != nil {
		return a, nil, err
	}
	return a, addrs, verify(must(a.Peer), forAddresses, s.Body, s.Sig)
}

// readAddresses is openAddresses without verifying the signature.
func readAddresses(cluster peer.ID, s signed) (addresses, []ma.Multiaddr, error) {
	var a addresses
	if len(s.Body) > maxAddresses {
		return a, nil, fmt.Errorf("an address record of %d bytes: %w", len(s.Body), ErrTooLarge)
	}
	if err := wire.Unmarshal(s.Body, &a); err != nil {
		return a, nil, err
	}
	id, err := peer.Decode(a.Peer)
	if err != nil {
		return a, nil, fmt.Errorf("could not read peer %q: %w", clip(a.Peer), err)
	}
	if a.Cluster != cluster.String() || a.Seq > maxNumber {
		return a, nil, fmt.Errorf("could not accept addresses of %s: cluster %q, number %d", id, clip(a.Cluster), a.Seq)
	}
	addrs, err := decodeAddrs(a.Addrs)
	if err != nil {
		return a, nil, fmt.Errorf("could not accept addresses of %s: %w", id, err)
	}
	return a, addrs, nil
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

// encodeAddrs encodes as many addresses as fit into a record.
func encodeAddrs(addrs []ma.Multiaddr) (out [][]byte) {
	const room = maxAddresses * 3 / 4 // the rest is for the record's other fields
	size := 0
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		if size += len(a.Bytes()) + 3; size > room {
			break
		}
		out = append(out, a.Bytes())
	}
	return out
}

func (s signed) hash() [sha256.Size]byte {
	return sha256.Sum256(bytes.Join([][]byte{s.Body, s.Sig}, nil))
}

// clip bounds text from other peers for use in a message.
func clip(s string) string { return s[:min(len(s), 80)] }
