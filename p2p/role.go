package p2p

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// recoveryPrefix begins a recovery key as text. Then follow, as base64url without padding, the 32 bytes of an Ed25519
// seed and the first 4 bytes of their SHA-256.
const recoveryPrefix = "dtpkey1."

// These errors are about the founder's role.
var (
	ErrNotFounder  = errors.New("this node does not have the founder's role")
	ErrRecoverySet = errors.New("the cluster has a recovery key already: keep that one; whoever holds it can take " +
		"the founder's role with it (dtpnode take-back)")
	ErrRecoveryDamaged = errors.New("the recovery key is damaged: copy it again, whole and on one line")
	ErrRecoveryUnknown = errors.New("this is not the recovery key of this cluster")
)

// succeed signs the succession that follows a reign.
func (n *Node) succeed(key crypto.PrivKey, a reign, holder, recovery peer.ID) (signed, error) {
	by, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return signed{}, fmt.Errorf("could not name the key: %w", err)
	}
	if a.seq >= maxSuccessions {
		return signed{}, fmt.Errorf("the founder's role has changed hands %d times: %w", a.seq, ErrTooLarge)
	}
	s := succession{
		Cluster: n.roster.cluster.String(),
		Seq:     a.seq + 1,
		Prev:    a.prev,
		Holder:  holder.String(),
		By:      by.String(),
	}
	if recovery != "" {
		s.Recovery = recovery.String()
	}
	return sign(key, forSuccession, &s)
}

// Handover gives the founder's role to another member. This node stays a member with all rights, granted by the new
// founder.
func (n *Node) Handover(id PeerID) error {
	to, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("could not hand the founder's role to %q: it is no peer id: %w", clip(id), err)
	}
	n.mu.Lock()
	err = n.handover(to)
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("could not hand the founder's role to %s: %w", id, err)
	}
	n.log.Info("handed the founder's role over", "peer", id)
	n.membersChanged()
	return nil
}

// handover does Handover with n.mu held. It first adopts the members that the new founder has admitted so far, since
// that node's register under its new role comes later.
func (n *Node) handover(to peer.ID) error {
	a := n.roster.reign()
	m, in := n.roster.members[to]
	switch {
	case a.holder != n.id:
		return ErrNotFounder
	case to == n.id:
		return errors.New("this node has it already")
	case !in:
		return ErrNotMember
	}
	reg, err := n.roster.draft(n.id)
	if err != nil {
		return err
	}
	n.roster.adopt(&reg, to, m.Tenure)
	x, err := n.issue(reg, exchange{})
	if err != nil {
		return err
	}
	s, err := n.succeed(n.key, a, to, a.recovery)
	if err != nil {
		return err
	}
	x.Successions = append(n.roster.all().Successions, s)
	return n.publish(x)
}

// NewRecoveryKey makes the key that can take the founder's role, and returns it as text. Only its public half is
// stored. A cluster has at most one, made by the founder.
func (n *Node) NewRecoveryKey() (string, error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("could not make a recovery key: %w", err)
	}
	key, err := crypto.UnmarshalEd25519PublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("could not make a recovery key: %w", err)
	}
	id, err := peer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("could not name the recovery key: %w", err)
	}
	n.mu.Lock()
	a := n.roster.reign()
	switch {
	case a.holder != n.id:
		err = ErrNotFounder
	case a.recovery != "":
		err = ErrRecoverySet
	default:
		err = n.setRecovery(a, id)
	}
	n.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("could not set a recovery key: %w", err)
	}
	n.membersChanged()
	seed := priv.Seed()
	sum := sha256.Sum256(seed)
	return recoveryPrefix + base64.RawURLEncoding.EncodeToString(append(seed, sum[:checksumSize]...)), nil
}

// setRecovery adds the succession that names the key, and this node's register under it. n.mu is held.
func (n *Node) setRecovery(a reign, id peer.ID) error {
	s, err := n.succeed(n.key, a, n.id, id)
	if err != nil {
		return err
	}
	if err := n.publish(exchange{Successions: append(n.roster.all().Successions, s)}); err != nil {
		return err
	}
	if err := n.tidy(); err != nil {
		return err
	}
	return n.save()
}

func parseRecoveryKey(s string) (crypto.PrivKey, error) {
	text, ok := strings.CutPrefix(strings.Join(strings.Fields(s), ""), recoveryPrefix)
	if !ok || len(text) > 256 {
		return nil, ErrRecoveryDamaged
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != ed25519.SeedSize+checksumSize {
		return nil, ErrRecoveryDamaged
	}
	seed, sum := raw[:ed25519.SeedSize], raw[ed25519.SeedSize:]
	if want := sha256.Sum256(seed); !bytes.Equal(want[:checksumSize], sum) {
		return nil, ErrRecoveryDamaged
	}
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
}

// TakeBack gives this node the founder's role by the recovery key. All members stay, except those that had the role by
// the old key: they are expelled, and what they sign from now on has no effect.
func (n *Node) TakeBack(text string) error {
	key, err := parseRecoveryKey(text)
	if err == nil {
		n.mu.Lock()
		err = n.takeBack(key)
		n.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("could not take the founder's role: %w", err)
	}
	n.log.Info("took the founder's role by the recovery key")
	n.membersChanged()
	return nil
}

// takeBack does TakeBack with n.mu held.
func (n *Node) takeBack(key crypto.PrivKey) error {
	recovery, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("could not name the recovery key: %w", err)
	}
	at, ok := n.roster.takeBackAt(recovery)
	switch {
	case n.roster.reign().holder == n.id:
		return errors.New("this node has it already: with a stolen key it is to be taken on another member, since this " +
			"node's own is the stolen one")
	case !ok:
		return ErrRecoveryUnknown
	}
	a := n.roster.reignAt(at)
	s, err := n.succeed(key, a, n.id, recovery)
	if err != nil {
		return err
	}
	next := reign{seq: a.seq + 1}
	reg := register{
		Cluster: n.roster.cluster.String(),
		Issuer:  n.id.String(),
		Under:   next.under(),
		Version: 1,
		Name:    n.Name(),
		Founded: n.cfg.now().Unix(),
	}
	n.roster.inherit(&reg, false)
	n.roster.adopt(&reg, n.id, n.roster.members[n.id].Tenure)
	for i := at; i <= len(n.roster.chain); i++ {
		old := n.roster.reignAt(i).holder
		reg.Entries = slices.DeleteFunc(reg.Entries, func(e entry) bool { return must(e.Peer) == old })
		reg.Outs = append(reg.Outs, out{Peer: old.String()})
	}
	reg.Outs = slices.DeleteFunc(reg.Outs, func(o out) bool { return must(o.Peer) == n.id })
	x, err := n.issue(reg, exchange{Successions: append(n.roster.all().Successions[:at:at], s)})
	if err != nil {
		return err
	}
	return n.publish(x)
}

// MayDepart reports why this node cannot leave its cluster for good, nil if it can.
func (n *Node) MayDepart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.roster.reign().holder == n.id && len(n.roster.members) > 1 {
		return fmt.Errorf("could not leave the cluster: %w", ErrFounderStays)
	}
	return nil
}
