package exec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Lister is what a Runtime implements besides if a file may hold objects that name inputs or entries of inputs, as ROOT
// has chains, collections of files and lists of entries.
type Lister interface {
	// List reads an object of a file, which may be local or a URL, within a time: zero is DefaultOpen. With an empty name
	// the file must hold one object alone that names inputs or entries. Failures that are the file's come as *Failure.
	List(ctx context.Context, file, object string, within time.Duration) (Listing, error)
}

// Listing is what an object in a file names. Names of files in it are as they were written into the object.
type Listing struct {
	Object  string        `msgpack:"object"`  // its name
	Class   string        `msgpack:"class"`   // of the object, to show
	Inputs  []Input       `msgpack:"inputs"`  // of a chain or collection, in its order
	Friends []Friend      `msgpack:"friends"` // of a chain
	Aliases []tasks.Param `msgpack:"aliases"` // of a chain
	Chosen  []List        `msgpack:"lists"`   // entries of inputs
	// Global says that the one list in Chosen counts entries over all files of a job, and names no file.
	Global bool `msgpack:"global"`
}

// Input is a part of a file; the part may be empty.
type Input struct {
	File string `msgpack:"file"`
	Part string `msgpack:"part"`
}

// SelectionBlob is the name of the blob that holds the Selection of a job (Order.Fetch), which is kept beside each copy
// of the job's ledger.
const SelectionBlob = "selection"

// SelectionNeed is the word with which a job that has a Selection asks for runtimes that know what that is.
const SelectionNeed = "selection"

// Selection is what of its files, and what beside them, a job reads. It goes to other nodes and to generations as
// msgpack.
type Selection struct {
	// Lists are the chosen entries of the job's files. Where there are any, the units of a job are the chosen entries
	// alone, and a file that no list names has none: entry n of a Packet is the n-th chosen entry.
	Lists   []List        `msgpack:"lists"`
	Friends []Friend      `msgpack:"friends"`
	Aliases []tasks.Param `msgpack:"aliases"` // names of expressions, for the user's code
}

// Empty reports whether a job reads all of its files and nothing beside them.
func (s Selection) Empty() bool {
	return len(s.Lists) == 0 && len(s.Friends) == 0 && len(s.Aliases) == 0
}

// Pack encodes s.
func (s Selection) Pack() ([]byte, error) { return wire.Marshal(&s) }

// UnpackSelection is the reverse of Pack.
func UnpackSelection(b []byte) (s Selection, err error) {
	if err = wire.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("could not read which entries and friends a job reads: %w", err)
	}
	return s, nil
}

// List is a set of entries of one part of one file.
type List struct {
	File string `msgpack:"file"`
	Part string `msgpack:"part"`
	Runs Runs   `msgpack:"runs"`
}

// Friend is an input whose entries are read beside those of a job: entry n of all its files together beside entry n of
// all files of the job, or the entry that has the same values of Key.
type Friend struct {
	Alias string       `msgpack:"alias"` // by which the user's code knows it; may be empty
	Part  string       `msgpack:"part"`  // path of its tree in files that name none themselves
	Key   []string     `msgpack:"key"`   // one or two expressions by which its entries are found, or none
	Files []FriendFile `msgpack:"files"`
}

// FriendFile is one file of a Friend.
type FriendFile struct {
	File    string `msgpack:"file"`
	Part    string `msgpack:"part"`
	Entries int64  `msgpack:"entries"` // where it was planned
	// UUID is that of the file where it was planned. A file with another UUID, or other entries, is refused (CauseDiffers)
	// as a file of the job is. Empty leaves it unchecked.
	UUID string `msgpack:"uuid,omitempty"`
}

// Runs is a set of entries as pairs of numbers, each an unsigned varint: how many entries are left out, and how many
// then follow that are in the set, one or more.
type Runs []byte

// ErrRuns says that Runs are none.
var ErrRuns = errors.New("invalid list of entries")

// RunsOf are the Runs of entries, which it sorts; one that is named twice is in the set once.
func RunsOf(entries []int64) Runs {
	slices.Sort(entries)
	var out Runs
	next := int64(0) // the entry behind the last run
	for i := 0; i < len(entries); {
		first, n := entries[i], int64(0)
		for ; i < len(entries) && entries[i] <= first+n; i++ {
			if entries[i] == first+n {
				n++
			}
		}
		out = out.add(first-next, n)
		next = first + n
	}
	return out
}

func (r Runs) add(gap, n int64) Runs {
	r = binary.AppendUvarint(r, uint64(gap))
	return binary.AppendUvarint(r, uint64(n))
}

// Each calls f for each run, in ascending order, with its first entry and the one behind its last.
func (r Runs) Each(f func(first, last int64)) error {
	next := int64(0)
	for len(r) > 0 {
		gap, k := binary.Uvarint(r)
		if k <= 0 {
			return ErrRuns
		}
		r = r[k:]
		n, k := binary.Uvarint(r)
		const most = 1 << 61
		if k <= 0 || n == 0 || gap > most || n > most || next > most {
			return ErrRuns
		}
		r = r[k:]
		first := next + int64(gap)
		next = first + int64(n)
		f(first, next)
	}
	return nil
}

// Len is how many entries are in the set, and end the one behind the last.
func (r Runs) Len() (n, end int64, err error) {
	err = r.Each(func(first, last int64) { n, end = n+last-first, last })
	return n, end, err
}

// Union is the set of what is in r or in other.
func (r Runs) Union(other Runs) (Runs, error) {
	type run struct{ first, last int64 }
	var all []run
	note := func(first, last int64) { all = append(all, run{first, last}) }
	if err := errors.Join(r.Each(note), other.Each(note)); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b run) int { return int(min(max(a.first-b.first, -1), 1)) })
	var out Runs
	next := int64(0)
	for i := 0; i < len(all); {
		first, last := all[i].first, all[i].last
		for i++; i < len(all) && all[i].first <= last; i++ {
			last = max(last, all[i].last)
		}
		out = out.add(first-next, last-first)
		next = last
	}
	return out, nil
}

// Clip is the part of the set that lies in [first, last), with first as entry 0.
func (r Runs) Clip(first, last int64) (out Runs, err error) {
	next := first
	err = r.Each(func(a, b int64) {
		a, b = max(a, first), min(b, last)
		if a < b {
			out = out.add(a-next, b-a)
			next = b
		}
	})
	return out, err
}

// Clusters are the numbers, in the set, of the first entries of clusters that have entries in it. firsts are the first
// entries of all clusters.
func (r Runs) Clusters(firsts []int64) (out []int64, err error) {
	at := int64(0) // number in the set of the run's first entry
	k := 0         // the first cluster that begins behind what was looked at
	err = r.Each(func(first, last int64) {
		if n := afterLast(firsts, k, first); n > k || at == 0 {
			out, k = append(out, at), n
		}
		for ; k < len(firsts) && firsts[k] < last; k++ {
			if firsts[k] > first {
				out = append(out, at+firsts[k]-first)
			}
		}
		at += last - first
	})
	return out, err
}

// afterLast is the first of the clusters, from k on, that begins behind entry.
func afterLast(firsts []int64, k int, entry int64) int {
	for k < len(firsts) && firsts[k] <= entry {
		k++
	}
	return k
}
