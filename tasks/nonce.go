package tasks

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// A job's nonce is the name under which users know it, and under which every node keeps its result. Any member sees
// the nonces of others' jobs, so the first half of one is a hash of its second half and of who submits the job:
// nobody else can submit a job under that name. The hash comes first since that is what commands print and lists
// compare: whoever could choose it would hide one job behind another.

// NonceSize is the length of a nonce.
const NonceSize = 16

// NonceSalt is what is random of a nonce.
type NonceSalt [NonceSize / 2]byte

// NonceOf is the nonce of a job that a member submits.
func NonceOf(submitter PeerID, salt NonceSalt) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "dtpnode job %x of %q", salt, submitter))
	return append(sum[:NonceSize-len(salt)], salt[:]...)
}

// NonceIsOf reports whether a nonce is one that only the submitter's jobs have. Those of jobs that an older dtpnode has
// submitted are nobody's.
func NonceIsOf(nonce []byte, submitter PeerID) bool {
	return len(nonce) == NonceSize && bytes.Equal(nonce, NonceOf(submitter, NonceSalt(nonce[NonceSize/2:])))
}
