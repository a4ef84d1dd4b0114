package p2p

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/dtpnode/dtpnode/wire"
)

const linkProtocol = "/dtpnode/link"

// frameKind is the first byte of a link frame; the payload follows it.
type frameKind byte

const (
	framePing    frameKind = 1 // 8 bytes, which the pong returns
	framePong    frameKind = 2 // the 8 bytes of the ping
	frameMessage frameKind = 3 // the payload of a Send
	frameDigest  frameKind = 4 // SHA-256 of the sender's roster, 32 bytes
	frameRoster  frameKind = 5 // msgpack of exchange: the roster in which the receiver is not a member any more
	frameBye     frameKind = 6 // text: the link ends, and why
	frameName    frameKind = 7 // text: the sender's new name
	frameClock   frameKind = 8 // 8 bytes: Unix milliseconds by the sender's clock
	frameMeta    frameKind = 9 // text: the sender's new Info.Meta
)

// hello opens a link. A welcome answers it with the same facts about the other side, or with a refusal.
type hello struct {
	Speaks   speaks
	Cluster  string
	Instance uint64 // random number of the sender's run
	Info     Info
	Digest   []byte // of the sender's roster
}

type welcome struct {
	Refusal refusal // empty: the link is up
	Hello   hello
}

// farewellTime is how long a link that was ended here waits for the peer to close it too.
const farewellTime = time.Second

// maxQueued bounds the bytes queued for one peer.
const maxQueued = 16 << 20

// link is one control stream to a peer, after both sides have agreed to talk. run owns it.
type link struct {
	id       peer.ID
	s        network.Stream
	r        *bufio.Reader
	instance uint64
	protocol int // protocol number that both sides use
	newest   int // newest protocol number that the peer speaks
	info     Info
	prev     *link // the link that this one replaces, which must end first
	waiting  *backlog

	qmu    sync.Mutex
	queue  [][]byte
	queued int
	ready  chan struct{} // capacity 1: queue is not empty

	once sync.Once
	quit chan struct{} // closed by end: the link shall close
	why  string        // set before quit is closed
	done chan struct{} // closed when run is over

	heard atomic.Int64 // when the last frame came, since the node's start
	busy  atomic.Bool  // the reader waits for the consumer of the events, so the peer is not silent
	bye   atomic.Bool  // the peer announced that it leaves or closes
	names *rate.Limiter
	metas *rate.Limiter
	pulls *rate.Limiter // pulls of the peer's roster
	rtt   atomic.Int64
	clock skew // of the peer's clock

	// Node.mu guards these.
	digest, sentDigest [32]byte // hash of the peer's roster as last received; of ours as last sent
	pulling            bool
}

