package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/dtpnode/dtpnode/wire"
)

const joinProtocol = "/dtpnode/join"

const (
	joinRate  = 8 // attempts a second without a token's secret; those that show one are not counted
	joinBurst = 32

	joinTries = 6                      // attempts when the connection breaks before an answer
	joinPause = 100 * time.Millisecond // pause after the first attempt, doubled each time
)

// joinRequest asks for membership. It is the first value on a join stream.
type joinRequest struct {
	Speaks     speaks
	Version    string
	Name       string
	Invitation []byte // secretName
	Proof      []byte
	Ephemeral  bool     // forget this node minutes after it was last seen, whatever the invitation says
	Addresses  []signed // the joining node's address record for the token's cluster; none or one
}

// joinReply answers a joinRequest: a refusal or the cluster's roster.
type joinReply struct {
	Speaks  speaks
	Version string
	Name    string
	Refusal refusal // empty: admitted
	Roster  exchange
}

// refusal says why a peer refuses to talk, on the wire and in the log.
type refusal string

const (
	refusedProtocol refusal = "protocol" // no protocol number in common
	refusedUnknown  refusal = "unknown"  // no such invitation, or a wrong proof
	refusedUsed     refusal = "used"
	refusedExpired  refusal = "expired"
	refusedBusy     refusal = "busy"
	refusedInternal refusal = "internal" // the refusing side failed; its log says how
	refusedCrossing refusal = "crossing" // both sides dial at once, and the refusing side's attempt goes on
	refusedLinked   refusal = "linked"   // there is a link between the two already
	refusedCluster  refusal = "cluster"  // another cluster, or not a member
	refusedShunned  refusal = "shunned"  // it broke the rules, see Shun
	refusedGone     refusal = "gone"     // it is not a member any more; the proof follows
)

// serveJoin answers strangers. Their time, bytes and attempts are bounded.
func (n *Node) serveJoin(s network.Stream) {
	defer s.Reset() //nolint:errcheck // after Close it has no effect
	if s.SetDeadline(time.Now().Add(n.cfg.StallTimeout)) != nil {
		return
	}
	id := s.Conn().RemotePeer()
	var req joinRequest
	if err := readValue(s, maxJoinFrame, &req); err != nil {
		n.log.Info("refused a stranger", "peer", id.String(), "err", err)
		return
	}
	reply := n.admit(id, req)
	switch {
	case reply.Refusal != refusedUnknown:
		n.prove(s.Conn())
	case !n.joins.Allow():
		reply.Refusal = refusedBusy
	}
	n.log.Info("answered a request to join", "peer", id.String(), "name", clip(req.Name), "refusal", string(reply.Refusal))
	if writeValue(s, &reply) != nil || reply.Refusal != "" {
		_ = s.Close()
		return
	}
	// The joining node closes this connection, which was made while it was a stranger, and connects again as a member.
	_, _ = io.CopyN(io.Discard, s, 1)
	// Only this connection is closed, since the member may be connected by another one already.
	_ = s.Conn().Close()
	n.membersChanged()
}

// Join makes this node a member of the cluster that the token is from. Its error is under one of the
// ErrToken errors, ErrOtherCluster, ErrAlreadyMember, ErrProtocol, ErrUnreachable or ErrJoinRefused.
func (n *Node) Join(ctx context.Context, text string) error { return n.joinAs(ctx, text, false) }

// JoinEphemeral is Join as a member that is forgotten once nobody has heard of it for Config.EphemeralFor.
func (n *Node) JoinEphemeral(ctx context.Context, text string) error {
	return n.joinAs(ctx, text, true)
}

func (n *Node) joinAs(ctx context.Context, text string, ephemeral bool) error {
	t, err := parseToken(text)
	if err != nil {
		return fmt.Errorf("could not join: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 4*n.cfg.StallTimeout)
	defer cancel()
	if err := n.startJoin(t); err != nil {
		return fmt.Errorf("could not join: %w", err)
	}
	defer n.endJoin()
	reply, conn, err := n.keepAsking(ctx, t, ephemeral)
	if err != nil {
		return fmt.Errorf("could not join through %s: %w", t.inviter, err)
	}
	if err := n.enterCluster(t, reply.Roster); err != nil {
		return fmt.Errorf("could not join through %s: %w", t.inviter, err)
	}
	n.log.Info("joined a cluster", "cluster", t.cluster.String(), "inviter", t.inviter.String())
	_ = conn.Close() // see serveJoin
	n.membersChanged()
	return nil
}

// startJoin checks that this node may join another cluster, and allows the inviter to be dialled.
func (n *Node) startJoin(t token) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, in := n.roster.members[n.id]
	switch {
	case n.closed:
		return ErrClosed
	case n.joining != "":
		return errors.New("this node is joining already")
	case in && n.roster.cluster == t.cluster && (n.roster.reign().holder == n.id || len(n.links) > 0):
		return ErrAlreadyMember
	case in && n.roster.cluster != t.cluster && len(n.roster.members) > 1:
		return fmt.Errorf("%w: this is cluster %s, the token is of %s", ErrOtherCluster, n.roster.cluster, t.cluster)
	}
	n.joining = t.inviter
	return nil
}

func (n *Node) endJoin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.joining = ""
}

