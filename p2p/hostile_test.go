package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dtpnode/dtpnode/wire"
)

// plainHost is a libp2p host that runs nothing of this package: an adversary, or a light member.
func plainHost(t *testing.T, w who) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.Identity(w.key), libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.Security(noise.ID, noise.New),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.Ping(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func (n *tnode) dialFrom(h host.Host) error {
	return h.Connect(n.t.Context(), peer.AddrInfo{ID: n.id, Addrs: n.addrs()})
}

// enrolled makes w a member of a's cluster without running a node for it.
func (n *tnode) enrolled(w who, rights ...Right) {
	n.t.Helper()
	n.admitAll([]who{w}, rights...)
	if !n.isMember(w.id) {
		n.t.Fatal("no member")
	}
}

// admitAll has a founder's node admit peers that run no node.
func (n *tnode) admitAll(ws []who, rights ...Right) {
	n.t.Helper()
	n.Node.mu.Lock()
	reg, err := n.roster.draft(n.id)
	for _, w := range ws {
		err = errors.Join(err, reg.admit(entry{Peer: w.id.String(), Rights: rights, Tenure: newTenure()}))
	}
	x, err2 := n.issue(reg, exchange{})
	n.Node.mu.Unlock()
	if err := errors.Join(err, err2); err != nil {
		n.t.Fatal(err)
	}
	n.mergeFrom(n.id, x)
}

// linked sends a hello as a member and returns the link's stream.
func (n *tnode) linked(h host.Host) network.Stream {
	n.t.Helper()
	for {
		if err := n.dialFrom(h); err != nil {
			n.t.Fatal(err)
		}
		s, err := h.NewStream(n.t.Context(), n.id, linkProtocol)
		if err != nil {
			n.t.Fatal(err)
		}
		if err := writeValue(s, &hello{
			Speaks:   speaks{Protocol: protocolNumber},
			Cluster:  n.Cluster(),
			Instance: 1,
			Info:     Info{Name: "plain"},
		}); err != nil {
			n.t.Fatal(err)
		}
		var w welcome
		if err := readValue(s, maxHelloFrame, &w); err != nil {
			n.t.Fatal(err)
		}
		switch w.Refusal {
		case "":
			return s
		case refusedCrossing, refusedLinked: // the node dials too, and a plain host cannot answer that
			_ = s.Reset()
		default:
			n.t.Fatalf("refused: %q", w.Refusal)
		}
	}
}

// closed returns once the other side has ended s.
func closed(s network.Stream) { _, _ = io.Copy(io.Discard, s) }

func TestStrangerIsNotLetIn(t *testing.T) {
	a, b := couple(t)
	// couple's token is used up but remembered; forget it.
	a.Node.mu.Lock()
	a.invites = nil
	a.Node.mu.Unlock()
	h := plainHost(t, someone(t))
	if err := a.dialFrom(h); err == nil {
		// The dialling side may believe that it is connected, so it is the accepting side that is checked.
		if s, err := h.NewStream(t.Context(), a.id, joinProtocol, linkProtocol); err == nil {
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Error("a stranger was answered")
			}
		}
	}
	for _, m := range b.Members() {
		if m.ID == h.ID().String() {
			t.Error("a stranger is a member")
		}
	}
}

// allProtocols are the protocols of n, as its host knows them.
func allProtocols(n *tnode) []protocol.ID { return n.host.Mux().Protocols() }

func TestStrangerReachesTheJoinProtocolAlone(t *testing.T) {
	a := open(t, config(t, "a"))
	token := a.invite(Worker)
	garbage := [][]byte{{}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 6, 0xdd, 0xff, 0xff, 0xff, 0xff, 1}, make([]byte, 100),
		[]byte("GET / HTTP/1.1\r\n\r\n")}
	h := plainHost(t, someone(t))
	if err := a.dialFrom(h); err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, p := range allProtocols(a) {
		for _, g := range garbage {
			s, err := h.NewStream(t.Context(), a.id, p)
			if err != nil {
				continue
			}
			_, _ = s.Write(g)
			_ = s.CloseWrite()
			got, err := io.ReadAll(s)
			if p == joinProtocol || p == linkProtocol || len(p) > 10 && p[:9] == "/dtpnode/" {
				ours++
				if len(got) > 0 {
					t.Errorf("%s answered %x (%v) to %x", p, got, err, g)
				}
			}
		}
	}
	if ours < 5*len(garbage) {
		t.Errorf("only %d streams of this package were tried", ours)
	}
	// The node works as before.
	b := open(t, config(t, "b"))
	b.join(token)
	a.up(0, b.ID())
}

func TestStrangersAreFew(t *testing.T) {
	a := open(t, config(t, "a"))
	a.Node.mu.Lock()
	a.Node.places = few
	a.Node.mu.Unlock()
	a.invite(Worker) // otherwise no stranger may connect
	for range few.all + 16 {
		h := plainHost(t, someone(t))
		_ = a.dialFrom(h)
	}
	a.Node.mu.Lock()
	strangers := len(a.strangers)
	a.Node.mu.Unlock()
	if strangers > few.all {
		t.Errorf("%d strangers are in", strangers)
	}
}

