package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
)

// The layout of a bbolt file, as far as it is checked. Numbers are in the machine's byte order.
//
//	page     id (8), flags (2), count (2), overflow (4): pages that follow as one with it; then its elements
//	meta     in pages 0 and 1: magic, version, page size, flags (4 each), root and sequence of the root bucket,
//	         freelist, high water mark, transaction (8 each), FNV-1a of all that
//	branch   count times: pos, key size (4 each), page (8); pos counts from the element's own start
//	leaf     count times: flags, pos, key size, value size (4 each); the value follows its key
//	bucket   the value of a leaf element with flag 1: root page, sequence (8 each); root 0: a page follows inline
//	freelist page numbers (8 each); where count is 0xffff, the first is the count
const (
	pageSize    = 4096
	headerSize  = 16
	elementSize = 16
	metaSize    = 64
	bucketSize  = 16
	maxDepth    = 16

	magic   = 0xED0CDAED
	version = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 1
)

var order = binary.NativeEndian

type meta struct{ root, freelist, high, txid uint64 }

// inspector walks through a file and checks that every page is used exactly once, for what it is. On files whose pages
// refer to each other in a circle bbolt itself would loop for ever or end the process.
type inspector struct {
	file []byte
	high uint64 // number of pages in use or free
	used []bool

	record, reason string // the first thing found wrong
}

// inspect returns what is wrong with the structure of a file, and why; the reason is empty if nothing is.
func inspect(file []byte) (record, reason string) {
	in := &inspector{file: file}
	m := in.metas()
	if in.reason != "" {
		return in.record, in.reason
	}
	in.high, in.used = m.high, make([]bool, m.high)
	in.used[0], in.used[1] = true, true
	in.buckets(m.root)
	if in.reason == "" {
		in.freelist(m.freelist)
	}
	if i := slices.Index(in.used, false); i >= 0 {
		in.bad(uint64(i), "is neither used nor free")
	}
	return in.record, in.reason
}

func (in *inspector) bad(id uint64, format string, a ...any) {
	in.fail(fmt.Sprintf("page %d", id), fmt.Sprintf(format, a...))
}

func (in *inspector) fail(record, reason string) {
	if in.reason == "" {
		in.record, in.reason = record, reason
	}
}

// metas returns the newer of the two meta pages. Both must be intact: bbolt writes them in turns, each within one
// sector, and a file with only one intact looks like a file that lost its last write.
func (in *inspector) metas() meta {
	if len(in.file) < 4*pageSize {
		in.fail("the file", fmt.Sprintf("is cut off after %d bytes", len(in.file)))
		return meta{}
	}
	a, b := in.meta(0), in.meta(1)
	if a.txid < b.txid {
		a, b = b, a
	}
	switch {
	case in.reason != "":
	case a.txid != b.txid+1:
		in.fail("the meta pages", fmt.Sprintf("are of writes %d and %d", a.txid, b.txid))
	case a.high > uint64(len(in.file)/pageSize) || a.high < 4:
		in.fail("the file", fmt.Sprintf("is cut off: it has %d pages of %d", len(in.file)/pageSize, a.high))
	}
	return a
}

func (in *inspector) meta(id uint64) meta {
	b := in.file[id*pageSize+headerSize:][:metaSize]
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	if order.Uint32(b) != magic || order.Uint32(b[4:]) != version || order.Uint32(b[8:]) != pageSize ||
		h.Sum64() != order.Uint64(b[metaSize-8:]) {
		in.bad(id, "does not match its checksum, or is of another kind of file")
	}
	return meta{
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		high:     order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}
}

// page marks a page as used and returns it with its overflow; nil if it cannot be used.
func (in *inspector) page(id uint64) []byte {
	if id < 2 || id >= in.high {
		in.bad(id, "is used, but is not in the file")
		return nil
	}
	p := in.file[id*pageSize:]
	n := 1 + uint64(order.Uint32(p[12:]))
	if order.Uint64(p) != id || n > in.high-id {
		in.bad(id, "has a wrong head")
		return nil
	}
	for i := id; i < id+n; i++ {
		if in.used[i] {
			in.bad(i, "is used twice")
			return nil
		}
		in.used[i] = true
	}
	return p[:n*pageSize]
}

// element returns the key of the i-th element of a page and the bytes after it. posAt and ksizeAt are the offsets of
// pos and key size in the element.
func element(p []byte, i, posAt, ksizeAt int) (key, rest []byte, ok bool) {
	at := headerSize + i*elementSize
	if len(p) < at+elementSize {
		return nil, nil, false
	}
	pos, ksize := uint64(order.Uint32(p[at+posAt:])), uint64(order.Uint32(p[at+ksizeAt:]))
	start := uint64(at) + pos
	end := headerSize + uint64(order.Uint16(p[10:]))*elementSize
	if start < end || start+ksize > uint64(len(p)) {
		return nil, nil, false
	}
	return p[start:][:ksize], p[start+ksize:], true
}

