// Package liar is a member of a cluster that lies: it makes messages of the protocol with any content, under its own
// identity and with its own key alone, and twists what the protocol that it runs would send. The simulator has such
// members (package sim), and so has a daemon that is built with the tag "liars" (package node): what honest members
// are promised holds beside them (ARCHITECTURE.md, "Who dies or lies").
//
// It is pure: a random number generator decides what is said, and whoever drives a liar tells it what it knows (Scene)
// and brings its messages on their way.
//
//	work.go    lies about work          noise.go   any message, and real ones changed
//	usurp.go   lies about who leads     frames.go  what replicas of the ledger send each other
package liar

import (
	"math/rand/v2"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// maxHeard bounds what a liar remembers of the traffic that it sees.
const maxHeard = 256

// Scene is what a liar knows, at the moment, of the job that it lies about.
type Scene struct {
	Job    tasks.JobID
	Want   tasks.Range    // the job's units
	Home   tasks.PeerID   // that leads the job; empty if that is not known
	Term   uint64         // the highest in which the job is known to be led
	Peers  []tasks.PeerID // all members
	Voters []quorum.Voter // of the job's ledger; none if nothing is known but what a mandate says that the liar has seen

	// Own is a job of the liar's that it leads in OwnTerm; empty for none.
	Own     tasks.JobID
	OwnTerm uint64
	Result  string // hash of the result of the job that it lies about, if there is one
}

// Habits are what a liar does all the time.
type Habits struct {
	Every  time.Duration // between lies, at least; at most twice that
	Greedy bool          // it claims to hold all units, for ever
	Empty  bool          // it claims to hold nothing
	Lazy   bool          // it never offers a merge that was ordered or gathered
	Mute   float64       // share of what it ought to send that it does not
	Twist  float64       // share of what it sends that is changed

	// These are for whoever drives the liar to carry out.
	Hog    bool // it never finishes a packet
	Boasts bool // it says that it keeps the blobs which it was asked to keep, and does not
}

// Lie makes a message; false if there is nothing to say just now. It uses the liar's methods for what that knows.
type Lie func(l *Liar) (engine.Message, bool)

// Liar is one lying member. It is not safe for concurrent use.
type Liar struct {
	Habits
	rng    *rand.Rand
	self   tasks.PeerID
	keys   quorum.Keys
	usurps bool
	heard  []engine.Message // real traffic, to be sent on as it is or changed
	lies   []Lie
	seq    uint64
	at     Scene        // of the message that is being made
	to     tasks.PeerID // whom that is meant for; empty for anybody
}

// New returns a liar that speaks as self, with habits and lies that rng draws: about its work, and if usurps is set
// also about who it is in the job, and anything else. more are lies that it may tell beside those of this package.
func New(rng *rand.Rand, self tasks.PeerID, keys quorum.Keys, usurps bool, more ...Lie) *Liar {
	l := &Liar{rng: rng, self: self, keys: keys, usurps: usurps, seq: 1 << 40}
	l.Habits = Habits{Every: 3*time.Millisecond + time.Duration(rng.Int64N(int64(197*time.Millisecond))),
		Hog: l.one(3), Greedy: l.one(4), Empty: l.one(6), Lazy: l.one(3), Boasts: l.one(2)}
	if l.one(3) {
		l.Mute = rng.Float64()
	}
	if l.one(3) && usurps {
		l.Twist = rng.Float64()
	}
	all := append([]Lie{blame, blame, offer, steals, answers}, more...)
	if usurps {
		all = append(all, parrot, parrot, babble, usurp, usurp, end, frames, flood, enlists, rafts, rafts, Rules)
	}
	for _, lie := range all {
		if l.one(2) {
			l.lies = append(l.lies, lie)
		}
	}
	return l
}

// Pause is how long it waits until its next lie.
func (l *Liar) Pause() time.Duration {
	return l.Every + time.Duration(l.rng.Int64N(int64(l.Every)))
}

// Hear takes note of real traffic: what the liar receives, and what it would send.
func (l *Liar) Hear(m engine.Message) {
	if len(l.heard) >= maxHeard {
		l.heard = l.heard[1:]
	}
	l.heard = append(l.heard, m)
}

// Speak makes one lie and chooses whom it may hurt; false if the liar says nothing this time.
func (l *Liar) Speak(s Scene) (to tasks.PeerID, m engine.Message, ok bool) {
	if len(l.lies) == 0 || len(s.Peers) == 0 {
		return "", m, false
	}
	l.at, l.to = s, ""
	m, ok = l.lies[l.rng.IntN(len(l.lies))](l)
	if !ok {
		return "", m, false
	}
	if m.Job == "" {
		m.Job = s.Job
	}
	switch to = s.Peers[l.rng.IntN(len(s.Peers))]; {
	case l.to != "":
		to = l.to
	case s.Home != "" && l.one(3):
		to = s.Home
	}
	return to, m, to != l.self
}

// Said is what the liar makes of what its own protocol would send; false if it keeps that to itself.
func (l *Liar) Said(s Scene, m engine.Message) (engine.Message, bool) {
	l.at = s
	l.Hear(m)
	switch {
	case l.Mute > 0 && l.rng.Float64() < l.Mute, l.Lazy && m.Offer != nil && len(m.Offer.Kids) > 0:
		return m, false
	case m.Report != nil && m.Job == s.Job && (l.Greedy || l.Empty):
		r := *m.Report
		r.Held, r.Also, r.Left = nil, nil, time.Hour
		if l.Greedy {
			r.Held = tasks.CoverOf(s.Want)
		}
		m.Report = &r
	case l.Twist > 0 && l.rng.Float64() < l.Twist:
		m = l.changed(m)
	}
	return m, true
}

// Scene is what the liar knows while it makes a message.
func (l *Liar) Scene() Scene { return l.at }

// Next is a number that this liar has not used for anything yet.
func (l *Liar) Next() uint64 {
	l.seq++
	return l.seq
}

// Units are some of the job's, or all.
func (l *Liar) Units() tasks.Cover {
	r := l.Some(500)
	if l.one(3) {
		r = l.at.Want
	}
	return tasks.CoverOf(r)
}

// Some are at most so many units of the job, in a row.
func (l *Liar) Some(most int64) tasks.Range {
	w := l.at.Want
	first := w.First + l.rng.Int64N(max(w.Len(), 1))
	return tasks.R(first, min(first+1+l.rng.Int64N(most), w.Last))
}

// one is true once in n times.
func (l *Liar) one(n int) bool { return l.rng.IntN(n) == 0 }
