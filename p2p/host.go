package p2p

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// newHost starts a libp2p host with only what a cluster needs: TCP, TLS or Noise, yamux and the gater. There is no
// relay, port mapping, discovery, metrics or bootstrap.
func newHost(key crypto.PrivKey, listen []ma.Multiaddr, gate connmgr.ConnectionGater, cfg Config) (host.Host, error) {
	rm, err := newResourceManager()
	if err != nil {
		return nil, err
	}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // listened on below, since New leaks goroutines if it cannot listen
		// Dialling from the listening port would give two nodes that dial each other the same TCP 4-tuple.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport(), tcp.WithConnectionTimeout(cfg.DialTimeout)),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), // preferred, since bulk data costs half of what it does with Noise
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, newMuxer()),
		libp2p.ConnectionGater(gate),
		libp2p.ResourceManager(rm),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}), // all members stay connected, so nothing is trimmed
		libp2p.WithDialTimeout(cfg.DialTimeout),
		libp2p.UserAgent("dtpnode"),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ForceReachabilityPrivate(), // otherwise the host asks its peers to dial it back
	)
	if err != nil {
		return nil, fmt.Errorf("could not start the network host: %w", err)
	}
	if err := h.Network().Listen(listen...); err != nil {
		_ = h.Close()
		return nil, fmt.Errorf("could not listen on %v: %w", listen, err)
	}
	return h, nil
}

// dialable returns the addresses to tell others: those of this host's interfaces that the node listens on. Loopback is
// included only if there is nothing else, since on another host it leads to another node.
func dialable(h host.Host) ([]ma.Multiaddr, error) {
	all, err := h.Network().InterfaceListenAddresses()
	if err != nil {
		return nil, fmt.Errorf("could not list this host's addresses: %w", err)
	}
	all = slices.DeleteFunc(all, manet.IsIP6LinkLocal)
	if wide := slices.DeleteFunc(slices.Clone(all), manet.IsIPLoopback); len(wide) > 0 {
		return wide, nil
	}
	return all, nil
}

// newMuxer is yamux with a window that suits bulk data on wide-area networks, and without its keep-alive, since the
// links have heartbeats.
func newMuxer() *yamux.Transport {
	c := *yamux.DefaultTransport.Config()
	c.EnableKeepAlive = false
	c.MaxStreamWindowSize = 8 << 20
	return (*yamux.Transport)(&c)
}

// newResourceManager sets the limits for MaxPeers members, which may all share one address, each with one connection,
// or two while both sides dial. yamux accounts for memory as windows, 256 KiB a stream whether used or not, so these
// limits say little about the memory that the process uses.
func newResourceManager() (network.ResourceManager, error) {
	const mib = 1 << 20
	conns := rcmgr.ResourceLimits{
		Conns:           4 * MaxPeers,
		ConnsInbound:    3 * MaxPeers,
		ConnsOutbound:   3 * MaxPeers,
		FD:              4 * MaxPeers,
		Streams:         64 * MaxPeers,
		StreamsInbound:  48 * MaxPeers,
		StreamsOutbound: 48 * MaxPeers,
		Memory:          16384 * mib,
	}
	one := rcmgr.ResourceLimits{Conns: 8, ConnsInbound: 4, ConnsOutbound: 4, FD: 8,
		Streams: 512, StreamsInbound: 256, StreamsOutbound: 256, Memory: 256 * mib}
	// Handshakes that strangers begin and abandon count here for 15 s each, or less when there are many (see handshakes).
	starting := rcmgr.ResourceLimits{Conns: 2048, ConnsInbound: 1792, ConnsOutbound: 256, FD: 2048,
		Streams: 4096, StreamsInbound: 2048, StreamsOutbound: 2048, Memory: 256 * mib}
	limits := rcmgr.PartialLimitConfig{
		System: conns, Transient: starting, PeerDefault: one,
		AllowlistedSystem: conns, AllowlistedTransient: starting,
		ProtocolDefault: conns, ServiceDefault: conns, ProtocolPeerDefault: one, ServicePeerDefault: one,
		Conn:   rcmgr.ResourceLimits{Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: 32 * mib},
		Stream: rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: 16 * mib},
	}.Build(rcmgr.InfiniteLimits)
	all4 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 3 * MaxPeers}}
	all6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 3 * MaxPeers}}
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithLimitPerSubnet(all4, all6), rcmgr.WithConnRateLimiters(connRate()), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, fmt.Errorf("could not set the network limits: %w", err)
	}
	return rm, nil
}

// connRate bounds the handshakes that an address can make this node do, but lets a full cluster behind one address come
// back at once.
func connRate() *rate.Limiter {
	limit := rate.Limit{RPS: 64, Burst: 2 * MaxPeers}
	loopback := []rate.PrefixLimit{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")},
	}
	return &rate.Limiter{NetworkPrefixLimits: loopback, SubnetRateLimiter: rate.SubnetLimiter{
		IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: limit}},
		IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: limit}},
		GracePeriod:      time.Minute,
	}}
}

// listenAddr turns "host:port" into a multiaddr, with the given port if that is not 0.
func listenAddr(ctx context.Context, hostport string, port int) (ma.Multiaddr, error) {
	name, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("could not read listen address %q: %w", hostport, err)
	}
	if port == 0 {
		if port, err = net.DefaultResolver.LookupPort(ctx, "tcp", p); err != nil {
			return nil, fmt.Errorf("could not read listen address %q: %w", hostport, err)
		}
	}
	if name == "" {
		name = "0.0.0.0"
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, name)
	if err != nil || len(ips) == 0 {
		return nil, fmt.Errorf("could not find the address of %q: %w", name, err)
	}
	a, err := manet.FromNetAddr(&net.TCPAddr{IP: ips[0].IP, Port: port, Zone: ips[0].Zone})
	if err != nil {
		return nil, fmt.Errorf("could not listen on %q: %w", hostport, err)
	}
	return a, nil
}

// wantsAnyPort reports whether a "host:port" leaves the port open.
func wantsAnyPort(hostport string) bool {
	_, p, err := net.SplitHostPort(hostport)
	return err == nil && (p == "" || p == "0")
}

// hostPort is the readable form of a TCP address.
func hostPort(a ma.Multiaddr) string {
	n, err := manet.ToNetAddr(a)
	if err != nil {
		return a.String()
	}
	return n.String()
}

func portOf(a ma.Multiaddr) int {
	s, err := a.ValueForProtocol(ma.P_TCP)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n > math.MaxUint16 {
		return 0
	}
	return int(n)
}

// membersOnly is a host that hides strangers from libraries which talk to every connected peer, such as gossipsub.
type membersOnly struct {
	host.Host
	member func(peer.ID) bool
}

func (h membersOnly) guard(handle network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		if !h.member(s.Conn().RemotePeer()) {
			_ = s.Reset()
			return
		}
		handle(s)
	}
}

func (h membersOnly) SetStreamHandler(id protocol.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.guard(handle))
}

func (h membersOnly) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, handle network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.guard(handle))
}

func (h membersOnly) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	if !h.member(id) {
		return nil, ErrNotMember
	}
	return h.Host.NewStream(ctx, id, protocols...)
}