// buckets checks the root page: one leaf with a bucket for each kind of record. There is no snapshot bucket before the
// first snapshot.
func (in *inspector) buckets(root uint64) {
	p := in.page(root)
	if p == nil {
		return
	}
	names := [][]byte{entryBucket, headBucket, snapBucket, stateBucket}
	if int(order.Uint16(p[10:])) == len(names)-1 {
		names = [][]byte{entryBucket, headBucket, stateBucket}
	}
	if order.Uint16(p[8:]) != leafPage || int(order.Uint16(p[10:])) != len(names) {
		in.bad(root, "is not the list of buckets")
		return
	}
	for i, name := range names {
		flags, key, value, ok := leafElement(p, i)
		if !ok || flags != bucketFlag || !bytes.Equal(key, name) || len(value) < bucketSize {
			in.bad(root, "does not have the bucket %q in its place", name)
			return
		}
		if id := order.Uint64(value); id != 0 {
			in.tree(id, nil, nil, 0)
		} else if v := value[bucketSize:]; len(v) < headerSize || order.Uint64(v) != 0 || order.Uint16(v[8:]) != leafPage ||
			order.Uint32(v[12:]) != 0 {
			in.bad(root, "has a wrong head in the bucket %q", name)
		} else {
			in.leaf(root, v, nil, nil)
		}
	}
}

// tree checks a page of a bucket and those below it, whose keys must be in [lo, hi).
func (in *inspector) tree(id uint64, lo, hi []byte, depth int) {
	p := in.page(id)
	if p == nil {
		return
	}
	switch order.Uint16(p[8:]) {
	case leafPage:
		in.leaf(id, p, lo, hi)
	case branchPage:
		if depth == maxDepth || order.Uint16(p[10:]) == 0 {
			in.bad(id, "is a branch too deep, or of nothing")
			return
		}
		in.branch(id, p, lo, hi, depth)
	default:
		in.bad(id, "is neither branch nor leaf")
	}
}

func (in *inspector) branch(id uint64, p, lo, hi []byte, depth int) {
	n := int(order.Uint16(p[10:]))
	keys := make([][]byte, n)
	for i := range keys {
		key, _, ok := element(p, i, 0, 4)
		if !ok || !between(key, lo, hi) || (i > 0 && bytes.Compare(keys[i-1], key) >= 0) {
			in.bad(id, "has its element %d out of place", i)
			return
		}
		keys[i] = key
	}
	for i := 0; i < n && in.reason == ""; i++ {
		next := hi
		if i+1 < n {
			next = keys[i+1]
		}
		in.tree(order.Uint64(p[headerSize+i*elementSize+8:]), keys[i], next, depth+1)
	}
}

func (in *inspector) leaf(id uint64, p, lo, hi []byte) {
	var before []byte
	for i := range int(order.Uint16(p[10:])) {
		flags, key, _, ok := leafElement(p, i)
		if !ok || flags != 0 || !between(key, lo, hi) || (i > 0 && bytes.Compare(before, key) >= 0) {
			in.bad(id, "has its element %d out of place", i)
			return
		}
		before = key
	}
}

func leafElement(p []byte, i int) (flags uint32, key, value []byte, ok bool) {
	key, rest, ok := element(p, i, 4, 8)
	if !ok {
		return 0, nil, nil, false
	}
	at := headerSize + i*elementSize
	vsize := uint64(order.Uint32(p[at+12:]))
	if vsize > uint64(len(rest)) {
		return 0, nil, nil, false
	}
	return order.Uint32(p[at:]), key, rest[:vsize], true
}

// between reports whether key is in [lo, hi), where nil is no bound.
func between(key, lo, hi []byte) bool {
	return (lo == nil || bytes.Compare(lo, key) <= 0) && (hi == nil || bytes.Compare(key, hi) < 0)
}

// freelist checks that the free pages are in the file and not in use, since bbolt writes to them.
func (in *inspector) freelist(id uint64) {
	p := in.page(id)
	if p == nil {
		return
	}
	n, at := uint64(order.Uint16(p[10:])), headerSize
	if n == 0xffff {
		n, at = order.Uint64(p[at:]), at+8
	}
	if order.Uint16(p[8:]) != freelistPage || n > uint64(len(p)-at)/8 {
		in.bad(id, "is not the list of free pages")
		return
	}
	for i := range n {
		free := order.Uint64(p[uint64(at)+8*i:])
		if free >= in.high || in.used[free] {
			in.bad(id, "names page %d as free, which is in use or not there", free)
			return
		}
		in.used[free] = true
	}
}
