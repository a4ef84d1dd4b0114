package pyexec

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"sync"

	"github.com/dtpnode/dtpnode/wire"
)

// showSource is a program that reads values and writes what to show of each.
//
//go:embed show.py
var showSource string

// Shower shows values of units as text, by an interpreter that builds no object of any class but Python's own plain
// ones, and so runs nothing of what a value holds.
type Shower struct {
	mu  sync.Mutex
	cmd *osexec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// NewShower starts one. The caller closes it.
func NewShower(ctx context.Context, python string) (*Shower, error) {
	cmd := osexec.CommandContext(ctx, python, "-I", "-S", "-c", showSource)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("could not show values of Python: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("could not show values of Python: %w", err), in.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("could not show values of Python: %w", err)
	}
	return &Shower{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// maxShown bounds the text of one value, in bytes.
const maxShown = 1 << 20

// Text is what to show of a value, on one line, and whether it is that of an item at which the user's code has raised.
func (s *Shower) Text(value []byte) (text string, raised bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	opaque := fmt.Sprintf("a value of %d bytes that cannot be shown", len(value))
	if len(value) == 0 {
		return opaque, false
	}
	size := binary.BigEndian.AppendUint32(nil, uint32(len(value)))
	if _, err := s.in.Write(append(size, value...)); err != nil {
		return opaque, value[0] == 1
	}
	b, err := wire.ReadFrame(s.out, maxShown)
	if err != nil {
		return opaque, value[0] == 1
	}
	return string(b), value[0] == 1
}

// Close ends the interpreter.
func (s *Shower) Close() {
	_ = s.in.Close()
	_ = s.cmd.Wait() // what it could not show was said
}

// Sum reads the value in an output that holds a sum; it is None where no unit was run.
func Sum(path string) ([]byte, error) {
	p, err := openPartial(path)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if p.mode != modeSum {
		return nil, fmt.Errorf("could not read a sum from %q: it holds values", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("could not read a sum: %w", err)
	}
	if p.n == 0 {
		return []byte("\x00N."), nil // a pickle of None
	}
	return append([]byte{0}, content[partialHead:]...), nil
}
