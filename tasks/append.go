package tasks

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
)

// Append is a step by which an open job grows: its files' entries become units, after all that the job has so far.
// Only the job's submitter can make one. They are numbered, and what it signs is a hash over all of them up to this
// one (Sum), so that who knows one to be signed knows that of all before it, their order, and that none is left out.
type Append struct {
	Seq   uint64 `msgpack:"q"`           // 1 for a job's first
	Files []File `msgpack:"f"`           // none if it only closes the job
	Close bool   `msgpack:"c,omitempty"` // nothing is appended after it
	Sig   []byte `msgpack:"s"`           // of the submitter, under AppendText
}

// Bounds of what is appended to a job. All of it is in each snapshot of the job's ledger, and in the memory of each
// node that works for it, there up to eight times, as files with the shortest names are in three lists of 144 bytes a
// file: 65,536 appends of a blob of items each are 16 MiB and less. Who appends more often makes larger batches, for
// which one blob of items is enough; what is beyond goes into another job. Files weigh the same whether they were
// appended before or not.
const (
	MaxAppends   = 1 << 16   // of a job
	MaxAppended  = 16 << 20  // bytes of all of them, as Weight counts
	MaxAppend    = 128 << 10 // bytes of one
	MaxUnits     = 1 << 56   // of a job
	MaxItems     = 32 << 20  // bytes of one blob of items
	MaxAllItems  = 1 << 30   // bytes of all blobs of items of a job: every copy of its ledger has them on disk
	MaxItemsData = 1 << 10   // bytes of a blob of items that travels in its append
	MaxAppendSig = 256       // bytes
	appendWeight = 96        // bytes of an append beside its files: mostly its signature
	fileWeight   = 60        // bytes of a file beside its texts and clusters
)

// ErrAppend is the root of all errors about what is appended to a job.
var ErrAppend = errors.New("invalid append")

// Units is how many units an append adds.
func (a *Append) Units() (n int64) {
	for _, f := range a.Files {
		n += f.Entries
	}
	return n
}

// Depends reports whether units of the append depend on others.
func (a *Append) Depends() bool {
	return slices.ContainsFunc(a.Files, func(f File) bool { return f.Depends })
}

// Check refuses an append that no job takes, whoever signed it.
func (a *Append) Check() error {
	switch {
	case a.Seq == 0 || a.Seq > MaxAppends:
		return fmt.Errorf("%w: its number is %d, want 1 to %d", ErrAppend, a.Seq, MaxAppends)
	case len(a.Sig) > MaxAppendSig:
		return fmt.Errorf("%w: its signature has %d bytes", ErrAppend, len(a.Sig))
	case len(a.Files) == 0 && !a.Close:
		return fmt.Errorf("%w: it adds nothing and does not close the job", ErrAppend)
	case a.Weight() > MaxAppend:
		return fmt.Errorf("%w: it has %d bytes, want at most %d", ErrAppend, a.Weight(), MaxAppend)
	}
	var units int64
	for _, f := range a.Files {
		if f.Entries <= 0 || f.Entries > MaxUnits || f.Bytes < 0 {
			return fmt.Errorf("%w: file %q has %d entries in %d bytes", ErrAppend, f.URL, f.Entries, f.Bytes)
		}
		if err := f.checkItems(); err != nil {
			return fmt.Errorf("%w: %w", ErrAppend, err)
		}
		if units += f.Entries; units > MaxUnits {
			return fmt.Errorf("%w: it adds more than %d units", ErrAppend, int64(MaxUnits))
		}
	}
	if _, err := NewDataset(a.Files); err != nil {
		return fmt.Errorf("%w: %w", ErrAppend, err)
	}
	return nil
}

