package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waiting for what must happen; no test asserts how soon it does.
const patience = 3 * time.Minute

// tnode is a node under test; a goroutine takes its events.
type tnode struct {
	*Node
	t    *testing.T
	cfg  Config
	mu   sync.Mutex
	more *sync.Cond
	log  []Event
	over chan struct{}
	held []interface{ Done() } // messages whose Done is still to be called
	hold bool                  // collect messages in held
}

// done calls Done for a message at once, or when hold is set keeps it for later. n.mu is held.
func (n *tnode) done(e Event) {
	m, ok := e.(interface{ Done() })
	switch {
	case !ok:
	case n.hold:
		n.held = append(n.held, m)
	default:
		m.Done()
	}
}

// holds makes n keep messages from now on, as if the consumer had not reached them, or releases all of them.
func (n *tnode) holds(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hold = on; !on {
		for _, m := range n.held {
			m.Done()
		}
		n.held = nil
	}
}

func config(t *testing.T, name string) Config {
	c := Config{Dir: t.TempDir(), Name: name, Version: "1.0", Meta: "6.40", Slots: 2, Topics: []string{"jobs"},
		BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond}
	if os.Getenv("P2P_TEST_LOG") != "" {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	return c
}

func open(t *testing.T, cfg Config) *tnode {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	tn := &tnode{Node: n, t: t, cfg: cfg, over: make(chan struct{})}
	tn.more = sync.NewCond(&tn.mu)
	go func() {
		defer close(tn.over)
		for e := range n.Events() {
			tn.mu.Lock()
			tn.log = append(tn.log, e)
			tn.done(e)
			tn.mu.Unlock()
			tn.more.Broadcast()
		}
	}()
	t.Cleanup(tn.stop)
	return tn
}

func (n *tnode) stop() {
	if err := n.Close(); err != nil {
		n.t.Errorf("%s: %v", n.cfg.Name, err)
	}
	<-n.over
}

// wait returns the first event, from a number on, for which ok holds, and the number after it.
func (n *tnode) wait(from int, what string, ok func(Event) bool) (Event, int) {
	n.t.Helper()
	late := time.AfterFunc(patience, n.more.Broadcast)
	defer late.Stop()
	begin := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := from; ; {
		for ; i < len(n.log); i++ {
			if ok(n.log[i]) {
				return n.log[i], i + 1
			}
		}
		if time.Since(begin) >= patience {
			n.t.Fatalf("%s waited in vain for %s; members %+v", n.cfg.Name, what, n.Members())
		}
		n.more.Wait()
	}
}

func (n *tnode) seen() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.log)
}

func (n *tnode) up(from int, id PeerID) int {
	n.t.Helper()
	_, at := n.wait(from, "PeerUp of "+id, func(e Event) bool { u, ok := e.(PeerUp); return ok && u.ID == id })
	return at
}

func (n *tnode) down(from int, id PeerID) int {
	n.t.Helper()
	_, at := n.wait(from, "PeerDown of "+id, func(e Event) bool { u, ok := e.(PeerDown); return ok && u.ID == id })
	return at
}

func (n *tnode) invite(rights ...Right) string {
	n.t.Helper()
	text, _, err := n.Invite(rights, time.Hour)
	if err != nil {
		n.t.Fatal(err)
	}
	return text
}

func (n *tnode) join(text string) {
	n.t.Helper()
	if err := n.Join(n.t.Context(), text); err != nil {
		n.t.Fatalf("%s: %v", n.cfg.Name, err)
	}
}

// couple is two nodes of one cluster, both up.
func couple(t *testing.T, change ...func(*Config)) (a, b *tnode) {
	t.Helper()
	ca, cb := config(t, "a"), config(t, "b")
	for _, f := range change {
		f(&ca)
		f(&cb)
	}
	a, b = open(t, ca), open(t, cb)
	b.join(a.invite(Worker, Submitter))
	a.up(0, b.ID())
	b.up(0, a.ID())
	return a, b
}

