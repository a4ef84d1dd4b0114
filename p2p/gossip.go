package p2p

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

const topicPrefix = "dtpnode/"

// gossip is the node's part of gossipsub.
type gossip struct {
	topics map[string]*pubsub.Topic
}

// newGossip subscribes to the configured topics, and to no others whatever the peers say.
func newGossip(n *Node) (*gossip, error) {
	var names []string
	for _, t := range n.cfg.Topics {
		names = append(names, topicPrefix+t)
	}
	ps, err := pubsub.NewGossipSub(n.ctx, membersOnly{n.host, n.trusts},
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMaxMessageSize(MaxAnnounce+frameSlack),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(names...)),
		pubsub.WithPeerExchange(false),
		pubsub.WithValidateQueueSize(256),
		pubsub.WithLogger(slog.New(withoutTags{n.log.Handler()})),
	)
	if err != nil {
		return nil, fmt.Errorf("could not start gossip: %w", err)
	}
	g := &gossip{topics: map[string]*pubsub.Topic{}}
	for _, name := range n.cfg.Topics {
		full := topicPrefix + name
		// The check only looks into a map, so it runs inline: goroutines for it would cost more.
		if err := ps.RegisterTopicValidator(full, n.validAnnouncement, pubsub.WithValidatorInline(true)); err != nil {
			return nil, fmt.Errorf("could not listen to topic %q: %w", name, err)
		}
		t, err := ps.Join(full)
		if err != nil {
			return nil, fmt.Errorf("could not join topic %q: %w", name, err)
		}
		sub, err := t.Subscribe()
		if err != nil {
			return nil, fmt.Errorf("could not listen to topic %q: %w", name, err)
		}
		g.topics[name] = t
		n.spawn(func() { n.listenTo(name, sub) })
	}
	return g, nil
}

// withoutTags drops gossipsub's complaint, at each message, that it cannot tag peers to protect them from trimming:
// this host trims no connections. It lowers other information of gossipsub to the debug level.
type withoutTags struct{ slog.Handler }

func (h withoutTags) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "error bumping delivery tag" {
		return nil
	}
	if r.Level == slog.LevelInfo {
		if r.Level = slog.LevelDebug; !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h withoutTags) WithAttrs(as []slog.Attr) slog.Handler {
	return withoutTags{h.Handler.WithAttrs(as)}
}

func (h withoutTags) WithGroup(name string) slog.Handler {
	return withoutTags{h.Handler.WithGroup(name)}
}

// validAnnouncement accepts announcements by members, within the size limit. Gossipsub has verified the signature.
func (n *Node) validAnnouncement(_ context.Context, _ peer.ID, m *pubsub.Message) bool {
	return len(m.Data) <= MaxAnnounce && n.trusts(m.GetFrom())
}

func (n *Node) listenTo(name string, sub *pubsub.Subscription) {
	defer sub.Cancel()
	waiting := newBacklog()
	for {
		m, err := sub.Next(n.ctx)
		if err != nil {
			return
		}
		if from := m.GetFrom(); from != n.id {
			r, err := waiting.take(n.ctx, m.Data)
			if err != nil {
				return
			}
			n.emit(Announced{From: from.String(), Topic: name, Payload: m.Data, receipt: r})
		}
	}
}

// Publish announces payload to all members that listen to topic, one of Config.Topics. It may be lost,
// and costs every member CPU: announcements only, never results or heartbeats.
func (n *Node) Publish(topic string, payload []byte) error {
	t := n.gossip.topics[topic]
	switch {
	case t == nil:
		return fmt.Errorf("could not publish: topic %q is not among %v", topic, n.cfg.Topics)
	case len(payload) > MaxAnnounce:
		return fmt.Errorf("could not publish %d bytes on %q: %w: at most %d", len(payload), topic, ErrTooLarge, MaxAnnounce)
	case n.ctx.Err() != nil:
		return fmt.Errorf("could not publish on %q: %w", topic, ErrClosed)
	}
	if err := t.Publish(n.ctx, slices.Clone(payload)); err != nil {
		return fmt.Errorf("could not publish on %q: %w", topic, err)
	}
	return nil
}
