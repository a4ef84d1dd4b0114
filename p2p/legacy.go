package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dtpnode/dtpnode/wire"
)

// This file reads membership files of format 1, which hold a cluster's members as a set of statements, one for each
// issuer about each peer. They count until the founder's register is known: the founder's node makes one of them when
// it first starts with this version.

// statement says that a peer is a member, or not a member any more. Of the statements about a peer by issuers that may
// make them, the one with the highest epoch holds.
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

type held struct {
	st  statement
	raw signed
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
	if st.Epoch == 0 || st.Epoch > maxNumber {
		return fmt.Errorf("epoch %d", st.Epoch)
	}
	if len(st.Rights) > 16 {
		return fmt.Errorf("%d rights", len(st.Rights))
	}
	return nil
}

func (st *statement) has(r Right) bool { return !st.Revoked && slices.Contains(st.Rights, r) }

// newer reports whether b takes precedence over a, of two statements about one peer: by epoch, then a revocation over
// an admission, then by bytes so that the order is total.
func newer(a, b held) bool {
	if a.st.Epoch != b.st.Epoch {
		return b.st.Epoch > a.st.Epoch
	}
	if a.st.Revoked != b.st.Revoked {
		return b.st.Revoked
	}
	return bytes.Compare(b.raw.Body, a.raw.Body) > 0
}

// latest is the newest of the statements in said whose issuer is among inviters.
func latest(said []held, inviters map[peer.ID]statement) (best held, ok bool) {
	for _, h := range said {
		if _, may := inviters[must(h.st.Issuer)]; may && (!ok || newer(best, h)) {
			best, ok = h, true
		}
	}
	return best, ok
}

// legacyMembers returns the members by the statements of a membership file of format 1. Inviters are found from the
// founder outwards; about everybody else the latest statement of any inviter holds.
func legacyMembers(cluster peer.ID, x []signed) (map[peer.ID]statement, error) {
	about := map[peer.ID][]held{}
	for _, s := range x {
		st, err := openStatement(cluster, s)
		if err != nil {
			return nil, err
		}
		about[must(st.Peer)] = append(about[must(st.Peer)], held{st, s})
	}
	founder := statement{Rights: AllRights()}
	for _, h := range about[cluster] {
		founder.Name, founder.Issued = h.st.Name, h.st.Issued
	}
	inviters := map[peer.ID]statement{cluster: founder}
	for level := inviters; len(level) > 0; {
		level = map[peer.ID]statement{}
		for id, said := range about {
			if _, done := inviters[id]; done {
				continue
			}
			if h, ok := latest(said, inviters); ok && h.st.has(Inviter) {
				level[id] = h.st
			}
		}
		maps.Copy(inviters, level)
	}
	out := maps.Clone(inviters)
	for id, said := range about {
		if _, done := inviters[id]; done {
			continue
		}
		if h, ok := latest(said, inviters); ok && !h.st.Revoked {
			out[id] = h.st
		}
	}
	return out, nil
}