// keepAsking repeats the request when the connection breaks before an answer: with many strangers at the door an honest
// one may lose its place. It returns the answer and the connection that it came on.
func (n *Node) keepAsking(ctx context.Context, t token, ephemeral bool) (joinReply, network.Conn, error) {
	pause := joinPause
	for try := 1; ; try++ {
		reply, conn, err := n.askToJoin(ctx, t, ephemeral)
		if err == nil {
			return reply, conn, nil
		}
		_ = n.host.Network().ClosePeer(t.inviter) // the next attempt starts afresh
		if reply.Version != "" || !errors.Is(err, ErrJoinRefused) || try == joinTries {
			return reply, nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return reply, nil, err
		}
		pause *= 2
	}
}

func (n *Node) askToJoin(ctx context.Context, t token, ephemeral bool) (joinReply, network.Conn, error) {
	n.host.Peerstore().AddAddrs(t.inviter, t.addrs, peerstore.TempAddrTTL)
	n.clearBackoff(t.inviter)
	s, err := n.dialJoin(ctx, t)
	if err != nil {
		if !reachable(ctx, t.addrs) {
			return joinReply{}, nil, fmt.Errorf("%w (%s)", ErrUnreachable, joinAddrs(t.addrs))
		}
		return joinReply{}, nil, fmt.Errorf("%w: %w", ErrJoinRefused, err)
	}
	defer s.Close()
	own, err := n.signAddresses(t.cluster, n.addressSeq()+1)
	if err != nil {
		return joinReply{}, nil, err
	}
	name := secretName(t.secret)
	req := joinRequest{
		Speaks:     n.cfg.speaks(),
		Version:    n.cfg.Version,
		Name:       n.Name(),
		Ephemeral:  ephemeral,
		Invitation: name[:],
		Proof:      proof(t.secret, t.cluster, t.inviter, n.id),
		Addresses:  []signed{own},
	}
	var reply joinReply
	err = writeValue(s, &req)
	if err == nil {
		err = readValue(s, maxRoster, &reply)
	}
	if err != nil {
		return reply, nil, fmt.Errorf("%w: %w", ErrJoinRefused, err)
	}
	return reply, s.Conn(), n.explain(reply)
}

func (n *Node) dialJoin(ctx context.Context, t token) (network.Stream, error) {
	if err := n.host.Connect(ctx, peer.AddrInfo{ID: t.inviter, Addrs: t.addrs}); err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(network.WithNoDial(ctx, "join"), t.inviter, joinProtocol)
	if err != nil {
		return nil, err
	}
	return s, s.SetDeadline(time.Now().Add(n.cfg.StallTimeout))
}

// explain turns a refusal into the error that the user sees.
func (n *Node) explain(r joinReply) error {
	switch r.Refusal {
	case "":
		return nil
	case refusedProtocol:
		return n.protocolError(r.Speaks, r.Name, r.Version)
	case refusedUnknown:
		return ErrTokenUnknown
	case refusedUsed:
		return ErrTokenUsed
	case refusedExpired:
		return ErrTokenExpired
	}
	return fmt.Errorf("%w: %q", ErrJoinRefused, clip(string(r.Refusal)))
}

// enterCluster makes the cluster of t this node's own.
func (n *Node) enterCluster(t token, x exchange) error {
	n.mu.Lock()
	r := newRoster(t.cluster)
	if n.roster.cluster == t.cluster {
		r = n.roster.clone() // keeps what it knows of who has the founder's role
	}
	n.mu.Unlock()
	if _, err := r.merge(x); err != nil {
		return err
	}
	if _, ok := r.members[n.id]; !ok {
		return fmt.Errorf("the inviting node sent a roster without this node: %w", ErrNotMember)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	oldRoster, oldInvites, oldOut := n.roster, n.invites, n.expelled
	n.roster, n.invites, n.expelled, n.gone = r, nil, nil, map[peer.ID]time.Time{}
	if err := n.save(); err != nil {
		n.roster, n.invites, n.expelled = oldRoster, oldInvites, oldOut
		return err
	}
	return nil
}

// reachable reports whether anything answers at one of addrs.
func reachable(ctx context.Context, addrs []ma.Multiaddr) bool {
	for _, a := range addrs {
		na, err := manet.ToNetAddr(a)
		if err != nil {
			continue
		}
		d := net.Dialer{Timeout: 2 * time.Second}
		if c, err := d.DialContext(ctx, "tcp", na.String()); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

func joinAddrs(addrs []ma.Multiaddr) string {
	var b bytes.Buffer
	for i, a := range addrs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(hostPort(a))
	}
	return b.String()
}

// readValue reads one frame of at most max bytes into v.
func readValue(r io.Reader, max int, v any) error {
	b, err := wire.ReadFrame(r, max)
	if err != nil {
		return err
	}
	return wire.Unmarshal(b, v)
}

// writeValue writes v as one frame.
func writeValue(w io.Writer, v any) error {
	b, err := wire.Marshal(v)
	if err != nil {
		return err
	}
	return wire.WriteFrame(w, b)
}