func TestJoin(t *testing.T) {
	a, b := couple(t)
	for _, n := range []*tnode{a, b} {
		ms := n.Members()
		if len(ms) != 2 || !ms[0].Up || !ms[1].Up || n.Cluster() != a.ID() {
			t.Fatalf("%s sees cluster %s: %+v", n.cfg.Name, n.Cluster(), ms)
		}
		for _, m := range ms {
			if m.Version != "1.0" || m.Meta != "6.40" || m.Slots != 2 || len(m.Addrs) != 1 || m.Self != (m.ID == n.ID()) {
				t.Errorf("%s sees %+v", n.cfg.Name, m)
			}
		}
		for _, r := range AllRights() {
			if !n.HasRight(a.ID(), r) {
				t.Errorf("%s: the founder lacks %s", n.cfg.Name, r)
			}
			if n.HasRight(b.ID(), r) != slices.Contains([]Right{Worker, Submitter}, r) {
				t.Errorf("%s: right %s of the second node is wrong", n.cfg.Name, r)
			}
		}
	}
	if _, _, err := b.Invite([]Right{Worker}, time.Hour); !errors.Is(err, ErrNoRight) {
		t.Errorf("a node without the right invited: %v", err)
	}
	// A third node, admitted by the founder, finds the second only by the roster.
	c := open(t, config(t, "c"))
	c.join(a.invite(Worker))
	c.up(0, b.ID())
	b.up(0, c.ID())
	if c.HasRight(c.ID(), Submitter) {
		t.Error("the third node has a right it was not given")
	}
}

func TestJoinThroughAnInviter(t *testing.T) {
	a, b, c := open(t, config(t, "a")), open(t, config(t, "b")), open(t, config(t, "c"))
	b.join(a.invite(Worker, Inviter))
	c.join(b.invite(Worker))
	a.up(0, c.ID())
	c.up(0, a.ID())
	c.up(0, b.ID())
	if err := a.Revoke(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	c.down(0, b.ID())
	c.wait(0, "the revocation", func(Event) bool { return !c.HasRight(b.ID(), Worker) })
	if !c.HasRight(c.ID(), Worker) || !a.HasRight(c.ID(), Worker) {
		t.Error("whom the revoked inviter had admitted is gone too")
	}
}

// TestFailedPullIsTriedAgain makes every pull of a roster fail until all have sent their hashes, and one more after
// that. The next pull must come without another hash, since a peer sends each only once.
func TestFailedPullIsTriedAgain(t *testing.T) {
	a, b := couple(t)
	c := open(t, config(t, "c"))
	sum := func(n *tnode) any {
		n.Node.mu.Lock()
		defer n.Node.mu.Unlock()
		return n.roster.sum
	}
	told := func() bool { // b knows the hash of a's and c's roster, so none is left to send
		b.Node.mu.Lock()
		var heard any
		if l := b.links[a.host.ID()]; l != nil {
			heard = l.digest
		}
		b.Node.mu.Unlock()
		return a.HasRight(c.ID(), Worker) && sum(c) == sum(a) && heard == sum(a)
	}
	var last atomic.Bool // the last pull that must fail has failed
	a.host.SetStreamHandler(versioned(ownProtocol(), "roster"), func(s network.Stream) {
		if s.Conn().RemotePeer() == b.host.ID() && !last.Load() {
			last.Store(told())
			_ = s.Reset()
			return
		}
		a.serveRoster(s)
	})
	c.join(a.invite(Worker))
	b.wait(0, "the new member", func(Event) bool { return b.HasRight(c.ID(), Worker) })
	if !last.Load() {
		t.Error("no pull has failed")
	}
}

func TestJoinErrors(t *testing.T) {
	var offset time.Duration
	var mu sync.Mutex
	ca := config(t, "a")
	ca.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(offset) }
	a, b := open(t, ca), open(t, config(t, "b"))

	token := a.invite(Worker)
	damaged := token[:20] + "x" + token[21:]
	if damaged == token {
		damaged = token[:20] + "y" + token[21:]
	}
	for _, s := range []string{damaged, token[:len(token)-3], "hello", "", "dtp1.", token + "aa"} {
		if err := b.Join(t.Context(), s); !errors.Is(err, ErrTokenDamaged) {
			t.Errorf("token %q: %v", s, err)
		}
	}
	mu.Lock()
	offset = 61 * time.Minute
	mu.Unlock()
	if err := b.Join(t.Context(), token); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("expired: %v", err)
	}
	fresh := a.invite(Worker)
	if tok, err := parseToken(fresh); err != nil {
		t.Fatal(err)
	} else {
		tok.secret = bytes.Repeat([]byte{7}, secretSize)
		if err := b.Join(t.Context(), tok.String()); !errors.Is(err, ErrTokenUnknown) {
			t.Errorf("unknown: %v", err)
		}
	}
	b.join(fresh)
	b.up(0, a.ID()) // a member without any link may join again
	c := open(t, config(t, "c"))
	if err := c.Join(t.Context(), fresh); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("used: %v", err)
	}
	if err := b.Join(t.Context(), a.invite(Worker)); !errors.Is(err, ErrAlreadyMember) {
		t.Errorf("already a member: %v", err)
	}
	if err := b.Join(t.Context(), c.invite(Worker)); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("another cluster: %v", err)
	}
	left := a.invite(Worker)
	a.stop()
	if err := c.Join(t.Context(), left); !errors.Is(err, ErrUnreachable) {
		t.Errorf("inviter gone: %v", err)
	}
}

