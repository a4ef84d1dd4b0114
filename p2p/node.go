package p2p

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
)

// Node is this host's part of a cluster. Open starts its goroutines, Close stops and awaits them.
type Node struct {
	cfg      Config
	log      *slog.Logger
	key      crypto.PrivKey
	id       peer.ID
	instance uint64 // random number of this run: after a restart it is another
	host     host.Host
	lock     *flock.Flock
	gossip   *gossip
	joins    *rate.Limiter
	refusals *rate.Limiter // limits the answers to former members
	called   atomic.Pointer[string]
	meta     atomic.Pointer[string]
	blobs    *slots        // places for blobs that are being sent
	requests *quota        // places for requests that are being served
	pulls    chan struct{} // places for rosters that are being pulled
	pace     pacing
	chunks   sync.Pool // of *[]byte, for copying blobs

	started time.Time
	events  chan Event
	dirty   chan struct{} // capacity 1: MembersChanged is to be emitted

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine and stream handler

	mu            sync.Mutex // guards the fields below; never held during network calls
	closed        bool
	roster        *roster
	invites       []invite
	ports         []savedPort
	autoListeners []autoListener // listeners whose address the user left open
	links         map[peer.ID]*link
	latest        map[peer.ID]*link // the newest link of each peer whose last event is not emitted yet
	keepers       map[peer.ID]*keeper
	dialing       map[peer.ID]context.CancelFunc // peers that this node is dialling; cancels the attempt
	infos         map[peer.ID]Info               // info as last received
	spoken        map[peer.ID]int                // newest protocol number as last received
	// Peers whose last answer was that they speak no protocol number in common with this node.
	incompatible map[peer.ID]bool
	backlogs     map[peer.ID]*backlog // of the messages of each peer
	problems     map[peer.ID]string
	shunned      map[peer.ID]shunning
	seen         map[peer.ID]sight
	gone         map[peer.ID]time.Time // former members, and since when they are not members
	expelled     *savedOut             // how this node's membership ended; nil while it is a member
	unsaved      bool                  // seen has changed since the membership file was written
	departed     bool                  // this node has left for good, so nothing is saved at the end
	known        map[peer.ID]bool      // members as of the last MembersChanged
	strangers    map[network.Conn]*stranger
	places       places
	joining      peer.ID // inviter that may be dialled during Join
}

const (
	eventBuffer = 4096
	blobSlots   = 16
	serveSlots  = 1024 // requests served at once
	servePeer   = 32   // requests served at once for one peer
	pullSlots   = 2    // rosters pulled at once, so that a peer that stalls does not hold up the others
)

// Open starts a node on its state folder. On the first run it founds a cluster of one. ctx bounds the
// opening only.
func Open(ctx context.Context, cfg Config) (_ *Node, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg:          cfg,
		log:          cfg.Log,
		started:      time.Now(),
		joins:        rate.NewLimiter(joinRate, joinBurst),
		refusals:     rate.NewLimiter(tellRate, tellBurst),
		blobs:        &slots{room: blobSlots},
		requests:     newQuota(serveSlots, servePeer),
		pulls:        make(chan struct{}, pullSlots),
		pace:         newPacing(),
		events:       make(chan Event, eventBuffer),
		dirty:        make(chan struct{}, 1),
		links:        map[peer.ID]*link{},
		latest:       map[peer.ID]*link{},
		keepers:      map[peer.ID]*keeper{},
		dialing:      map[peer.ID]context.CancelFunc{},
		infos:        map[peer.ID]Info{},
		spoken:       map[peer.ID]int{},
		incompatible: map[peer.ID]bool{},
		backlogs:     map[peer.ID]*backlog{},
		problems:     map[peer.ID]string{},
		shunned:      map[peer.ID]shunning{},
		seen:         map[peer.ID]sight{},
		gone:         map[peer.ID]time.Time{},
		known:        map[peer.ID]bool{},
		strangers:    map[network.Conn]*stranger{},
		places:       strangersPlaces,
	}
	n.chunks.New = func() any { b := make([]byte, blobChunk); return &b }
	n.ctx, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = n.Close()
		}
	}()
	if err := n.load(); err != nil {
		return nil, err
	}
	if err := n.listen(ctx); err != nil {
		return nil, err
	}
	if err := n.start(); err != nil {
		return nil, err
	}
	return n, nil
}

