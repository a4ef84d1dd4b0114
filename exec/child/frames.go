package child

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/wire"
)

// Protocol is the version of what the package comment describes. A program that says another is not driven.
const Protocol = 1

// maxFrame bounds a frame: the biggest is the list of partials of a merge.
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

// BeginFrame is the request with which a generation begins. A runtime embeds it in a frame that has fields of its own.
type BeginFrame struct {
	Op       string `msgpack:"op"`
	Job      uint64 `msgpack:"job"`
	Input    string `msgpack:"input,omitempty"` // path, empty for none
	Hints    []byte `msgpack:"hints,omitempty"`
	Dir      string `msgpack:"dir"`
	Data     string `msgpack:"data,omitempty"` // folder for files that stay on this host, empty for none
	Memory   int64  `msgpack:"memory"`         // bytes, 0 for no limit
	FileSize int64  `msgpack:"filesize"`       // bytes, 0 for no limit
	Entries  int64  `msgpack:"entries"`        // of all files of the job
}

func newBegin(spec exec.GenSpec) BeginFrame {
	return BeginFrame{
		Op: "begin", Job: spec.Job, Input: spec.Input, Hints: spec.Hints, Dir: spec.Dir, Data: spec.Data,
		Memory: spec.Memory, FileSize: spec.FileSize, Entries: spec.Entries,
	}
}

// packetFrame hands a process a packet. Seq counts those of a generation: the shared page tells up to which one the
// process is to stop. Clip lets the packet end behind the end of its file.
type packetFrame struct {
	Op string `msgpack:"op"`
	exec.Packet
	Seq  uint64 `msgpack:"seq"`
	Clip bool   `msgpack:"clip"`
}

type sealFrame struct {
	Op   string `msgpack:"op"`
	Path string `msgpack:"path"`
}

type snapshotFrame struct {
	Op    string   `msgpack:"op"`
	ID    uint64   `msgpack:"id"`
	Names []string `msgpack:"names"`
	Most  int64    `msgpack:"most"` // bytes of one object
	Path  string   `msgpack:"path"`
}

// Reply is what the driver knows of any frame that a process sends. Op says which fields count: those of Done for done,
// those of Partial for sealed. ID is also that of forked, error and refused, and Last, with First, the blame of failed.
type Reply struct {
	Op string `msgpack:"op"`
	exec.Done
	exec.Partial

	Protocol int    `msgpack:"protocol"` // hello
	Version  string `msgpack:"version"`

	PID    int   `msgpack:"pid"`    // forked
	Status int   `msgpack:"status"` // exited
	MaxRSS int64 `msgpack:"maxrss"`

	Kind  string `msgpack:"kind"` // failed, refused
	Errno int    `msgpack:"errno"`
	What  string `msgpack:"what"`
	File  string `msgpack:"file"`
	Entry int64  `msgpack:"entry"`
	First int64  `msgpack:"first"`
	Exit  int    `msgpack:"exit"`
	Msg   string `msgpack:"msg"`
	Stack string `msgpack:"stack"`
	Adds  bool   `msgpack:"adds"`
	Cause []byte `msgpack:"cause"`

	body []byte
}

// Decode reads the whole frame into v, a pointer to a struct of the runtime, with the fields that only the runtime
// knows.
func (r *Reply) Decode(v any) error {
	if err := wire.Unmarshal(r.body, v); err != nil {
		return fmt.Errorf("could not understand the reply %q: %w", r.Op, err)
	}
	return nil
}

func readReply(r io.Reader) (*Reply, error) {
	b, err := wire.ReadFrame(r, maxFrame)
	if err != nil {
		return nil, err
	}
	out := Reply{body: b}
	if err := wire.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("could not understand a child: %w", err)
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
		return nil, fmt.Errorf("%w: %d bytes for a child", wire.ErrFrameTooLarge, len(b))
	}
	out := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	return append(out, b...), nil
}
