package backlog

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/wire"
)

// A file is records, one after the other, and only ever grows at its end:
//
//	4 bytes  how many bytes follow the sum, little-endian
//	4 bytes  the CRC-32C of these
//	1 byte   the kind
//	         in msgpack: 'h' a head, 'c' spans of cancelled calls, 's' a Send, 'p' a Process
//	         'k': 8 bytes with the number of the first call, 4 bytes with how many there are, both little-endian, and
//	         then an api.ExchangeKeep, in msgpack
//
// It begins with a head. Where a daemon was killed while it wrote, the last record is cut off: it counts as not there.
const recordHead = 9

// head is what was so when the file was begun.
type head struct {
	Upto      uint64  `msgpack:"u"`
	Most      int64   `msgpack:"m"`
	Cancelled []Span  `msgpack:"c"`
	Sends     []Send  `msgpack:"s"`
	Owner     Process `msgpack:"p"`
	Through   uint64  `msgpack:"t"`
	Based     bool    `msgpack:"b"`
}

// frame is where calls are in a file.
type frame struct {
	calls Span
	at    int64 // of its record
	size  int   // of that, whole
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// file is an open file with its frames.
type file struct {
	f      *os.File
	size   int64
	frames []frame
}

// record lays a record out.
func record(kind byte, body ...[]byte) []byte {
	size := 1
	for _, b := range body {
		size += len(b)
	}
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, size+recordHead-1), uint32(size))
	out = append(out, 0, 0, 0, 0, kind)
	for _, b := range body {
		out = append(out, b...)
	}
	binary.LittleEndian.PutUint32(out[4:], crc32.Checksum(out[recordHead-1:], castagnoli))
	return out
}

// recordOf is a record of a value in msgpack.
func recordOf(kind byte, v any) ([]byte, error) {
	b, err := wire.Marshal(v)
	return record(kind, b), err
}

// create begins a file. One that was there before is replaced when the new one has its head.
func create(path string, h *head) (*file, error) {
	b, err := recordOf('h', h)
	if err != nil {
		return nil, err
	}
	if err := durable.PlaceSynced(path, durable.Bytes(b)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &file{f: f, size: int64(len(b))}, nil
}

// append adds a record. Where that fails nothing of it is there.
func (f *file) append(b []byte) error {
	if _, err := f.f.WriteAt(b, f.size); err != nil {
		return errors.Join(err, f.f.Truncate(f.size))
	}
	f.size += int64(len(b))
	return nil
}

// keep adds calls.
func (f *file) keep(calls Span, k *api.ExchangeKeep) error {
	body, err := wire.Marshal(k)
	if err != nil {
		return err
	}
	numbers := binary.LittleEndian.AppendUint64(nil, k.First)
	numbers = binary.LittleEndian.AppendUint32(numbers, uint32(len(k.Ends)/4))
	b := record('k', numbers, body)
	at := f.size
	if err := f.append(b); err != nil {
		return err
	}
	f.frames = append(f.frames, frame{calls: calls, at: at, size: len(b)})
	return nil
}

// read reads the record at an offset; its kind is in front of the body.
func (f *file) read(at int64, size int) ([]byte, error) {
	b := make([]byte, size)
	if _, err := f.f.ReadAt(b, at); err != nil {
		return nil, err
	}
	if size < recordHead || binary.LittleEndian.Uint32(b) != uint32(size-recordHead+1) ||
		binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[recordHead-1:], castagnoli) {
		return nil, fmt.Errorf("the record at %d of %s is damaged", at, f.f.Name())
	}
	return b[recordHead-1:], nil
}

// calls reads the calls of a frame.
func (f *file) calls(fr frame) (*api.ExchangeKeep, error) {
	b, err := f.read(fr.at, fr.size)
	if err != nil {
		return nil, err
	}
	k := &api.ExchangeKeep{}
	if len(b) < 13 {
		return nil, fmt.Errorf("the record at %d of %s has no calls", fr.at, f.f.Name())
	}
	if err := wire.Unmarshal(b[13:], k); err != nil {
		return nil, err
	}
	_, err = count(k)
	return k, err
}

// damage is what cannot be read of a file.
type damage struct {
	records int
	doubt   bool // one of them may have said which calls are not to run
}

