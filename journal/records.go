package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/wire"
)

var (
	headBucket  = []byte("head")
	stateBucket = []byte("state")
	entryBucket = []byte("entries")

	headKey  = []byte("head")
	stateKey = []byte("state")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const (
	sumSize   = 4
	oldState  = 5*8 + sumSize      // from before there were snapshots
	midState  = oldState + sumSize // from before the leader was recorded
	stateSize = midState + 8
	entryHead = 8 + 1
)

var (
	errMissing = errors.New("is missing or cut")
	errSum     = errors.New("does not match its checksum")
)

// state is the record that every write replaces.
type state struct {
	hard quorum.Hard
	last uint64 // index of the last entry
	txid uint64 // number of the bbolt transaction that wrote it
	sum  uint32 // sum of the last entry
	snap uint32 // sum of the snapshot's last record, 0 for none
}

// sum is the checksum of a record, chained to the sum before it.
func sum(before uint32, key, value []byte) uint32 {
	var b [sumSize]byte
	binary.BigEndian.PutUint32(b[:], before)
	s := crc32.Update(0, castagnoli, b[:])
	return crc32.Update(crc32.Update(s, castagnoli, key), castagnoli, value)
}

// sealed appends the checksum to value.
func sealed(before uint32, key, value []byte) ([]byte, uint32) {
	s := sum(before, key, value)
	return binary.BigEndian.AppendUint32(value, s), s
}

// unsealed verifies and removes the checksum that sealed appended.
func unsealed(before uint32, key, value []byte) ([]byte, uint32, error) {
	n := len(value) - sumSize
	if n < 0 {
		return nil, 0, errMissing
	}
	s := sum(before, key, value[:n])
	if s != binary.BigEndian.Uint32(value[n:]) {
		return nil, 0, errSum
	}
	return value[:n], s, nil
}

func encodeHead(h Head) ([]byte, error) {
	b, err := wire.Marshal(&h)
	if err != nil {
		return nil, err
	}
	b, _ = sealed(0, headKey, b)
	return b, nil
}

func decodeHead(b []byte) (h Head, err error) {
	b, _, err = unsealed(0, headKey, b)
	if err == nil {
		err = wire.Unmarshal(b, &h)
	}
	return h, err
}

func encodeState(s state) []byte {
	b := make([]byte, 0, stateSize+sumSize)
	for _, v := range []uint64{s.hard.Term, s.hard.Vote, s.hard.Commit, s.last, s.txid} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, s.sum)
	b = binary.BigEndian.AppendUint32(b, s.snap)
	b, _ = sealed(0, stateKey, binary.BigEndian.AppendUint64(b, s.hard.Lead))
	return b
}

func decodeState(b []byte) (s state, err error) {
	b, _, err = unsealed(0, stateKey, b)
	if err != nil {
		return s, err
	}
	if len(b) != stateSize && len(b) != midState && len(b) != oldState {
		return s, errMissing
	}
	for _, v := range []*uint64{&s.hard.Term, &s.hard.Vote, &s.hard.Commit, &s.last, &s.txid} {
		*v, b = binary.BigEndian.Uint64(b), b[8:]
	}
	s.sum = binary.BigEndian.Uint32(b)
	if b = b[sumSize:]; len(b) > 0 {
		s.snap, b = binary.BigEndian.Uint32(b), b[sumSize:]
	}
	if len(b) > 0 {
		s.hard.Lead = binary.BigEndian.Uint64(b)
	}
	return s, nil
}

func entryKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func encodeEntry(before uint32, e quorum.Entry) ([]byte, uint32) {
	b := make([]byte, 0, entryHead+len(e.Data)+sumSize)
	b = append(binary.BigEndian.AppendUint64(b, e.Term), e.Kind)
	return sealed(before, entryKey(e.Index), append(b, e.Data...))
}

func decodeEntry(before uint32, index uint64, b []byte) (e quorum.Entry, s uint32, err error) {
	b, s, err = unsealed(before, entryKey(index), b)
	if err != nil {
		return e, 0, err
	}
	if len(b) < entryHead {
		return e, 0, errMissing
	}
	e = quorum.Entry{Index: index, Term: binary.BigEndian.Uint64(b), Kind: b[8]}
	if data := b[entryHead:]; len(data) > 0 {
		e.Data = append([]byte(nil), data...) // copied, since b belongs to bbolt
	}
	return e, s, nil
}