func TestJoinAttemptsAreBounded(t *testing.T) {
	a := open(t, config(t, "a"))
	a.invite(Worker)
	h := plainHost(t, someone(t))
	if err := a.dialFrom(h); err != nil {
		t.Fatal(err)
	}
	busy := false
	for range 4 * joinBurst {
		s, err := h.NewStream(t.Context(), a.id, joinProtocol)
		if err != nil {
			break
		}
		if err := writeValue(s, &joinRequest{
			Speaks:     speaks{Protocol: protocolNumber},
			Invitation: []byte("guess"),
			Proof:      []byte("guess"),
		}); err != nil {
			t.Fatal(err)
		}
		var r joinReply
		if err := readValue(s, maxRoster, &r); err != nil {
			t.Fatal(err)
		}
		if r.Refusal != refusedUnknown && r.Refusal != refusedBusy {
			t.Fatalf("a guess was answered with %q", r.Refusal)
		}
		if r.Roster.Statements != nil {
			t.Fatal("a stranger was told the roster")
		}
		if busy = r.Refusal == refusedBusy; busy {
			break
		}
	}
	if !busy {
		t.Error("guesses are not limited")
	}
}

func TestStolenProofServesNobodyElse(t *testing.T) {
	a := open(t, config(t, "a"))
	tok, err := parseToken(a.invite(Worker))
	if err != nil {
		t.Fatal(err)
	}
	p := people(t, 2)
	name := secretName(tok.secret)
	req := joinRequest{
		Speaks:     speaks{Protocol: protocolNumber},
		Invitation: name[:],
		Proof:      proof(tok.secret, tok.cluster, tok.inviter, p[0].id),
	}
	if r := a.admit(p[1].id, req); r.Refusal != refusedUnknown {
		t.Errorf("got %q", r.Refusal)
	}
	if r := a.admit(p[0].id, req); r.Refusal != "" {
		t.Errorf("the rightful node got %q", r.Refusal)
	}
	if r := a.admit(p[0].id, req); r.Refusal != "" {
		t.Errorf("the rightful node that did not hear the answer got %q", r.Refusal)
	}
}

