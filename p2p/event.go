package p2p

import (
	"strings"
	"time"
	"unicode"
)

// Info is what a node tells its peers about itself.
type Info struct {
	Name    string
	Version string // of dtpnode
	ROOT    string // version, empty if there is none
	Slots   int
}

// maxSlots is how many slots another member is believed to have: what is shared out by slots is not decided by one
// number.
const maxSlots = 1 << 12

// clean is info from a peer without what could confuse a terminal or a log.
func (i Info) clean() Info {
	for _, s := range []*string{&i.Name, &i.Version, &i.ROOT} {
		*s = strings.ToValidUTF8((*s)[:min(len(*s), maxName)], "")
		*s = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, *s)
	}
	i.Slots = min(max(i.Slots, 0), maxSlots)
	return i
}

// Member is a member of the cluster as this node sees it.
type Member struct {
	Info          // as told when last up; before that only Name, from the membership record
	ID     PeerID //
	Rights []Right

	Founder   bool // it has the founder's role
	Ephemeral bool // it is forgotten after minutes without a word

	Addrs   []string // "host:port"
	Joined  time.Time
	Self    bool
	Up      bool
	Left    bool          // it is not up, and said itself that it goes
	Seen    time.Time     // when it was last up here; zero if it never was
	RTT     time.Duration // 0 if unknown
	Ahead   time.Duration // of its clock before this node's, while it is up; 0 if unknown
	Problem string        // why it is not up, as far as this node knows

	Protocol int  // the newest number that it speaks, 0 if it has not told
	Foreign  bool // it answers, and speaks no number in common with this node
}

// Event is one of PeerUp, PeerDown, PeerRefused, Message, Announced, MemberGone, MembersChanged and Restless. For each
// peer the order is PeerUp, its Messages, PeerDown.
type Event interface{ event() }

// PeerUp says that a member is connected, and that both sides agreed to talk.
type PeerUp struct {
	ID   PeerID
	Info Info
}

// PeerDown says that a peer is not connected any more. Messages queued for it may be lost.
type PeerDown struct {
	ID     PeerID
	Reason string
}

// PeerRefused says that a member and this node cannot talk, and why; once for each reason.
type PeerRefused struct {
	ID     PeerID
	Reason string
}

// Message is a payload that From gave to Send. Whoever takes it says Done when it is of no more use: until then it
// counts towards what may wait of From, whose link is not read beyond that.
type Message struct {
	From    PeerID
	Payload []byte
	receipt *receipt
}

// Done says that the message needs no memory any more.
func (m Message) Done() { m.receipt.done() }

// Announced is a payload that From gave to Publish. Announcements may be lost or come late.
type Announced struct {
	From    PeerID
	Topic   string
	Payload []byte
	receipt *receipt
}

// Done is as for Message, where all announcements on a topic count together.
func (a Announced) Done() { a.receipt.done() }

// MemberGone says that a peer is no member any more: it was revoked, has left for good or was forgotten. What
// it had asked for counts no more. Its PeerDown comes too, before or after.
type MemberGone struct{ ID PeerID }

// MembersChanged says that Members, their rights or their addresses changed; changes may share one.
type MembersChanged struct{}

// Restless says that a member goes on signing other addresses of its own, more often than any host has them. They are
// taken at a measure.
type Restless struct{ ID PeerID }

func (Restless) event()       {}
func (PeerUp) event()         {}
func (PeerDown) event()       {}
func (PeerRefused) event()    {}
func (Message) event()        {}
func (Announced) event()      {}
func (MemberGone) event()     {}
func (MembersChanged) event() {}