// load locks the state folder and reads what is in it.
func (n *Node) load() error {
	if err := os.MkdirAll(n.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("could not make the state folder: %w", err)
	}
	lock := flock.New(filepath.Join(n.cfg.Dir, lockFile), flock.SetPermissions(0o600))
	if ok, err := lock.TryLock(); err != nil {
		return fmt.Errorf("could not lock the state folder %q: %w", n.cfg.Dir, err)
	} else if !ok {
		return fmt.Errorf("could not use the state folder %q: another dtpnode runs on it", n.cfg.Dir)
	}
	n.lock = lock
	key, err := loadIdentity(n.cfg.Dir)
	if err != nil {
		return err
	}
	n.key = key
	if n.id, err = peer.IDFromPrivateKey(key); err != nil {
		return fmt.Errorf("could not name the node: %w", err)
	}
	if n.cfg.Name == "" {
		n.cfg.Name = n.id.String()[:12]
	}
	n.called.Store(&n.cfg.Name)
	n.meta.Store(&n.cfg.Meta)
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("could not number this run: %w", err)
	}
	n.instance = binary.BigEndian.Uint64(b[:])
	old, err := loadMembership(n.cfg.Dir)
	if err != nil {
		return err
	}
	return n.restore(old)
}

func (n *Node) restore(old *saved) error {
	if old == nil {
		n.roster = newRoster(n.id)
		return n.found(register{Name: n.Name(), Founded: n.cfg.now().Unix()})
	}
	cluster, err := peer.Decode(old.Cluster)
	if err != nil {
		return fmt.Errorf("could not read the cluster's name %q: %w", clip(old.Cluster), ErrDamagedState)
	}
	n.roster, n.invites, n.ports = newRoster(cluster), old.Invites, old.Ports
	n.restoreSights(old)
	_, err = n.roster.merge(old.Roster)
	if err == nil && len(old.Roster.Statements) > 0 {
		n.roster.statements = old.Roster.Statements
		n.roster.legacy, err = legacyMembers(cluster, old.Roster.Statements)
		n.roster.settle()
	}
	if err != nil {
		return fmt.Errorf("could not read the membership file: %w: %w", ErrDamagedState, err)
	}
	n.noteExpulsion(nil)
	return n.tidy()
}

// found makes the first register of a cluster that this node founds.
func (n *Node) found(reg register) error {
	reg.Cluster, reg.Issuer, reg.Version = n.roster.cluster.String(), n.id.String(), 1
	s, err := sign(n.key, forRegister, &reg)
	if err == nil {
		_, err = n.roster.merge(exchange{Registers: []signed{s}})
	}
	return err
}

// save writes the membership file. n.mu is held.
func (n *Node) save() error {
	s := &saved{Cluster: n.roster.cluster.String(), Roster: n.roster.all(), Invites: n.invites, Ports: n.ports}
	s.Roster.Statements = n.roster.statements
	n.storeSights(s)
	return saveMembership(n.cfg.Dir, s)
}

// listen starts the host on the configured addresses, with the ports of the last run where these are free.
func (n *Node) listen(ctx context.Context) error {
	var addrs []ma.Multiaddr
	for _, l := range n.cfg.Listen {
		a, err := n.listenOn(ctx, l)
		if err != nil {
			return err
		}
		addrs = append(addrs, a)
	}
	h, err := newHost(n.key, addrs, &gater{
		dial:    n.mayDial,
		accept:  n.mayComeIn,
		listen:  n.mayAccept,
		pending: newHandshakes(),
	}, n.cfg)
	if err != nil {
		return err
	}
	n.host = h
	got := h.Network().ListenAddresses()
	if len(got) != len(addrs) {
		return fmt.Errorf("could not listen on all of %v, only on %v: is another program using the port?", n.cfg.Listen, got)
	}
	n.ports = nil
	for i, l := range n.cfg.Listen {
		at := listener(got, addrs[i])
		if wantsAnyPort(l) {
			n.ports = append(n.ports, savedPort{Listen: l, Port: portOf(at)})
		}
		if _, open := OpenHost(l); open {
			n.autoListeners = append(n.autoListeners, autoListener{listen: l, at: at})
		}
	}
	return nil
}

