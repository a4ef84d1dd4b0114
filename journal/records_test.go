package journal

import (
	"testing"

	"github.com/dtpnode/dtpnode/quorum"
)

// TestEarlierStates reads state records of earlier formats, which have fewer fields.
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

// FuzzRecords decodes arbitrary bytes, with and without a valid checksum.
func FuzzRecords(f *testing.F) {
	whole, err := encodeHead(Head{Job: []byte("job"), Self: quorum.NewVoter("a", 1)})
	if err != nil {
		f.Fatal(err)
	}
	entry, _ := encodeEntry(7, quorum.Entry{Index: 3, Term: 2, Kind: 1, Data: []byte("data")})
	snapshot, _ := encodeAbout(about{index: 9, term: 3, base: 4, baseTerm: 2, size: 100, before: 5})
	for _, b := range [][]byte{whole, encodeState(state{last: 6, txid: 11}), entry, snapshot} {
		f.Add(b)
		f.Add(b[:len(b)-sumSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, key := range [][]byte{nil, headKey, stateKey, entryKey(3), aboutKey} {
			value := b
			if key != nil {
				value, _ = sealed(7*uint32(len(key)%2), key, append([]byte(nil), b...))
			}
			if h, err := decodeHead(value); err == nil {
				if _, err := encodeHead(h); err != nil {
					t.Errorf("%+v was decoded, and cannot be encoded: %v", h, err)
				}
			}
			if s, err := decodeState(value); err == nil && len(value) == stateSize+sumSize {
				if again, err := decodeState(encodeState(s)); err != nil || again != s {
					t.Errorf("%+v comes back as %+v, %v", s, again, err)
				}
			}
			for _, before := range []uint32{0, 7} {
				if e, sum, err := decodeEntry(before, 3, value); err == nil {
					again, same := encodeEntry(before, e)
					if string(again) != string(value) || same != sum {
						t.Errorf("%+v was decoded from %x, and is encoded as %x", e, value, again)
					}
				}
			}
			if a, _, err := decodeAbout(value); err == nil {
				if again, _ := encodeAbout(a); string(again) != string(value) {
					t.Errorf("%+v was decoded from %x, and is encoded as %x", a, value, again)
				}
			}
		}
	})
}
