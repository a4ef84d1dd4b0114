package journal

import (
	"testing"

	"github.com/dtpnode/dtpnode/quorum"
)

// TestEarlierStates reads the state of journals that were written before it had all that it has now.
func TestEarlierStates(t *testing.T) {
	now := state{hard: quorum.Hard{Term: 3, Vote: 7, Commit: 5, Lead: 9}, last: 6, txid: 11, sum: 4, snap: 8}
	whole := encodeState(now)
	for size, want := range map[int]state{
		stateSize: now,
		midState:  {hard: quorum.Hard{Term: 3, Vote: 7, Commit: 5}, last: 6, txid: 11, sum: 4, snap: 8},
		oldState:  {hard: quorum.Hard{Term: 3, Vote: 7, Commit: 5}, last: 6, txid: 11, sum: 4},
	} {
		b, _ := sealed(0, stateKey, append([]byte(nil), whole[:size]...))
		if got, err := decodeState(b); err != nil || got != want {
			t.Errorf("%d bytes: %+v, %v", size, got, err)
		}
	}
}
