package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode"
)

// Limits of what one peer may send.
const (
	MaxMessage  = 1 << 20   // payload of Send
	MaxAsk      = 1 << 20   // payload of Request
	MaxRequest  = 8 << 20   // payload of the answer to a Request
	MaxAnnounce = 256 << 10 // payload of Publish
	MaxPeers    = 1024      // members of a cluster

	maxJoinFrame  = 64 << 10
	maxHelloFrame = 64 << 10
	maxRoster     = 8 << 20
	maxName       = 64
	maxAddrs      = 32
)

// PeerID is a libp2p peer id as base58 text: the hash name of a node's public key.
type PeerID = string

// BlobStore is what other nodes' Fetch reads from. Open's error is under fs.ErrNotExist if the store has no blob of
// that hash. The hash is 64 lower-case hexadecimal digits.
type BlobStore interface {
	Open(hash string) (blob io.ReadSeekCloser, size int64, err error)
}

// ServeFunc answers a Request. It is called in a goroutine of its own; ctx ends when the asking peer disconnects or
// gives up, or the node closes. The text of its error is sent to the asking peer.
type ServeFunc func(ctx context.Context, from PeerID, kind string, payload []byte) ([]byte, error)

// Config is what a Node is made of.
type Config struct {
	Dir string // state folder, made if missing: identity.key, membership, lock
	// Listen has addresses "host:port"; the default is 127.0.0.1:0. Port 0 stands for the port of the last run if it is
	// free, and host Auto for an address that the node chooses.
	Listen []string
	Face   string // address that Auto stands for at this start; empty: the one that faces the other members

	// These are sent to the other members.
	Name    string // default: the start of the peer id
	Version string // of dtpnode
	Meta    string // what else it tells, at most MaxMeta bytes
	Slots   int

	Topics []string  // announcements to listen to; Publish takes only these
	Blobs  BlobStore // nil: this node has no blobs
	Serve  ServeFunc // nil: this node answers no requests
	Log    *slog.Logger

	// Timings; zero is the default.
	PingPeriod   time.Duration // heartbeat on an idle link, 1 s
	Silence      time.Duration // a peer silent for longer is down, 5 s
	DialTimeout  time.Duration // connection and hello together, 5 s
	BackoffMin   time.Duration // pause after the first failed dial, 200 ms
	BackoffMax   time.Duration // longest pause between dials, 10 s
	StallTimeout time.Duration // a blob, a frame or a handshake that makes no progress is given up, 10 s
	ShunFor      time.Duration // how long a member that broke the rules is refused the first time, 1 min
	ForgetAfter  time.Duration // how long a member may be unseen before it is forgotten, 8 weeks
	EphemeralFor time.Duration // the same for an ephemeral member, 5 min
	AddressCheck time.Duration // how often open listeners are compared with this host's addresses, 5 s
	InviteMemory time.Duration // how long an expired invitation is remembered, to explain refusals, 1 h

	protocol int              // set by tests that play another protocol version
	now      func() time.Time // clock for expiries of invitations and clock frames; set by tests
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.PingPeriod, time.Second},
		{&c.Silence, 5 * time.Second},
		{&c.DialTimeout, 5 * time.Second},
		{&c.BackoffMin, 200 * time.Millisecond},
		{&c.BackoffMax, 10 * time.Second},
		{&c.StallTimeout, 10 * time.Second},
		{&c.InviteMemory, time.Hour},
		{&c.ShunFor, time.Minute},
		{&c.AddressCheck, 5 * time.Second},
		{&c.ForgetAfter, 8 * 7 * 24 * time.Hour},
		{&c.EphemeralFor, 5 * time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{"127.0.0.1:0"}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.protocol == 0 {
		c.protocol = ownProtocol()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no state folder"))
	}
	if len(c.Name) > maxName || strings.ContainsFunc(c.Name, unprintable) {
		errs = append(errs, fmt.Errorf("name %q: at most %d printable characters", c.Name, maxName))
	}
	if c.Slots < 0 {
		errs = append(errs, fmt.Errorf("%d slots", c.Slots))
	}
	for _, l := range c.Listen {
		if _, _, err := net.SplitHostPort(l); err != nil {
			errs = append(errs, fmt.Errorf("listen address %q is not host:port: %w", l, err))
		}
	}
	if c.Silence < 2*c.PingPeriod {
		errs = append(errs, fmt.Errorf("silence limit %v must be at least two ping periods of %v", c.Silence, c.PingPeriod))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("could not open the node: %w", err)
	}
	return nil
}

// unprintable reports whether a character is forbidden in names and reasons, because it could control a terminal or
// reorder the text around it.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }
