package rootexec

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dtpnode/dtpnode/wire"
)

// protocolVersion is kProtocol of child/protocol.h, which says what the frames mean.
const protocolVersion = 1

// maxFrame bounds a frame from a child: the biggest is the input list.
const maxFrame = 256 << 20

type forkFrame struct {
	Op   string `msgpack:"op"`
	ID   uint64 `msgpack:"id"`
	Role string `msgpack:"role"`
}

type signalFrame struct {
	Op  string `msgpack:"op"`
	PID int    `msgpack:"pid"`
	Sig int    `msgpack:"sig"`
}

type loadFrame struct {
	Op    string `msgpack:"op"`
	So    string `msgpack:"so"`
	Dir   string `msgpack:"dir"`
	Class string `msgpack:"class"`
}

type planFrame struct {
	Op   string `msgpack:"op"`
	File string `msgpack:"file"`
	Tree string `msgpack:"tree"`
}

type compileFrame struct {
	Op      string `msgpack:"op"`
	Dir     string `msgpack:"dir"`     // of the library
	Sources string `msgpack:"sources"` // folder of Main
	Main    string `msgpack:"main"`    // base name
	Lib     string `msgpack:"lib"`
	CXX     string `msgpack:"cxx"`
	Options string `msgpack:"options"` // of Source
}

type beginFrame struct {
	Op       string `msgpack:"op"`
	Input    []byte `msgpack:"input,omitempty"`
	Option   string `msgpack:"option"`
	Job      uint64 `msgpack:"job"`
	Memory   int64  `msgpack:"memory"`
	FileSize int64  `msgpack:"filesize"`
	Dir      string `msgpack:"dir"`
	Lax      bool   `msgpack:"lax"`
}

type packetFrame struct {
	Op    string `msgpack:"op"`
	ID    uint64 `msgpack:"id"`
	Seq   uint64 `msgpack:"seq"`
	File  string `msgpack:"file"`
	Tree  string `msgpack:"tree"`
	First int64  `msgpack:"first"`
	Last  int64  `msgpack:"last"`
	Base  int64  `msgpack:"base"`
	Clip  bool   `msgpack:"clip"`
	Total int64  `msgpack:"total"` // entries of the whole tree as planned, 0 if unknown
	UUID  string `msgpack:"uuid,omitempty"`
}

type pathFrame struct {
	Op   string `msgpack:"op"`
	Path string `msgpack:"path"`
}

type mergeFrame struct {
	Op     string   `msgpack:"op"`
	Inputs []string `msgpack:"inputs"`
	Path   string   `msgpack:"path"`
}

type startFrame struct {
	Op     string            `msgpack:"op"`
	Option string            `msgpack:"option"`
	Params map[string]string `msgpack:"params,omitempty"`
	Dir    string            `msgpack:"dir"`
	Env    []string          `msgpack:"env,omitempty"`
}

type finishFrame struct {
	Op       string   `msgpack:"op"`
	Partials []string `msgpack:"partials"`
	Path     string   `msgpack:"path"`
}

// reply is every frame a child sends. Which fields count, Op says.
type reply struct {
	Op string `msgpack:"op"`

	Protocol int    `msgpack:"protocol"` // hello
	Root     string `msgpack:"root"`

	ID     uint64 `msgpack:"id"` // forked, error, done
	PID    int    `msgpack:"pid"`
	Status int    `msgpack:"status"` // exited
	MaxRSS int64  `msgpack:"maxrss"`

	Tree     string  `msgpack:"tree"` // planned
	Entries  int64   `msgpack:"entries"`
	Clusters []int64 `msgpack:"clusters"`
	Bytes    int64   `msgpack:"bytes"` // also done
	UUID     string  `msgpack:"uuid"`

	Last   int64 `msgpack:"last"` // done, failed
	Ns     int64 `msgpack:"ns"`
	Opened bool  `msgpack:"opened"`

	So     string   `msgpack:"so"`    // compiled
	Input  []byte   `msgpack:"input"` // begun
	Units  int64    `msgpack:"units"` // sealed, finished
	Canary uint64   `msgpack:"canary"`
	Apart  []string `msgpack:"apart"`
	Mixed  []string `msgpack:"mixed"`
	Keys   int      `msgpack:"keys"`

	Skipped        []skippedFrame `msgpack:"skipped"` // finished
	SkippedFiles   int            `msgpack:"skippedfiles"`
	SkippedEntries int64          `msgpack:"skippedentries"`
	Objects        []objectFrame  `msgpack:"objects"`

	Kind  string `msgpack:"kind"`  // failed
	Errno int    `msgpack:"errno"` // or unopened
	What  string `msgpack:"what"`
	File  string `msgpack:"file"`
	Entry int64  `msgpack:"entry"`
	First int64  `msgpack:"first"`
	Exit  int    `msgpack:"exit"`
	Msg   string `msgpack:"msg"`
}

type skippedFrame struct {
	File    string `msgpack:"file"`
	First   int64  `msgpack:"first"`
	Entries int64  `msgpack:"entries"`
}

type objectFrame struct {
	Name    string  `msgpack:"name"`
	Class   string  `msgpack:"class"`
	Entries float64 `msgpack:"entries"`
}

func readReply(r io.Reader) (*reply, error) {
	b, err := wire.ReadFrame(r, maxFrame)
	if err != nil {
		return nil, err
	}
	var out reply
	if err := wire.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("could not understand the ROOT child: %w", err)
	}
	return &out, nil
}

// frame encodes v with its length: one write, so that descriptors travel with the whole frame.
func frame(v any) ([]byte, error) {
	b, err := wire.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes for the ROOT child", wire.ErrFrameTooLarge, len(b))
	}
	out := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	return append(out, b...), nil
}