// listenOn turns a configured listen address into one that is free now.
func (n *Node) listenOn(ctx context.Context, l string) (ma.Multiaddr, error) {
	on := n.resolve(l)
	if port := n.oldPort(l); port != 0 {
		if a, err := listenAddr(ctx, on, port); err != nil || tryListen(ctx, a) == nil {
			return a, err
		}
	}
	a, err := listenAddr(ctx, on, 0)
	if err == nil {
		err = tryListen(ctx, a)
	}
	return a, err
}

func (n *Node) oldPort(listen string) int {
	for _, p := range n.ports {
		if p.Listen == listen && wantsAnyPort(listen) {
			return p.Port
		}
	}
	return 0
}

func (n *Node) start() error {
	n.mu.Lock()
	err := n.refreshAddresses()
	if err == nil {
		err = n.save()
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if n.gossip, err = newGossip(n); err != nil {
		return err
	}
	n.host.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		n.watchStranger(c)
	}})
	n.host.SetStreamHandler(joinProtocol, n.handler(false, n.serveJoin))
	n.host.SetStreamHandler(linkProtocol, n.handler(false, n.serveLink))
	for number := n.cfg.speaks().Oldest; number <= n.cfg.protocol; number++ {
		n.host.SetStreamHandler(versioned(number, "roster"), n.handler(true, n.serveRoster))
		n.host.SetStreamHandler(versioned(number, "request"), n.handler(true, n.serveRequest))
		n.host.SetStreamHandler(versioned(number, "blob"), n.handler(true, n.serveBlob))
	}
	n.takeGone()
	n.spawn(n.announceChanges)
	n.spawn(n.forgetLoop)
	n.spawn(n.deferredLoop)
	if len(n.autoListeners) > 0 {
		n.spawn(n.followAddresses)
	}
	n.reconcile()
	return nil
}

// Close stops the node and closes the event channel.
func (n *Node) Close() error {
	n.mu.Lock()
	was := n.closed
	n.closed = true
	n.mu.Unlock()
	if was {
		n.wg.Wait()
		return nil
	}
	n.cancel()
	var err error
	if n.host != nil {
		n.saveSights()
		err = n.host.Close()
	}
	n.wg.Wait()
	close(n.events)
	if n.lock != nil {
		err = errors.Join(err, n.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("could not close the node: %w", err)
	}
	return nil
}

// Leave tells the peers that this node goes, which they see as PeerDown at once, and closes the node. It stays a member
// and may come back.
func (n *Node) Leave(ctx context.Context) error {
	n.mu.Lock()
	var links []*link
	for _, l := range n.links {
		l.end(leaves)
		links = append(links, l)
	}
	for _, k := range n.keepers {
		k.cancel()
	}
	n.mu.Unlock()
	for _, l := range links {
		select {
		case <-l.done:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), n.Close())
		}
	}
	return n.Close()
}

// enter adds a goroutine to n.wg; false if the node closes.
func (n *Node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wg.Add(1)
	return true
}

// spawn runs f in a goroutine that Close awaits; f ends with n.ctx or the connections.
func (n *Node) spawn(f func()) {
	if !n.enter() {
		return
	}
	go func() {
		defer n.wg.Done()
		f()
	}()
}

// handler makes a stream handler that Close awaits and that, with members, refuses strangers.
func (n *Node) handler(members bool, serve network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		if members && !n.trusts(s.Conn().RemotePeer()) || !n.enter() {
			_ = s.Reset()
			return
		}
		defer n.wg.Done()
		serve(s)
	}
}

func (n *Node) emit(e Event) {
	select {
	case n.events <- e:
	case <-n.ctx.Done():
	}
}

