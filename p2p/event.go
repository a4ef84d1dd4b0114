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
	Meta    string // what it tells beside; opaque here
	Slots   int
}

// maxSlots bounds the slots that another member is believed to have, so that no single claim decides how work is shared
// by slots.
const maxSlots = 1 << 12

// MaxMeta bounds Info.Meta, in bytes; what is longer is dropped.
const MaxMeta = 2 << 10

// clean removes what could confuse a terminal or a log from a peer's info, and bounds the rest.
func (i Info) clean() Info {
	for _, s := range []*string{&i.Name, &i.Version} {
		*s = strings.ToValidUTF8((*s)[:min(len(*s), maxName)], "")
		*s = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, *s)
	}
	if i.Meta = strings.ToValidUTF8(i.Meta, ""); len(i.Meta) > MaxMeta {
		i.Meta = ""
	}
	i.Slots = min(max(i.Slots, 0), maxSlots)
	return i
}

// Member is a member of the cluster as this node sees it.
type Member struct {
	Info          // as received when last up; before that only Name, from the membership record
	ID     PeerID //
	Rights []Right

	Founder   bool // it has the founder's role
	Ephemeral bool // it is forgotten minutes after it was last seen

	Addrs   []string // "host:port"
	Joined  time.Time
	Self    bool
	Up      bool
	Left    bool          // it is not up, and announced that it would leave
	Seen    time.Time     // when it was last up here; zero if it never was
	RTT     time.Duration // 0 if unknown
	Ahead   time.Duration // how far its clock is ahead of this node's, while it is up; 0 if unknown
	Problem string        // why it is not up, as far as this node knows

	Protocol     int  // newest protocol number that it speaks, 0 if unknown
	Incompatible bool // it can be reached, but speaks no protocol number in common with this node
}

// Event is one of PeerUp, PeerChanged, PeerDown, PeerRefused, Message, Announced, MemberGone, MembersChanged and
// Flapping. For each peer the order is PeerUp, its Messages and PeerChanged, PeerDown.
type Event interface{ event() }

// PeerUp says that a member is connected and that the handshake of the link succeeded.
type PeerUp struct {
	ID   PeerID
	Info Info
}

// PeerChanged says that a connected member tells another Info.Meta of itself. A member that changes it all the time is
// heard now and then.
type PeerChanged struct {
	ID   PeerID
	Info Info
}

// PeerDown says that a peer is not connected any more. Messages queued for it may be lost.
type PeerDown struct {
	ID     PeerID
	Reason string
}

// PeerRefused says that a member and this node cannot talk, and why. It is emitted once for each reason.
type PeerRefused struct {
	ID     PeerID
	Reason string
}

// Message is a payload that From passed to Send. The consumer calls Done when it needs the payload no more: until then
// it counts towards From's backlog, beyond which From's link is not read.
type Message struct {
	From    PeerID
	Payload []byte
	receipt *receipt
}

// Done gives the message's room in the backlog back.
func (m Message) Done() { m.receipt.done() }

// Announced is a payload that From passed to Publish. Announcements may be lost or come late.
type Announced struct {
	From    PeerID
	Topic   string
	Payload []byte
	receipt *receipt
}

// Done gives the announcement's room back. All announcements on a topic share one backlog.
func (a Announced) Done() { a.receipt.done() }

// MemberGone says that a peer is not a member any more: it was revoked, has left for good or was forgotten. Its
// requests no longer count. Its PeerDown comes too, before or after.
type MemberGone struct{ ID PeerID }

// MembersChanged says that Members, their rights or their addresses changed. Several changes may share one event.
type MembersChanged struct{}

// Flapping says that a member keeps signing new addresses of its own, more often than any real host changes them. They
// are taken at a bounded rate.
type Flapping struct{ ID PeerID }

func (Flapping) event()       {}
func (PeerUp) event()         {}
func (PeerChanged) event()    {}
func (PeerDown) event()       {}
func (PeerRefused) event()    {}
func (Message) event()        {}
func (Announced) event()      {}
func (MemberGone) event()     {}
func (MembersChanged) event() {}
