package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/dtpnode/dtpnode/quorum"
)

// The snapshot's bucket has a record that describes it, and its data in pieces that each fit a page. So the pages of a
// replaced snapshot can be reused by the next one, however large either is.
var (
	snapBucket = []byte("snapshot")
	aboutKey   = []byte("about")
)

const (
	pieceSize = 3840
	aboutSize = 5*8 + sumSize
)

// about is the record that describes the snapshot.
type about struct {
	index, term, base, baseTerm uint64
	size                        uint64 // bytes of data
	before                      uint32 // sum of entry base
}

func encodeAbout(a about) ([]byte, uint32) {
	b := make([]byte, 0, aboutSize+sumSize)
	for _, v := range []uint64{a.index, a.term, a.base, a.baseTerm, a.size} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return sealed(0, aboutKey, binary.BigEndian.AppendUint32(b, a.before))
}

func decodeAbout(b []byte) (a about, s uint32, err error) {
	b, s, err = unsealed(0, aboutKey, b)
	if err != nil {
		return a, 0, err
	}
	if len(b) != aboutSize {
		return a, 0, errMissing
	}
	for _, v := range []*uint64{&a.index, &a.term, &a.base, &a.baseTerm, &a.size} {
		*v, b = binary.BigEndian.Uint64(b), b[8:]
	}
	a.before = binary.BigEndian.Uint32(b)
	return a, s, nil
}

// compact replaces the snapshot, and drops the entries that it covers.
func (j *Journal) compact(tx *bbolt.Tx, s *quorum.Snapshot, reset bool) error {
	last := j.base + uint64(len(j.sums))
	switch {
	case s.Base > s.Index || s.Base < j.base:
		return fmt.Errorf("a snapshot of entry %d drops the entries up to %d, but those up to %d are dropped already",
			s.Index, s.Base, j.base)
	case !reset && s.Index > last:
		return fmt.Errorf("a snapshot of entry %d does not belong to a log that ends at entry %d", s.Index, last)
	}
	drop := last
	if !reset {
		drop = s.Base
	}
	b := tx.Bucket(entryBucket)
	for i := j.base + 1; i <= drop; i++ {
		if err := b.Delete(entryKey(i)); err != nil {
			return err
		}
	}
	if reset { // a new chain of sums begins
		j.sums, j.before = nil, 0
	} else {
		j.before, j.sums = j.sumAt(s.Base), append([]uint32(nil), j.sums[s.Base-j.base:]...)
	}
	j.base = s.Base
	return j.putSnapshot(tx, s)
}

func (j *Journal) putSnapshot(tx *bbolt.Tx, s *quorum.Snapshot) error {
	if err := tx.DeleteBucket(snapBucket); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
		return err
	}
	b, err := tx.CreateBucket(snapBucket)
	if err != nil {
		return err
	}
	b.FillPercent = 1
	value, sum := encodeAbout(about{s.Index, s.Term, s.Base, s.BaseTerm, uint64(len(s.Data)), j.before})
	if err := b.Put(aboutKey, value); err != nil {
		return err
	}
	for i := 0; i*pieceSize < len(s.Data); i++ {
		key := entryKey(uint64(i))
		piece := s.Data[i*pieceSize : min((i+1)*pieceSize, len(s.Data))]
		value, sum = sealed(sum, key, append(make([]byte, 0, len(piece)+sumSize), piece...))
		if err := b.Put(key, value); err != nil {
			return err
		}
	}
	j.snap = sum
	return nil
}

// readSnapshot reads the snapshot and checks every record; nil if there is none.
func (j *Journal) readSnapshot(tx *bbolt.Tx) (*quorum.Snapshot, error) {
	b := tx.Bucket(snapBucket)
	if b == nil {
		return nil, nil
	}
	value := b.Get(aboutKey)
	if value == nil {
		return nil, errMissing
	}
	a, sum, err := decodeAbout(value)
	if err != nil {
		return nil, err
	}
	s := &quorum.Snapshot{Index: a.index, Term: a.term, Base: a.base, BaseTerm: a.baseTerm}
	pieces := uint64(0)
	for ; uint64(len(s.Data)) < a.size; pieces++ {
		key := entryKey(pieces)
		var piece []byte
		if piece, sum, err = unsealed(sum, key, b.Get(key)); err != nil {
			return nil, fmt.Errorf("has a piece %d that %w", pieces, err)
		}
		if len(piece) == 0 {
			return nil, fmt.Errorf("has a piece %d without data", pieces)
		}
		s.Data = append(s.Data, piece...) // copied, since it belongs to bbolt
	}
	if n := uint64(b.Stats().KeyN); n != pieces+1 || uint64(len(s.Data)) != a.size {
		return nil, fmt.Errorf("has %d records where %d are due", n, pieces+1)
	}
	j.base, j.before, j.snap = a.base, a.before, sum
	return s, nil
}