func TestTooOldTokenIsRefusedAtTheDoor(t *testing.T) {
	ca := config(t, "a")
	var late sync.Once
	now := time.Now
	var mu sync.Mutex
	ca.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now() }
	a, b := open(t, ca), open(t, config(t, "b"))
	token := a.invite(Worker)
	late.Do(func() { mu.Lock(); now = func() time.Time { return time.Now().Add(48 * time.Hour) }; mu.Unlock() })
	if err := b.Join(t.Context(), token); !errors.Is(err, ErrJoinRefused) {
		t.Errorf("got %v", err)
	}
}

func TestOneUseUnderConcurrency(t *testing.T) {
	a := open(t, config(t, "a"))
	token := a.invite(Worker)
	errs := make(chan error, 6)
	for i := range cap(errs) {
		n := open(t, config(t, fmt.Sprintf("n%d", i)))
		go func() { errs <- n.Join(context.Background(), token) }()
	}
	joined := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			joined++
		case !errors.Is(err, ErrTokenUsed):
			t.Errorf("got %v", err)
		}
	}
	if joined != 1 || len(a.Members()) != 2 {
		t.Errorf("%d nodes joined on one token; members %+v", joined, a.Members())
	}
}

func TestOtherProtocol(t *testing.T) {
	a := open(t, config(t, "a"))
	cb := config(t, "b")
	cb.protocol, cb.Version = protocolNumber+2, "2.0"
	b := open(t, cb)
	err := b.Join(t.Context(), a.invite(Worker))
	if !errors.Is(err, ErrProtocol) || !bytes.Contains([]byte(err.Error()), []byte("upgrade dtpnode on a,")) {
		t.Errorf("got %v", err)
	}
	b.stop()

	// A member that comes back with another version is refused, and both sides say so.
	cb.protocol, cb.Version = 0, "1.0"
	b = open(t, cb)
	b.join(a.invite(Worker))
	at := a.up(0, b.ID())
	b.stop()
	a.down(at, b.ID())
	cb.protocol, cb.Version = protocolNumber+2, "2.0"
	b = open(t, cb)
	refused := func(e Event) bool { _, ok := e.(PeerRefused); return ok }
	a.wait(at, "PeerRefused", refused)
	e, _ := b.wait(0, "PeerRefused", refused)
	for _, m := range a.Members() {
		if m.ID == b.ID() && (m.Version != "2.0" || m.Protocol != protocolNumber+2 || !m.Incompatible) {
			t.Errorf("it is shown as %+v", m)
		}
	}
	if r := e.(PeerRefused); r.ID != a.ID() || !bytes.Contains([]byte(r.Reason), []byte("upgrade dtpnode on a,")) {
		t.Errorf("got %+v", r)
	}
}