// waitFor returns after d, or when c is closed.
func (n *Node) waitFor(c network.Conn, d time.Duration) {
	late := time.After(d)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !c.IsClosed() {
		select {
		case <-late:
			return
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Node) isMember(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bothMembers(id)
}

// bothMembers reports whether id and this node are members. n.mu is held.
func (n *Node) bothMembers(id peer.ID) bool {
	_, self := n.roster.members[n.id]
	_, other := n.roster.members[id]
	return self && other
}

func (n *Node) mayDial(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bothMembers(id) && !n.shuns(id) || id == n.joining
}

func (n *Node) mayConnect(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bothMembers(id) {
		return !n.shuns(id)
	}
	return n.doorOpen()
}

// mayAccept reports whether any incoming connection is expected, before a handshake is spent on one.
func (n *Node) mayAccept() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.roster.members) > 1 || n.doorOpen() || n.hasExpelled()
}

func (n *Node) clearBackoff(id peer.ID) {
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id) // the keepers have a shorter backoff of their own
	}
}

// ID is this node's peer id.
func (n *Node) ID() PeerID { return n.id.String() }

// Cluster is the peer id of the founder of this node's cluster.
func (n *Node) Cluster() PeerID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.roster.cluster.String()
}

// Addrs returns the addresses at which this node can be dialled, as "host:port".
func (n *Node) Addrs() []string { return texts(n.addrs()) }

func (n *Node) addrs() []ma.Multiaddr {
	addrs, err := dialable(n.host)
	if err != nil {
		n.log.Error("no addresses to tell", "err", err)
	}
	return addrs
}

func texts(addrs []ma.Multiaddr) []string {
	out := make([]string, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, hostPort(a))
	}
	return out
}

// Events returns the channel of all events. The consumer must keep reading: a node whose events are not taken stops
// reading from its peers. Close closes the channel; no PeerDown is emitted for links that end by it.
func (n *Node) Events() <-chan Event { return n.events }

// Members lists the members of the cluster, this node included, in the order of their ids.
func (n *Node) Members() []Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]Member, 0, len(n.roster.members))
	holder := n.roster.reign().holder
	for id, st := range n.roster.members {
		m := Member{
			ID:           id.String(),
			Rights:       slices.Clone(st.Rights),
			Joined:       time.Unix(st.Joined, 0),
			Ephemeral:    st.Ephemeral,
			Founder:      id == holder,
			Problem:      n.problems[id],
			Protocol:     n.spoken[id],
			Incompatible: n.incompatible[id],
			Addrs:        texts(n.roster.addresses[id].addrs),
			Self:         id == n.id,
			Info:         n.infos[id],
		}
		if m.Name == "" {
			m.Name = st.Name
		}
		if m.Self {
			m.Up, m.Info, m.Protocol = true, n.info(), n.cfg.protocol
		}
		if s := n.seen[id]; s.met {
			m.Seen, m.Left = s.at, s.left
		}
		if l := n.links[id]; l != nil {
			m.Up, m.RTT, m.Problem, m.Left, m.Seen = true, time.Duration(l.rtt.Load()), "", false, time.Now()
			m.Ahead = l.clock.ahead()
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// HasRight reports whether id is a member now and has the right r.
func (n *Node) HasRight(id PeerID, r Right) bool {
	p, err := peer.Decode(id)
	if err != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.roster.has(p, r)
}

// Sign signs b with this node's key.
func (n *Node) Sign(b []byte) []byte {
	sig, err := n.key.Sign(append([]byte(forCaller), b...))
	if err != nil {
		n.log.Error("could not sign", "err", err) // Ed25519 never fails; an empty signature verifies nowhere
		return nil
	}
	return sig
}

// Verify checks that sig is what id's Sign made of b. If it is not, the error is under ErrBadSignature.
func Verify(id PeerID, b, sig []byte) error {
	p, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("could not verify: %q is no peer id: %w", clip(id), ErrBadSignature)
	}
	return verify(p, forCaller, b, sig)
}

func (n *Node) info() Info {
	return Info{Name: n.Name(), Version: n.cfg.Version, Meta: *n.meta.Load(), Slots: n.cfg.Slots}
}
