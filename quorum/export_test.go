package quorum

import (
	"encoding/binary"

	"github.com/dtpnode/dtpnode/wire"
)

// AskFrame is the frame in which a leader asks for signatures.
func AskFrame(leader, term uint64, want uint8) []byte {
	return encode(frameAsk, &ask{Leader: leader, Term: term, Want: want})
}

// SignedFrame is the frame in which a voter answers.
func SignedFrame(leader, voter, term uint64, vote, next, seal []byte) []byte {
	return encode(frameSigned, &signed{Leader: leader, Voter: voter, Term: term, Vote: vote, Next: next, Seal: seal})
}

// GoneFrame is the frame that tells a voter that it was removed.
func GoneFrame(id uint64, c Chain) []byte {
	b, err := wire.Marshal(&c)
	if err != nil {
		panic(err)
	}
	return append(binary.BigEndian.AppendUint64([]byte{frameGone}, id), b...)
}

func encode(kind byte, v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append([]byte{kind}, b...)
}