// A node and one with the next protocol number work together, by the lower number.
func TestNextProtocol(t *testing.T) {
	a, b := couple(t, func(c *Config) {
		c.Serve = func(_ context.Context, _ PeerID, _ string, p []byte) ([]byte, error) { return p, nil }
		if c.Name == "b" {
			c.protocol = protocolNumber + 1
		}
	})
	for _, n := range []*tnode{a, b} {
		other := map[*tnode]*tnode{a: b, b: a}[n]
		if got := n.Protocol(other.ID()); got != protocolNumber {
			t.Errorf("%s talks by number %d", n.cfg.Name, got)
		}
		if got, err := n.Request(t.Context(), other.ID(), "echo", []byte("x")); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
	c := open(t, config(t, "c"))
	c.join(a.invite(Worker))
	b.up(0, c.ID())
	b.wait(0, "the roster", func(Event) bool { return len(b.Members()) == 3 })
}

func TestRestartKeepsMembershipAndPort(t *testing.T) {
	a, b := couple(t)
	id, addrs, token := b.ID(), b.Addrs(), a.invite(Worker)
	at := a.seen()
	b.stop()
	at = a.down(at, id)
	b = open(t, b.cfg)
	if b.ID() != id || b.Addrs()[0] != addrs[0] {
		t.Errorf("restarted as %s on %v, was %s on %v", b.ID(), b.Addrs(), id, addrs)
	}
	a.up(at, id)
	b.up(0, a.ID())
	// The inviter restarts, and its invitation stays valid.
	at = b.seen()
	a.stop()
	b.down(at, a.ID())
	a = open(t, a.cfg)
	b.up(at, a.ID())
	c := open(t, config(t, "c"))
	c.join(token)
	b.up(0, c.ID())
}

func TestPortTakenElsewhere(t *testing.T) {
	a, b := couple(t)
	b.stop()
	thief := config(t, "thief")
	thief.Listen = b.Addrs()
	open(t, thief)
	at := a.seen()
	b = open(t, b.cfg)
	a.up(at, b.ID())
}

func TestRevoke(t *testing.T) {
	a, b := couple(t)
	c := open(t, config(t, "c"))
	c.join(a.invite(Worker))
	c.up(0, b.ID())
	if err := b.Revoke(t.Context(), c.ID()); !errors.Is(err, ErrNoRight) {
		t.Errorf("a node without the right revoked: %v", err)
	}
	if err := a.Revoke(t.Context(), a.ID()); !errors.Is(err, ErrFounderRevoked) {
		t.Errorf("the founder was revoked: %v", err)
	}
	a.Node.mu.Lock()
	old := a.roster.all()
	a.Node.mu.Unlock()
	if err := a.Revoke(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	a.down(0, b.ID())
	c.wait(0, "MemberGone", func(e Event) bool { return e == MemberGone{ID: b.ID()} })
	c.down(0, b.ID())
	b.down(0, a.ID())
	b.wait(0, "its own revocation", func(Event) bool { return !b.HasRight(b.ID(), Worker) })
	if err := a.Revoke(t.Context(), b.ID()); !errors.Is(err, ErrNotMember) {
		t.Errorf("revoked twice: %v", err)
	}
	c.wait(0, "the revocation", func(Event) bool { return !c.HasRight(b.ID(), Worker) })
	if _, err := b.Request(t.Context(), c.ID(), "x", nil); err == nil {
		t.Error("a revoked member was served")
	}
	if c.mayConnect(b.id) || c.mayDial(b.id) || a.mayDial(b.id) || b.mayConnect(c.id) {
		t.Error("a gater admits a revoked member")
	}
	// Its old record does not bring it back.
	c.mergeFrom(b.id, old)
	if c.isMember(b.id) {
		t.Error("an old record brought a revoked member back")
	}
	// A new invitation does.
	at := c.seen()
	b.join(a.invite(Submitter))
	c.up(at, b.ID())
	if !c.HasRight(b.ID(), Submitter) || c.HasRight(b.ID(), Worker) {
		t.Errorf("rights after the return: %+v", c.Members())
	}
}

func TestLeave(t *testing.T) {
	a, b := couple(t)
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, _ := a.wait(0, "PeerDown", func(e Event) bool { _, ok := e.(PeerDown); return ok })
	if d := e.(PeerDown); !bytes.Contains([]byte(d.Reason), []byte("leaves")) {
		t.Errorf("got %+v", d)
	}
	if err := b.Send(a.ID(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Leave: %v", err)
	}
}

func TestSendKeepsOrder(t *testing.T) {
	a, b := couple(t)
	const messages = 5000
	for i := range messages {
		if err := a.Send(b.ID(), fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	at := 0
	for i := range messages {
		var e Event
		e, at = b.wait(at, "a message", func(e Event) bool { _, ok := e.(Message); return ok })
		if m := e.(Message); m.From != a.ID() || string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q from %s", i, m.Payload, m.From)
		}
	}
	big := bytes.Repeat([]byte{1}, MaxMessage)
	if err := a.Send(b.ID(), big); err != nil {
		t.Fatal(err)
	}
	b.wait(at, "a message of the largest size", func(e Event) bool {
		m, ok := e.(Message)
		return ok && bytes.Equal(m.Payload, big)
	})
	if err := a.Send(b.ID(), append(big, 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	stranger := open(t, config(t, "stranger"))
	if err := a.Send(stranger.ID(), nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("to a stranger: %v", err)
	}
}

func TestSendIsBounded(t *testing.T) {
	l := &link{ready: make(chan struct{}, 1)}
	var err error
	for range maxQueued/MaxMessage + 1 {
		err = errors.Join(err, l.push(frameMessage, make([]byte, MaxMessage)))
	}
	if !errors.Is(err, ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	l.drain()
	if err := l.push(frameMessage, make([]byte, MaxMessage)); err != nil {
		t.Errorf("after the queue was taken: %v", err)
	}
}

func TestRequest(t *testing.T) {
	started, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	a, b := couple(t, func(c *Config) {
		c.Serve = func(ctx context.Context, from PeerID, kind string, payload []byte) ([]byte, error) {
			switch kind {
			case "echo":
				return append([]byte(from), payload...), nil
			case "panic":
				panic("boom")
			case "hang":
				started <- struct{}{}
				<-ctx.Done()
				ended <- struct{}{}
				return nil, ctx.Err()
			case "huge":
				return make([]byte, MaxRequest+1), nil
			}
			return nil, fmt.Errorf("unknown kind %q", kind)
		}
	})
	got, err := a.Request(t.Context(), b.ID(), "echo", []byte("x"))
	if err != nil || string(got) != a.ID()+"x" {
		t.Errorf("echo: %q, %v", got, err)
	}
	for _, kind := range []string{"other", "panic", "huge"} {
		if _, err := a.Request(t.Context(), b.ID(), kind, nil); !errors.Is(err, ErrRemote) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := a.Request(t.Context(), b.ID(), "echo", make([]byte, MaxRequest+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-started:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := a.Request(ctx, b.ID(), "hang", nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	<-ended // the handler's context has ended
}

// memStore serves blobs from a map; the key need not be the hash of the value.
type memStore map[string][]byte

type memBlob struct{ *bytes.Reader }

func (memBlob) Close() error { return nil }

func (m memStore) Open(hash string) (io.ReadSeekCloser, int64, error) {
	b, ok := m[hash]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return memBlob{bytes.NewReader(b)}, int64(len(b)), nil
}

func TestFetch(t *testing.T) {
	good := bytes.Repeat([]byte("dtpnode"), 200_000)
	hash := hashOf(good)
	wrong := hashOf([]byte("wrong"))
	store := memStore{hash: good, wrong: good, hashOf(nil): nil}
	a, b := couple(t, func(c *Config) { c.Blobs = store })
	var buf bytes.Buffer
	n, err := a.Fetch(t.Context(), b.ID(), hash, int64(len(good)), &buf)
	if err != nil || n != int64(len(good)) || !bytes.Equal(buf.Bytes(), good) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if n, err := a.Fetch(t.Context(), b.ID(), hashOf(nil), 0, io.Discard); err != nil || n != 0 {
		t.Errorf("empty blob: %d, %v", n, err)
	}
	for name, c := range map[string]struct {
		hash string
		max  int64
		want error
	}{
		"mismatch": {wrong, 1 << 30, ErrHashMismatch}, "too large": {hash, 10, ErrTooLarge},
		"missing": {hashOf([]byte("missing")), 10, ErrNotFound},
	} {
		if _, err := a.Fetch(t.Context(), b.ID(), c.hash, c.max, io.Discard); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Fetch(t.Context(), b.ID(), "../../etc/passwd", 10, io.Discard); err == nil {
		t.Error("a path passed for a hash")
	}
}

func TestPublish(t *testing.T) {
	a, b := couple(t)
	c := open(t, config(t, "c"))
	c.join(a.invite(Worker))
	c.up(0, b.ID())
	// Announcements may be lost while the gossip mesh forms, so they are repeated until all have heard one.
	heard := make(chan struct{}, 2)
	for _, n := range []*tnode{b, c} {
		go func() {
			n.wait(0, "Announced", func(e Event) bool {
				m, ok := e.(Announced)
				return ok && m.From == a.ID() && m.Topic == "jobs" && string(m.Payload) == "hello"
			})
			heard <- struct{}{}
		}()
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for left := 2; left > 0; {
		select {
		case <-heard:
			left--
		case <-tick.C:
			if err := a.Publish("jobs", []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Publish("other", nil); err == nil {
		t.Error("published on an unknown topic")
	}
	if err := a.Publish("jobs", make([]byte, MaxAnnounce+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestSignVerify(t *testing.T) {
	a, b := open(t, config(t, "a")), open(t, config(t, "b"))
	sig := a.Sign([]byte("job"))
	if err := Verify(a.ID(), []byte("job"), sig); err != nil {
		t.Error(err)
	}
	for _, err := range []error{Verify(b.ID(), []byte("job"), sig), Verify(a.ID(), []byte("jobs"), sig),
		Verify(a.ID(), []byte("job"), nil), Verify("nobody", []byte("job"), sig)} {
		if !errors.Is(err, ErrBadSignature) {
			t.Errorf("got %v", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	a := open(t, config(t, "a"))
	if _, err := Open(t.Context(), a.cfg); err == nil {
		t.Error("two nodes on one state folder")
	}
	for name, change := range map[string]func(*Config){
		"no folder": func(c *Config) { c.Dir = "" }, "bad address": func(c *Config) { c.Listen = []string{"nowhere"} },
		"port in use": func(c *Config) { c.Listen = a.Addrs() }, "bad name": func(c *Config) { c.Name = "a\nb" },
		"short silence": func(c *Config) { c.Silence = time.Millisecond },
	} {
		c := config(t, "x")
		change(&c)
		if _, err := Open(t.Context(), c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	for _, file := range []string{identityFile, membershipFile} {
		c := config(t, "x")
		n := open(t, c)
		n.stop()
		path := filepath.Join(c.Dir, file)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 0xff
		if err := os.WriteFile(path, raw[:len(raw)-1], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), c); !errors.Is(err, ErrDamagedState) {
			t.Errorf("damaged %s: %v", file, err)
		}
		if found := Damaged(c.Dir); len(found) != 1 || !errors.Is(found[0], ErrDamagedState) {
			t.Errorf("damaged %s: found %v", file, found)
		}
	}
	c := config(t, "x")
	if found := Damaged(c.Dir); len(found) > 0 {
		t.Errorf("before the first run: %v", found)
	}
	open(t, c).stop()
	if found := Damaged(c.Dir); len(found) > 0 {
		t.Errorf("nothing is damaged: %v", found)
	}
	if err := os.Rename(filepath.Join(c.Dir, identityFile), filepath.Join(c.Dir, "key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), c); !errors.Is(err, ErrDamagedState) || len(Damaged(c.Dir)) != 1 {
		t.Errorf("a member without a key was opened: %v", err)
	}
	if err := os.Rename(filepath.Join(c.Dir, "key"), filepath.Join(c.Dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(c.Dir, identityFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), c); err == nil {
		t.Error("a key that others may read was used")
	}
}

// holdLast is a log that holds up what a node says at the end of its first link, until it is released.
type holdLast struct {
	slog.Handler
	once *sync.Once
	free <-chan struct{}
}

func (h holdLast) Enabled(context.Context, slog.Level) bool { return true }
func (h holdLast) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h holdLast) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "peer is down" {
		h.once.Do(func() { <-h.free })
	}
	return nil
}

// TestEndIsToldBeforeTheNextBeginning has a peer come back before it was said that it is down: what is said last must
// be that it is up.
func TestEndIsToldBeforeTheNextBeginning(t *testing.T) {
	free := make(chan struct{})
	a, b := couple(t, func(c *Config) {
		if c.Name == "a" {
			c.Log = slog.New(holdLast{slog.DiscardHandler, new(sync.Once), free})
		}
	})
	at := a.seen()
	b.stop()
	b = open(t, b.cfg)
	b.up(0, a.ID())
	if _, err := b.Request(t.Context(), a.ID(), "none", nil); err == nil { // a has had time to say that b is up
		t.Error("a answered what it does not serve")
	}
	close(free)
	at = a.down(at, b.ID())
	a.up(at, b.ID())
}
