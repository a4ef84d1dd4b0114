package quorum

// What the tests sign with.
var (
	VoteText     = voteText
	TransferText = transferText
	EncodeFrame  = encodeFrame
	DecodeFrame  = decodeFrame
)

// Proof is what goes with a message.
type Proof = proof
