//go:build liars

package node

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// poisonShare changes the objects of what this node tells of what is watched (shareTold of node/jobs).
func (d *Daemon) poisonShare(b []byte) ([]byte, error) {
	var told struct {
		Pieces []struct {
			Cover  tasks.Cover `msgpack:"c"`
			SHA256 string      `msgpack:"s"`
			Size   int64       `msgpack:"b"`
			Left   []string    `msgpack:"l"`
		} `msgpack:"p"`
		Late int `msgpack:"l"`
	}
	if err := wire.Unmarshal(b, &told); err != nil {
		return b, err
	}
	seed, _ := strconv.Atoi(os.Getenv(envLiar))
	for i := range told.Pieces {
		p := &told.Pieces[i]
		for _, path := range d.blobs.Paths(p.SHA256) {
			body, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			body = poison(body, seed)
			p.SHA256, p.Size = store.HashOf(body), int64(len(body))
			to := filepath.Join(d.cfg.StateDir, "poisoned-"+p.SHA256)
			if durable.Write(to, body) == nil {
				d.blobs.Add(p.SHA256, to)
			}
			break
		}
		p.Left = []string{strings.Repeat("\x1b[2Jlie", 100_000)}
	}
	return wire.Marshal(&told)
}

// madeUp counts the names of files that this process has made up.
var madeUp atomic.Int64

// record is one of a blob of ROOT (rootexec/child/blob.h).
type record struct {
	flags, ordinal uint32
	name, class    string
	object         []byte
}

// poison changes all objects of a blob but those of dtpnode, so that the blob counts what it did.
func poison(blob []byte, seed int) []byte {
	const head = 16
	if len(blob) < head || string(blob[:8]) != "DTPBLOB1" {
		return blob
	}
	var all []record
	var number []byte
	for at := head; at+24 <= len(blob); {
		name, class := int(binary.BigEndian.Uint32(blob[at+8:])), int(binary.BigEndian.Uint32(blob[at+12:]))
		size := int(binary.BigEndian.Uint64(blob[at+16:]))
		r := record{flags: binary.BigEndian.Uint32(blob[at:]), ordinal: binary.BigEndian.Uint32(blob[at+4:])}
		at += 24
		r.name, r.class = string(blob[at:at+name]), string(blob[at+name:at+name+class])
		r.object = blob[at+name+class : at+name+class+size]
		at += name + class + size
		if r.name == "dtpnode.units" {
			number = r.object
		}
		all = append(all, r)
	}
	out := bytes.NewBuffer(bytes.Clone(blob[:head]))
	put := func(r record) {
		var b [24]byte
		binary.BigEndian.PutUint32(b[:], r.flags)
		binary.BigEndian.PutUint32(b[4:], r.ordinal)
		binary.BigEndian.PutUint32(b[8:], uint32(len(r.name)))
		binary.BigEndian.PutUint32(b[12:], uint32(len(r.class)))
		binary.BigEndian.PutUint64(b[16:], uint64(len(r.object)))
		out.Write(b[:])
		out.WriteString(r.name + r.class)
		out.Write(r.object)
	}
	for _, r := range all {
		if !strings.HasPrefix(r.name, "dtpnode.") {
			r = poisonedRecord(r, seed, number)
		}
		put(r)
	}
	switch seed {
	case 5: // an output file that is none, beside the objects
		put(record{flags: 2, name: "../../../../../../tmp/evil.root", class: "TFile", object: []byte("root, says the liar")})
	case 6:
		put(record{flags: 2, name: strings.Repeat("a", 5000) + "\x1b[2J\n.root", class: "TFile", object: number})
	case 7: // many names
		for i := range 60_000 {
			put(record{flags: 2, name: strings.Repeat("a", 1+i%200) + string(rune('a'+i%26)), class: "TFile", object: number})
		}
	case 10: // few enough names for one, which become more than a job may have
		for i := range 20_000 {
			name := "made-up-" + strconv.FormatInt(madeUp.Add(1), 10) + "-" + strconv.Itoa(i) + ".root"
			put(record{flags: 2, name: name, class: "TFile", object: []byte("root")})
		}
	case 8: // an object that the job does not have, with a name that controls a terminal
		for range 1000 {
			put(record{name: "\x1b[2Jevil\r\n", class: "TParameter<Long64_t>", object: number})
		}
	case 9:
		put(record{name: "dtpnode.skipped", class: "TParameter<Long64_t>", object: number})
		put(record{name: "dtpnode.members", class: "TList", object: []byte(strings.Repeat("x", 100))})
		put(record{name: "dtpnode.units", class: "TList", object: number})
	}
	return out.Bytes()
}

// poisonedRecord is another object in a record's place.
func poisonedRecord(r record, seed int, number []byte) record {
	switch seed {
	case 1: // no object
		r.object = bytes.Repeat([]byte{0xa5}, len(r.object))
	case 2: // another object than is said
		r.object = number
	case 3: // another class, and another object
		r.class, r.object = "TParameter<Long64_t>", number
	case 4: // an object with a broken middle
		r.object = bytes.Clone(r.object)
		for i := len(r.object) / 3; i < len(r.object)/2; i++ {
			r.object[i] = 0xff
		}
	}
	return r
}
