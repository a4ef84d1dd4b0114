package p2p

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxInvites bounds the invitations a node remembers.
const maxInvites = 4096

// invite is an invitation as its inviter stores it, in the membership file.
type invite struct {
	Secret []byte
	Rights []Right

	Ephemeral bool // the admitted member is forgotten minutes after it was last seen

	Expires int64  // Unix seconds by this node's own clock
	UsedBy  string // peer id, empty while it is open
}

// secretName identifies an invitation in a joinRequest without giving its secret away.
func secretName(secret []byte) [8]byte {
	sum := sha256.Sum256(append([]byte("dtpnode invitation\x00"), secret...))
	return [8]byte(sum[:8])
}

// proof is what a joiner sends to show the inviter that it knows the secret. It holds for this pair of peers only.
func proof(secret []byte, cluster, inviter, joiner peer.ID) []byte {
	m := hmac.New(sha256.New, secret)
	for _, s := range []string{"dtpnode join\x00", cluster.String(), "\x00", inviter.String(), "\x00", joiner.String()} {
		m.Write([]byte(s))
	}
	return m.Sum(nil)
}

// Invite makes a token that admits one node with the given rights to the cluster, once, within ttl. It
// is kept over a restart of this node, which must be up when the token is used.
func (n *Node) Invite(rights []Right, ttl time.Duration) (text string, expires time.Time, err error) {
	return n.inviteAs(rights, ttl, false)
}

// InviteEphemeral is Invite for a member that is forgotten once nobody has heard of it for Config.EphemeralFor,
// such as a worker in a batch system, which comes once and never again.
func (n *Node) InviteEphemeral(rights []Right, ttl time.Duration) (text string, expires time.Time, err error) {
	return n.inviteAs(rights, ttl, true)
}

func (n *Node) inviteAs(rights []Right, ttl time.Duration, ephemeral bool) (text string, expires time.Time, err error) {
	for _, r := range rights {
		if !slices.Contains(AllRights(), r) {
			return "", time.Time{}, fmt.Errorf("could not invite: there is no right %q, only %v", r, AllRights())
		}
	}
	if ttl <= 0 || len(rights) == 0 {
		return "", time.Time{}, fmt.Errorf("could not invite for %v with rights %v: both must be given", ttl, rights)
	}
	secret := make([]byte, secretSize)
	if _, err := rand.Read(secret); err != nil {
		return "", time.Time{}, fmt.Errorf("could not make a secret: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.roster.has(n.id, Inviter) {
		return "", time.Time{}, fmt.Errorf("could not invite: %w", ErrNoRight)
	}
	for _, r := range rights {
		if !n.roster.has(n.id, r) {
			return "", time.Time{}, fmt.Errorf("could not invite with the right %s: %w: an inviter gives no rights that it "+
				"has not itself", r, ErrNoRight)
		}
	}
	n.forgetInvites()
	if len(n.invites) >= maxInvites {
		return "", time.Time{}, fmt.Errorf("could not invite: %d invitations are open: %w", len(n.invites), ErrTooLarge)
	}
	// Rounded up, so that it never ends sooner than asked.
	expires = n.cfg.now().Add(ttl).Truncate(time.Second).Add(time.Second)
	n.invites = append(n.invites, invite{
		Secret:    secret,
		Rights:    slices.Clone(rights),
		Expires:   expires.Unix(),
		Ephemeral: ephemeral,
	})
	if err := n.save(); err != nil {
		n.invites = n.invites[:len(n.invites)-1]
		return "", time.Time{}, fmt.Errorf("could not invite: %w", err)
	}
	t := token{cluster: n.roster.cluster, inviter: n.id, addrs: n.addrs(), secret: secret, expires: expires}
	return t.String(), expires, nil
}

// forgetInvites drops invitations that expired longer than InviteMemory ago. n.mu is held.
func (n *Node) forgetInvites() {
	old := n.cfg.now().Add(-n.cfg.InviteMemory).Unix()
	n.invites = slices.DeleteFunc(n.invites, func(i invite) bool { return i.Expires < old })
}

// doorOpen reports whether strangers may connect. n.mu is held.
func (n *Node) doorOpen() bool {
	n.forgetInvites()
	return len(n.invites) > 0 && n.roster.has(n.id, Inviter)
}

// admit answers a request to join by id. The invitation is marked as used, durably, before the joiner or anybody else
// learns of the admission.
func (n *Node) admit(id peer.ID, req joinRequest) joinReply {
	n.mu.Lock()
	defer n.mu.Unlock()
	reply := joinReply{Speaks: n.cfg.speaks(), Version: n.cfg.Version, Name: n.Name()}
	if n.cfg.speaks().common(req.Speaks) == 0 {
		reply.Refusal = refusedProtocol
		return reply
	}
	i := slices.IndexFunc(n.invites, func(i invite) bool {
		name := secretName(i.Secret)
		return string(name[:]) == string(req.Invitation)
	})
	if i < 0 || !n.roster.has(n.id, Inviter) ||
		!hmac.Equal(req.Proof, proof(n.invites[i].Secret, n.roster.cluster, n.id, id)) {
		reply.Refusal = refusedUnknown
		return reply
	}
	inv := &n.invites[i]
	_, member := n.roster.members[id]
	switch {
	case inv.UsedBy == id.String() && member: // the answer was lost, so it asks again
	case inv.UsedBy != "":
		reply.Refusal = refusedUsed
		return reply
	case n.cfg.now().Unix() >= inv.Expires:
		reply.Refusal = refusedExpired
		return reply
	default:
		if err := n.enrol(id, req, inv); err != nil {
			n.log.Error("could not admit a node", "peer", id.String(), "err", err)
			reply.Refusal = refusedInternal
			return reply
		}
	}
	reply.Roster = n.roster.all()
	return reply
}

// enrol admits id by the invitation inv, which is used up by this. n.mu is held.
func (n *Node) enrol(id peer.ID, req joinRequest, inv *invite) error {
	name := strings.Map(func(r rune) rune {
		if unprintable(r) {
			return -1
		}
		return r
	}, req.Name)
	name = name[:min(len(name), maxName)]
	reg, err := n.roster.draft(n.id)
	if err != nil {
		return err
	}
	e := entry{Peer: id.String(), Name: name, Rights: inv.Rights, Tenure: newTenure(), Joined: n.cfg.now().Unix(),
		Ephemeral: inv.Ephemeral || req.Ephemeral}
	if err := reg.admit(e); err != nil {
		return err
	}
	x, err := n.issue(reg, exchange{Addresses: req.Addresses})
	if err != nil {
		return err
	}
	trial := n.roster.clone()
	if _, err := trial.merge(x); err != nil {
		return err
	}
	if trial.members[id].Tenure != e.Tenure {
		return fmt.Errorf("%w: one nearer to the founder than this node admits the peer otherwise, or has put it out",
			ErrNoRight)
	}
	inv.UsedBy = id.String()
	if err := n.publish(x); err != nil {
		inv.UsedBy = ""
		return err
	}
	n.seen[id] = sight{at: time.Now()}
	return nil
}