// checkItems refuses a blob of items that there cannot be. Whoever works for the job asks others for a blob by this
// hash, and takes so many bytes.
func (f *File) checkItems() error {
	if f.Depends && f.Items == "" {
		return fmt.Errorf("the file %q has no items, and so none that depend on others", f.URL)
	}
	if f.Items != "" && (f.URL != "" || !JobID(f.Items).Valid() || f.Bytes <= 0 || f.Bytes > MaxItems) {
		return fmt.Errorf("%q of %d bytes, beside the file %q, is no blob of items", f.Items, f.Bytes, f.URL)
	}
	if n := len(f.Data); n > 0 {
		sum := sha256.Sum256(f.Data)
		if n > MaxItemsData || f.Items != hex.EncodeToString(sum[:]) || f.Bytes != int64(n) {
			return fmt.Errorf("%d bytes beside the hash %q are not that blob of items of %d bytes", n, f.Items, f.Bytes)
		}
	}
	return nil
}

// checkAllItems refuses files whose blobs of items cannot be, or are larger than those of a job may be together. One
// that is named several times is on disk once.
func checkAllItems(files []File) error {
	type blob struct {
		hash  string
		bytes int64
	}
	var bytes int64
	counted := map[blob]bool{}
	for i := range files {
		f := &files[i]
		if err := f.checkItems(); err != nil {
			return err
		}
		if b := (blob{f.Items, f.Bytes}); f.Items != "" && !counted[b] {
			counted[b] = true
			bytes += f.Bytes
		}
	}
	if bytes > MaxAllItems {
		return fmt.Errorf("its items have %d bytes, want at most %d", bytes, int64(MaxAllItems))
	}
	return nil
}

// Weight is about how many bytes an append takes, encoded and in memory.
func (a *Append) Weight() int {
	n := appendWeight
	for i := range a.Files {
		n += a.Files[i].weight()
	}
	return n
}

// weight is what a file adds to the weight of its append.
func (f *File) weight() int {
	return fileWeight + len(f.URL) + len(f.Part) + len(f.UUID) + len(f.Items) + len(f.Data) + 9*len(f.Clusters)
}

// AppendParts splits files, in their order, into as few lists as there must be for each to fit into one append. There
// is one at least, which is empty if there are no files; a file that is too large for any append is in a list of its
// own.
func AppendParts(files []File) (parts [][]File) {
	const room = MaxAppend - MaxAppendSig
	first, weight := 0, appendWeight
	for i := range files {
		more := files[i].weight()
		if i > first && weight+more > room {
			parts = append(parts, files[first:i:i])
			first, weight = i, appendWeight
		}
		weight += more
	}
	return append(parts, files[first:len(files):len(files)])
}

// SameFiles reports whether two appends add equal files.
func (a *Append) SameFiles(b *Append) bool {
	return slices.EqualFunc(a.Files, b.Files, func(f, g File) bool {
		return f.URL == g.URL && f.Part == g.Part && f.Entries == g.Entries && f.Bytes == g.Bytes &&
			f.UUID == g.UUID && f.Items == g.Items && f.Depends == g.Depends && slices.Equal(f.Clusters, g.Clusters)
	})
}

// AppendSum is a hash over a job's appends up to one of them. The zero value is that of none.
type AppendSum [sha256.Size]byte

// Sum is the hash over all appends up to this one, of which those before have the sum that is given. It is not over the
// signatures.
func (a *Append) Sum(before AppendSum) (sum AppendSum) {
	h := sha256.New()
	h.Write(before[:])
	number(h, int64(a.Seq), int64(len(a.Files)))
	for _, f := range a.Files {
		for _, s := range []string{f.URL, f.Part, f.UUID, f.Items} {
			number(h, int64(len(s)))
			h.Write([]byte(s))
		}
		number(h, f.Entries, f.Bytes, int64(len(f.Clusters)))
		number(h, f.Clusters...)
		if f.Depends {
			number(h, -1) // where the length of a text, or whether the job is closed, would follow
		}
	}
	if a.Close {
		number(h, 1)
	}
	h.Sum(sum[:0])
	return sum
}

func number(h hash.Hash, all ...int64) {
	var b [8]byte
	for _, n := range all {
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
}

// AppendText is what a job's submitter signs to append to it: sum is that of all appends, up to the one with this
// number.
func AppendText(job JobID, seq uint64, sum AppendSum) []byte {
	return fmt.Appendf(nil, "dtpnode append %d to job %s\x00%x", seq, job, sum)
}