// load opens a file, and tells on what is in it, in order. What a kill has cut off at its end is taken away.
func load(path string, on func(h *head, e Event)) (f *file, damaged damage, err error) {
	o, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, damaged, err
	}
	f = &file{f: o}
	info, err := o.Stat()
	if err != nil {
		return nil, damaged, errors.Join(err, o.Close())
	}
	in := bufio.NewReaderSize(io.NewSectionReader(o, 0, info.Size()), 1<<20)
	for {
		size, body, err := next(in, info.Size()-f.size)
		if size == 0 {
			break
		}
		if err == nil {
			err = f.tell(body, size, on)
		}
		if err != nil {
			damaged.records++
			// Of calls no more is lost than they are, and what the ledger has of which no Send tells is seen there.
			damaged.doubt = damaged.doubt || body[0] != 'k' && body[0] != 's' && body[0] != 'p' || hides(body)
		}
		f.size += int64(size)
	}
	// Where lengths are wrong nobody knows what is behind them. A kill has cut off one record, with none behind it.
	rest := make([]byte, info.Size()-f.size)
	if _, err := o.ReadAt(rest, f.size); err != nil {
		return nil, damaged, errors.Join(err, o.Close())
	}
	if hides(rest) || damaged.records > 0 && len(rest) > 0 {
		damaged.records, damaged.doubt = damaged.records+1, true
	}
	if err := o.Truncate(f.size); err != nil {
		return nil, damaged, errors.Join(err, o.Close())
	}
	return f, damaged, nil
}

// hides reports whether there is a whole record in what is no record.
func hides(rest []byte) bool {
	for at := 0; at+recordHead <= len(rest); at++ {
		n, body := int64(binary.LittleEndian.Uint32(rest[at:])), rest[at+recordHead-1:]
		if n > 0 && n <= int64(len(body)) && bytes.IndexByte([]byte("hcspk"), body[0]) >= 0 &&
			binary.LittleEndian.Uint32(rest[at+4:]) == crc32.Checksum(body[:n], castagnoli) {
			return true
		}
	}
	return false
}

// next reads the next record of a file of which so many bytes are left; size is 0 where there is no whole one.
func next(in *bufio.Reader, left int64) (size int, body []byte, err error) {
	var top [recordHead - 1]byte
	if _, err := io.ReadFull(in, top[:]); err != nil {
		return 0, nil, err
	}
	n := int64(binary.LittleEndian.Uint32(top[:]))
	if n < 1 || n > left-int64(len(top)) || n > api.MaxExchange+1024 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(in, body); err != nil {
		return 0, nil, err
	}
	size = len(top) + int(n)
	sum, kind := binary.LittleEndian.Uint32(top[4:]), body[0]
	if sum == crc32.Checksum(body, castagnoli) {
		return size, body, nil
	}
	for _, body[0] = range []byte("hcspk") { // the kind itself may be what is damaged
		if sum == crc32.Checksum(body, castagnoli) {
			return size, body, nil
		}
	}
	body[0] = kind
	return size, body, errors.New("it is damaged")
}

// tell tells of one record.
func (f *file) tell(body []byte, size int, on func(*head, Event)) error {
	switch kind, rest := body[0], body[1:]; kind {
	case 'h':
		h := &head{}
		if err := wire.Unmarshal(rest, h); err != nil {
			return err
		}
		on(h, Loaded{
			Upto: h.Upto, Most: h.Most, Cancelled: h.Cancelled, Sends: h.Sends, Through: h.Through, Based: h.Based,
		})
	case 'p':
		h := &head{}
		if err := wire.Unmarshal(rest, &h.Owner); err != nil {
			return err
		}
		on(h, nil)
	case 'c':
		var c Cancelled
		if err := wire.Unmarshal(rest, &c); err != nil {
			return err
		}
		on(nil, c)
	case 's':
		var s Send
		if err := wire.Unmarshal(rest, &s); err != nil {
			return err
		}
		on(nil, Sends{s})
	case 'k':
		if len(rest) < 12 {
			return errors.New("it has no calls")
		}
		first := binary.LittleEndian.Uint64(rest)
		calls := Span{first, first + uint64(binary.LittleEndian.Uint32(rest[8:]))}
		if n := len(f.frames); n > 0 {
			calls.First = max(calls.First, f.frames[n-1].calls.Last)
		}
		f.frames = append(f.frames, frame{calls: calls, at: f.size, size: size})
		on(nil, Kept{Calls: calls, Most: -1})
	}
	return nil
}