// A member that opens streams and then stalls is cut off by deadlines; one that sends nonsense is cut off at once.
func TestHostileMember(t *testing.T) {
	ca := config(t, "a")
	ca.StallTimeout = 200 * time.Millisecond
	ca.Blobs = memStore{}
	ca.Serve = func(context.Context, PeerID, string, []byte) ([]byte, error) { return nil, errors.New("no") }
	a := open(t, ca)
	w := someone(t)
	a.enrolled(w, Worker)
	h := plainHost(t, w)
	if err := a.dialFrom(h); err != nil {
		t.Fatal(err)
	}
	for _, p := range []protocol.ID{joinProtocol, linkProtocol, versioned(protocolNumber, "request"),
		versioned(protocolNumber, "blob")} {
		for _, g := range [][]byte{{0}, {0, 0, 1, 0, 1}, {0xff, 0xff, 0xff, 0xff, 0}, {0, 0, 0, 1, 0xc1}} {
			s, err := h.NewStream(t.Context(), a.id, p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(g); err != nil {
				t.Fatal(err)
			}
			closed(s) // closed by the node: without a deadline there, this hangs
		}
	}
	for name, frame := range map[string][]byte{
		"oversize": binary.BigEndian.AppendUint32(nil, MaxMessage+2), "empty": {0, 0, 0, 0},
		"bad ping": {0, 0, 0, 2, byte(framePing), 0}, "bad roster": {0, 0, 0, 2, byte(frameRoster), 0xc1},
	} {
		t.Run(name, func(t *testing.T) {
			at := a.seen()
			s := a.linked(h)
			at = a.up(at, w.id.String())
			if _, err := s.Write(frame); err != nil {
				t.Fatal(err)
			}
			closed(s)
			a.down(at, w.id.String())
		})
	}
}

// A peer that is stopped, or whose host lost power, is down after the silence limit though its
// connection stands; when it comes back it is up again.
func TestSilence(t *testing.T) {
	ca := config(t, "a")
	ca.PingPeriod, ca.Silence = 20*time.Millisecond, 300*time.Millisecond
	a := open(t, ca)
	w := someone(t)
	a.enrolled(w, Worker)
	h := plainHost(t, w)
	s := a.linked(h)
	at := a.up(0, w.id.String())
	// It answers a few pings, and then falls silent.
	for range 5 {
		frame, err := wire.ReadFrame(s, MaxMessage+1)
		if err != nil {
			t.Fatal(err)
		}
		if frameKind(frame[0]) == framePing {
			frame[0] = byte(framePong)
			if err := wire.WriteFrame(s, frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	at = a.down(at, w.id.String())
	closed(s)
	a.linked(h)
	a.up(at, w.id.String())
}

// count counts the events from number on that ok holds for.
func (n *tnode) count(from int, ok func(Event) bool) (all int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.log[from:] {
		if ok(e) {
			all++
		}
	}
	return all
}

// A member that sends faster than its messages are handled fills neither memory nor queue: its link waits, with
// heartbeats, and others are heard.
func TestFloodOfAMemberWaitsAtItsLink(t *testing.T) {
	ca := config(t, "a")
	ca.PingPeriod, ca.Silence = 40*time.Millisecond, 2*time.Second
	ca.StallTimeout = patience
	a := open(t, ca)
	b := open(t, config(t, "b"))
	b.join(a.invite(Worker))
	w := someone(t)
	a.enrolled(w, Worker)
	a.up(0, b.ID())
	a.holds(true)
	s := a.linked(plainHost(t, w))
	a.up(0, w.id.String())
	for name, size := range map[string]int{"large": MaxMessage, "small": 0} {
		of := func(id PeerID) func(Event) bool {
			return func(e Event) bool { m, ok := e.(Message); return ok && m.From == id }
		}
		at, many, most := a.seen(), 64, maxWaiting/MaxMessage
		if size == 0 {
			many, most = 2*maxWaiting/minWaiting, maxWaiting/minWaiting
		}
		sent := make(chan error, 1)
		go func() {
			var err error
			for range many {
				err = errors.Join(err, wire.WriteFrame(s, append([]byte{byte(frameMessage)}, make([]byte, size)...)))
			}
			sent <- err
		}()
		next := at
		for range most {
			_, next = a.wait(next, "a message of the flood", of(w.id.String()))
		}
		pings := 0 // pings for longer than the silence limit
		for pings < 2*int(ca.Silence/ca.PingPeriod) {
			frame, err := wire.ReadFrame(s, MaxMessage+1)
			if err != nil {
				t.Fatalf("%s: no heartbeat on the link that waits: %v", name, err)
			}
			if frameKind(frame[0]) == framePing {
				pings++
			}
		}
		if err := b.Send(a.ID(), []byte("b")); err != nil {
			t.Fatal(err)
		}
		a.wait(at, "a message of another", of(b.ID()))
		if n := a.count(at, of(w.id.String())); n != most {
			t.Errorf("%s: %d messages wait, not %d", name, n, most)
		}
		a.holds(false)
		for range many - most {
			_, next = a.wait(next, "the rest of the flood", of(w.id.String()))
		}
		if err := <-sent; err != nil {
			t.Fatal(name, err)
		}
		a.holds(true)
	}
}

// More members connect from one address than libp2p's default limits admit.
func TestManyMembersOnOneHost(t *testing.T) {
	const many = 72
	ca := config(t, "a")
	ca.Silence = time.Hour // these members answer no pings
	a := open(t, ca)
	ws := people(t, many)
	a.admitAll(ws, Worker)
	for _, w := range ws {
		a.linked(plainHost(t, w))
	}
	for _, w := range ws {
		a.up(0, w.id.String())
	}
	up := 0
	for _, m := range a.Members() {
		if m.Up {
			up++
		}
	}
	if up != many+1 {
		t.Errorf("%d members are up", up)
	}
}

// Loopback is exempt from the limits, so they are also asked about an address that is not.
func TestLimitsAdmitAClusterBehindOneAddress(t *testing.T) {
	rm, err := newResourceManager()
	if err != nil {
		t.Fatal(err)
	}
	defer rm.Close()
	for _, from := range []string{"/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001"} {
		for i := range MaxPeers {
			c, err := rm.OpenConnection(network.DirInbound, true, ma.StringCast(from))
			if err != nil {
				t.Fatalf("connection %d from %s: %v", i, from, err)
			}
			if err := c.SetPeer(someID(t, i)); err != nil {
				t.Fatalf("peer %d from %s: %v", i, from, err)
			}
		}
	}
}

func someID(t *testing.T, i int) peer.ID {
	t.Helper()
	id, err := peer.IDFromBytes(append([]byte{0x12, 32}, fmt.Appendf(nil, "%032d", i)...))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A full mesh of real nodes that all join at once.
func TestMesh(t *testing.T) {
	a := open(t, config(t, "a"))
	nodes := []*tnode{a}
	errs := make(chan error)
	for i := range 7 {
		n := open(t, config(t, fmt.Sprintf("n%d", i)))
		nodes = append(nodes, n)
		token := a.invite(Worker)
		go func() { errs <- n.Join(context.Background(), token) }()
	}
	for range nodes[1:] {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		for _, m := range nodes {
			if n != m {
				n.up(0, m.ID())
			}
		}
	}
	for _, n := range nodes[1:] {
		n.wait(0, "the same roster", func(Event) bool { return len(n.Members()) == len(nodes) })
	}
}