func (n *Node) newLink(s network.Stream, r *bufio.Reader, h hello) *link {
	h.Info = h.Info.clean()
	l := &link{
		id:       s.Conn().RemotePeer(),
		s:        s,
		r:        r,
		instance: h.Instance,
		protocol: n.cfg.speaks().common(h.Speaks),
		newest:   h.Speaks.Protocol,
		info:     h.Info,
		ready:    make(chan struct{}, 1),
		names:    rate.NewLimiter(nameRate, nameBurst),
		metas:    rate.NewLimiter(metaRate, metaBurst),
		pulls:    newPullPace(),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	copy(l.digest[:], h.Digest)
	return l
}

// end makes the link write what is queued, and then close. Of several reasons the first is kept.
func (l *link) end(why string) {
	l.once.Do(func() {
		l.why = why
		close(l.quit)
	})
}

// push queues a frame.
func (l *link) push(kind frameKind, payload []byte) error {
	frame := make([]byte, 1+len(payload))
	frame[0] = byte(kind)
	copy(frame[1:], payload)
	l.qmu.Lock()
	defer l.qmu.Unlock()
	if l.queued+len(frame) > maxQueued {
		return ErrQueueFull
	}
	l.queue = append(l.queue, frame)
	l.queued += len(frame) + 64 // an empty message takes memory too
	select {
	case l.ready <- struct{}{}:
	default:
	}
	return nil
}

func (l *link) drain() [][]byte {
	l.qmu.Lock()
	defer l.qmu.Unlock()
	q := l.queue
	l.queue, l.queued = nil, 0
	return q
}

// run runs a link from its PeerUp to its PeerDown.
func (n *Node) run(l *link) {
	defer close(l.done)
	if l.prev != nil {
		<-l.prev.done
		l.prev = nil
	}
	l.heard.Store(int64(time.Since(n.started)))
	n.mu.Lock()
	l.waiting = n.backlogOf(l)
	n.mu.Unlock()
	n.emit(PeerUp{ID: l.id.String(), Info: l.info})
	n.log.Info("peer is up", "peer", l.id.String(), "name", l.info.Name)
	var writer sync.WaitGroup
	ctx, cancel := context.WithCancel(n.ctx)
	writer.Go(func() {
		n.write(l)
		cancel() // for a reader that waits for room in the backlog
	})
	stop := context.AfterFunc(n.ctx, func() { l.end(closes) })
	err := n.read(ctx, l)
	l.end(err.Error())
	writer.Wait()
	stop()
	_ = l.s.Close()
	n.mu.Lock()
	if n.links[l.id] == l {
		delete(n.links, l.id)
	}
	n.noteLinkEnd(l)
	n.mu.Unlock()
	n.log.Info("peer is down", "peer", l.id.String(), "name", l.info.Name, "reason", l.why)
	n.emit(PeerDown{ID: l.id.String(), Reason: l.why})
	n.retire(l)
}

// retire notes that no more events of l will come.
func (n *Node) retire(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.latest[l.id] == l {
		delete(n.latest, l.id)
	}
}

// write sends frames and heartbeats until the link ends, and then closes the stream.
func (n *Node) write(l *link) {
	w := bufio.NewWriterSize(l.s, 4<<10)
	tick := time.NewTicker(n.cfg.PingPeriod)
	defer tick.Stop()
	quiet := silence{period: n.cfg.PingPeriod}
	for {
		var err error
		select {
		case <-l.ready:
			err = n.flush(l, w)
		case <-tick.C:
			now := time.Since(n.started)
			silent := quiet.tick(now, time.Duration(l.heard.Load()))
			if silent > n.cfg.Silence && !l.busy.Load() {
				err = fmt.Errorf("silent for %v", silent.Round(time.Millisecond))
				break
			}
			_ = l.push(frameClock, clockFrame(n.cfg.now())) // without effect if the queue is full: the next tick sends another
			if l.push(framePing, binary.BigEndian.AppendUint64(nil, uint64(now))) == nil {
				err = n.flush(l, w)
			}
		case <-l.quit:
			n.farewell(l, w)
			return
		}
		if err != nil {
			l.end(err.Error())
			// The connection does not work either, and closing it tells the other streams on it now.
			_ = l.s.Conn().Close()
			return
		}
	}
}

func (n *Node) flush(l *link, w *bufio.Writer) error {
	for _, frame := range l.drain() {
		if err := l.s.SetWriteDeadline(time.Now().Add(n.cfg.StallTimeout)); err != nil {
			return err
		}
		if err := wire.WriteFrame(w, frame); err != nil {
			return err
		}
	}
	return w.Flush()
}

// farewell writes what is queued and the reason, and gives the peer a moment to close its side too: closing the
// connection sooner could destroy what is still on its way.
func (n *Node) farewell(l *link, w *bufio.Writer) {
	_ = l.push(frameBye, []byte(l.why))
	if n.flush(l, w) != nil || l.s.CloseWrite() != nil || l.s.SetReadDeadline(time.Now().Add(farewellTime)) != nil {
		_ = l.s.Reset()
	}
}

// read handles frames until the link ends, and returns why it did.
func (n *Node) read(ctx context.Context, l *link) error {
	for {
		frame, err := wire.ReadFrame(l.r, MaxMessage+1)
		if err != nil {
			if errors.Is(err, wire.ErrFrameTooLarge) {
				_ = l.s.Conn().Close()
				return fmt.Errorf("the peer broke the protocol: %w", err)
			}
			return fmt.Errorf("connection lost: %w", err)
		}
		l.heard.Store(int64(time.Since(n.started)))
		if err := n.handleFrame(ctx, l, frame); err != nil {
			return err
		}
	}
}

// handleFrame handles one frame. An error ends the link.
func (n *Node) handleFrame(ctx context.Context, l *link, frame []byte) error {
	if len(frame) == 0 {
		return errors.New("the peer broke the protocol: empty frame")
	}
	kind, payload := frameKind(frame[0]), frame[1:]
	switch kind {
	case framePing:
		if len(payload) != 8 {
			return errors.New("the peer broke the protocol: bad ping")
		}
		return l.push(framePong, payload)
	case framePong:
		if len(payload) == 8 {
			l.measured(time.Since(n.started) - time.Duration(binary.BigEndian.Uint64(payload)))
		}
	case frameMessage:
		l.busy.Store(true)
		receipt, err := l.waiting.take(ctx, payload)
		if err != nil {
			return errors.New(linkEnded)
		}
		n.emit(Message{From: l.id.String(), Payload: payload, receipt: receipt})
		l.heard.Store(int64(time.Since(n.started)))
		l.busy.Store(false)
	case frameDigest:
		n.recvDigest(l, payload)
	case frameRoster:
		var x exchange
		if !l.pulls.Allow() {
			return errors.New("the peer broke the protocol: it goes on saying why it ends the link")
		}
		if err := wire.Unmarshal(payload, &x); err != nil {
			return fmt.Errorf("the peer broke the protocol: %w", err)
		}
		n.mergeFrom(l.id, x)
	case frameClock:
		l.clock.add(payload, n.cfg.now(), time.Duration(l.rtt.Load()))
	case frameName:
		n.renamed(l, string(payload))
	case frameMeta:
		n.metaChanged(l, string(payload))
	case frameBye:
		l.bye.Store(string(payload) == leaves || string(payload) == closes)
		return fmt.Errorf("the peer says: %s", clip(string(payload)))
	}
	return nil // an unknown kind comes from a newer version and is ignored
}

// measured adds one round trip to the smoothed time, as TCP does. An implausible one is ignored.
func (l *link) measured(d time.Duration) {
	if d <= 0 || d > time.Hour {
		return
	}
	if old := l.rtt.Load(); old != 0 {
		d = time.Duration(old + (int64(d)-old)/8)
	}
	l.rtt.Store(int64(d))
}

// Send queues payload for to and returns at once. Messages to one peer arrive in order and at most
// once; those queued when the link ends are lost, which PeerDown tells.
func (n *Node) Send(to PeerID, payload []byte) error {
	if len(payload) > MaxMessage {
		return fmt.Errorf("could not send %d bytes to %s: %w: at most %d", len(payload), to, ErrTooLarge, MaxMessage)
	}
	id, err := peer.Decode(to)
	if err != nil {
		return fmt.Errorf("could not send to %q: %w", clip(to), err)
	}
	n.mu.Lock()
	l, closed := n.links[id], n.closed
	n.mu.Unlock()
	if closed {
		return fmt.Errorf("could not send to %s: %w", to, ErrClosed)
	}
	if l == nil {
		return fmt.Errorf("could not send to %s: %w", to, ErrNotConnected)
	}
	if err := l.push(frameMessage, payload); err != nil {
		return fmt.Errorf("could not send to %s: %w", to, err)
	}
	return nil
}

// ownHello is the hello of this node. n.mu is held.
func (n *Node) ownHello() hello {
	return hello{
		Speaks:   n.cfg.speaks(),
		Cluster:  n.roster.cluster.String(),
		Instance: n.instance,
		Info:     n.info(),
		Digest:   slices.Clone(n.roster.sum[:]),
	}
}

// serveLink answers a member's hello.
func (n *Node) serveLink(s network.Stream) {
	if s.SetDeadline(time.Now().Add(n.cfg.StallTimeout)) != nil {
		_ = s.Reset()
		return
	}
	if !n.trusts(s.Conn().RemotePeer()) {
		n.refuseExpelled(s)
		return
	}
	r := bufio.NewReaderSize(s, 4<<10)
	var h hello
	if err := readValue(r, maxHelloFrame, &h); err != nil {
		n.log.Info("refused a link", "peer", s.Conn().RemotePeer().String(), "err", err)
		_ = s.Reset()
		return
	}
	l := n.newLink(s, r, h)
	answer := n.judge(l, h)
	err := writeValue(s, &answer)
	if answer.Refusal != "" {
		if answer.Refusal == refusedProtocol {
			n.noteIncompatible(l.id, h.Speaks, l.info)
			n.refused(l.id, n.protocolError(h.Speaks, l.info.Name, l.info.Version).Error())
		}
		_ = s.Close()
		return
	}
	n.launch(l, err)
}

// judge decides on a peer's hello and, if it accepts it, installs the link.
func (n *Node) judge(l *link, h hello) welcome {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := welcome{Hello: n.ownHello()}
	old := n.links[l.id]
	switch {
	case l.protocol == 0:
		w.Refusal = refusedProtocol
	case h.Cluster != w.Hello.Cluster || !n.bothMembers(l.id):
		w.Refusal = refusedCluster
	case n.shuns(l.id):
		w.Refusal = refusedShunned
	case old != nil && old.instance == h.Instance:
		w.Refusal = refusedLinked
	case n.dialing[l.id] != nil && n.id < l.id:
		w.Refusal = refusedCrossing
	}
	if w.Refusal != "" {
		return w
	}
	if cancel := n.dialing[l.id]; cancel != nil {
		cancel()
	}
	if old != nil {
		old.end("the peer was restarted")
	}
	n.install(l, w.Hello)
	return w
}

// install makes l the link to its peer. It follows the one before it even if that is none of the node's links any more:
// one that is over has still to say so, and what is said last of a peer is believed. n.mu is held.
func (n *Node) install(l *link, sent hello) {
	l.prev = n.latest[l.id]
	n.latest[l.id] = l
	copy(l.sentDigest[:], sent.Digest)
	n.links[l.id] = l
	if meta := *n.meta.Load(); meta != sent.Info.Meta { // it changed since the hello
		_ = l.push(frameMeta, []byte(meta))
	}
	n.infos[l.id], n.spoken[l.id] = l.info, l.newest
	n.seen[l.id] = sight{at: time.Now(), met: true}
	delete(n.problems, l.id)
	delete(n.incompatible, l.id)
}

// launch runs an installed link. err is the result of its handshake.
func (n *Node) launch(l *link, err error) {
	if err == nil {
		err = l.s.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = l.s.Reset()
		n.mu.Lock()
		if n.links[l.id] == l {
			delete(n.links, l.id)
		}
		n.mu.Unlock()
		if l.prev != nil {
			<-l.prev.done
		}
		n.retire(l)
		close(l.done)
		return
	}
	n.reconcileRosters()
	n.run(l)
}

// open dials id, sends a hello and runs the link in the background.
func (n *Node) open(ctx context.Context, id peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	defer cancel()
	n.mu.Lock()
	if n.links[id] != nil {
		n.mu.Unlock()
		return nil
	}
	if n.shuns(id) {
		n.mu.Unlock()
		return errShunned
	}
	addrs := n.roster.addresses[id].addrs
	n.dialing[id] = cancel
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.dialing, id)
		n.mu.Unlock()
	}()
	n.clearBackoff(id)
	if err := n.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs}); err != nil {
		return &dialError{addrs, n.cfg.DialTimeout, err}
	}
	s, err := n.host.NewStream(network.WithNoDial(ctx, "link"), id, linkProtocol)
	if err != nil {
		return &dialError{addrs, n.cfg.DialTimeout, err}
	}
	l, err := n.greet(ctx, s)
	if err != nil || l == nil {
		_ = s.Reset()
		return err
	}
	n.spawn(func() { n.launch(l, nil) })
	return nil
}

// refusedError is the error of a hello that the peer refused.
type refusedError struct {
	why   refusal
	peers hello
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the peer refuses the link: %s", clip(string(e.why)))
}

// greet sends a hello on s. It returns no link if another one was installed meanwhile.
func (n *Node) greet(ctx context.Context, s network.Stream) (*link, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	n.mu.Lock()
	own := n.ownHello()
	n.mu.Unlock()
	if err := writeValue(s, &own); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(s, 4<<10)
	var w welcome
	if err := readValue(r, maxHelloFrame, &w); err != nil {
		return nil, err
	}
	if w.Refusal == refusedGone {
		n.takeProof(s, r)
	}
	if w.Refusal != "" {
		return nil, &refusedError{w.Refusal, w.Hello}
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if id := s.Conn().RemotePeer(); n.links[id] != nil || !n.bothMembers(id) || n.shuns(id) || n.closed {
		return nil, nil
	}
	l := n.newLink(s, r, w.Hello)
	n.install(l, own)
	return l, nil
}
