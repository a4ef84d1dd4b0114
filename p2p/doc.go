// Package p2p joins hosts into a cluster: identity, membership by invitation, links that are watched,
// control messages, requests, blobs and announcements, over libp2p. It knows no scheduler.
//
// # Membership
//
// A cluster is named by its founder, the node that was started for the first time. Its members are determined by a set
// of signed records: a register for each inviter, with those that it admits (register.go); a chain of successions,
// which determines who has the founder's role (succession.go); departures; and addresses. What the set means is a pure
// function of it (roster.go), so nodes that hold the same records agree. The set spreads over the links: a node sends
// the hash of its set, and a peer whose hash differs pulls the set and merges it. Invitations are one-use secrets kept
// by the node that made them; a token (token.go) carries one to the joining host.
//
// # Who may connect
//
// A connection gater admits members only. Strangers, that is peers that are not members, are let in while an invitation
// is remembered (open, or just used or expired, so that they can be told so). They may stay for seconds (door.go) and
// reach the join protocol alone. Former members may connect for seconds too, and get the proof of their expulsion
// (expelled.go). A member that breaks the rules is refused for a while (shun.go). A node listens on loopback only,
// unless the configuration says otherwise, and dials nobody but members and, on Join, the inviter.
//
// # On the wire
//
// TCP with TLS, or Noise, then yamux. Every value is msgpack in a frame (package wire).
//
//	/dtpnode/join            joinRequest -> joinReply                       strangers
//	/dtpnode/link            hello -> welcome, then link frames both ways   members
//	                         hello -> welcome, then exchange: a refusal     former members
//	/dtpnode/N/roster        exchange <- (pull)                             members
//	/dtpnode/N/request       request -> reply                               members
//	/dtpnode/N/blob          blobRequest -> blobReply, then the bytes       members
//	gossipsub, topics "dtpnode/" + name                                     members
//
// N is the protocol number of the link (protocol.go). Join and link requests contain the range of numbers that a node
// speaks, so that nodes without a common number can tell each other so. A link frame is a kind byte (see frameKind) and
// a payload.
package p2p
