// Package members is the cluster as one node sees it: who its members are and were, what they are called, what each may
// do to whose jobs, which pairs of them have no link, and who has broken the rules. It owns the names of members that
// have gone, and the counts of what members sent against the rules. It never decides who is a member or has a right,
// which package p2p does, and it knows no job but by its submitter.
//
//	members.go   the cluster
//	names.go     what members are called, also after they have gone
//	rights.go    whose job it is, and what others may ask of it
//	asking.go    questions to members, and bounds of their answers
//	gone.go      members whose code is to be dropped
//	wrongs.go    messages that break the rules, and what becomes of who sends them
//	unlinked.go  pairs of members without a link
package members

import (
	"context"
	"log/slog"
	"sync"

	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// Net is the network as far as the cluster is seen through it (p2p.Node).
type Net interface {
	// ID is this node.
	ID() tasks.PeerID
	// Members are all members, this node among them.
	Members() []p2p.Member
	// HasRight reports whether a member has a right, as the signed registers say.
	HasRight(id tasks.PeerID, r p2p.Right) bool
	// Request sends a member a request and returns the answer.
	Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) ([]byte, error)
	// Shun refuses the link of a member for a while, and notes why.
	Shun(id tasks.PeerID, why string) error
	// Expelled reports whether this node is a member no more, and how that came.
	Expelled() (p2p.Expulsion, bool)
}

// Cluster is the members of this node's cluster. Its methods may be called from any goroutine.
type Cluster struct {
	net    Net
	spawn  func(func())
	log    *slog.Logger
	wrongs violations // of the rules, by members

	mu       sync.Mutex              // guards what follows, and is held for moments
	called   map[tasks.PeerID]string // names of members that there are, and were in this life; at most maxCalled
	codeless map[tasks.PeerID]bool   // members whose code was dropped, since they may submit no more
}

// New is the cluster that a network shows. What it does besides answering runs in goroutines that spawn starts.
func New(net Net, spawn func(func()), log *slog.Logger) *Cluster {
	return &Cluster{
		net:      net,
		spawn:    spawn,
		log:      log,
		wrongs:   violations{of: map[tasks.PeerID]*wrongs{}},
		called:   map[tasks.PeerID]string{},
		codeless: map[tasks.PeerID]bool{},
	}
}
