package quorum

// What the tests sign with.
var (
	VoteText     = voteText
	TransferText = transferText
)
