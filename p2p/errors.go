package p2p

import "errors"

// Errors that callers tell apart with errors.Is.
var (
	ErrClosed       = errors.New("the node is closed")
	ErrNotConnected = errors.New("the peer is not connected")
	ErrQueueFull    = errors.New("too many messages are waiting for the peer")
	ErrTooLarge     = errors.New("too large")
	ErrNotMember    = errors.New("not a member of this cluster")
	ErrNoRight      = errors.New("this node does not have the right for that")
	ErrBadSignature = errors.New("the signature does not match")
	ErrSlow         = errors.New("the peer sends too slowly")
	ErrHashMismatch = errors.New("the bytes do not match their hash")
	ErrNotFound     = errors.New("the peer does not have it")
	ErrRemote       = errors.New("the peer reports")
	ErrDamagedState = errors.New("the state is damaged")

	ErrTokenDamaged  = errors.New("the token is damaged: copy it again, whole and on one line")
	ErrTokenExpired  = errors.New("the token has expired: ask for a new one (dtpnode invite)")
	ErrTokenUsed     = errors.New("the token was already used: ask for a new one (dtpnode invite)")
	ErrTokenUnknown  = errors.New("the inviting node does not know the token: ask for a new one (dtpnode invite)")
	ErrAlreadyMember = errors.New("this node is already a member of that cluster (if it left with dtpnode down, " +
		"dtpnode up brings it back)")
	ErrOtherCluster = errors.New("this node already belongs to a cluster with other members: start a node with " +
		"another state folder")
	ErrProtocol    = errors.New("the peer speaks another protocol")
	ErrUnreachable = errors.New("no connection to the inviting node: check that it is up, and that its address and " +
		"port can be reached from here")
	ErrJoinRefused = errors.New("the inviting node closed the connection without an answer: it knows no open " +
		"invitation any more, or many others are at its door; try again in a moment, or ask for a new token (dtpnode invite)")
	ErrFounderRevoked = errors.New("the founder of a cluster cannot be revoked: its role can be handed over (dtpnode " +
		"handover) or taken back with the recovery key (dtpnode take-back)")
	ErrStillUp = errors.New("it is up, and only members that are gone are forgotten; dtpnode revoke puts out a " +
		"member that is up")
	ErrFounderStays = errors.New("this node has the founder's role: give it to another member first (dtpnode handover " +
		"MEMBER)")
)
