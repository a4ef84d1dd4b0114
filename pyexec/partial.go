package pyexec

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// A partial, and the output of a job, is a file of this form, with little-endian numbers:
//
//	8 bytes  partialMagic
//	1 byte   version, 1
//	1 byte   what it holds: 0 values, 1 a sum
//	6 bytes  0
//	8 bytes  units
//	8 bytes  their canary
//	8 bytes  n: how many runs of consecutive units there are, or how many sums, at most one
//
// If it holds values, so many runs [first, last) of units follow, 16 bytes each, in order and without a unit in common;
// then for each unit, in order, where its value ends, 8 bytes, counted from the first value; then the values. The first
// byte of a value is 0, and what follows is a pickle of what the user's function returned for the item; or it is 1, and
// what follows is a pickle of the tuple (a pickle of the exception that it raised, or None; the exception in words; the
// traceback; the item in words).
//
// If it holds a sum, its pickle follows. A partial without units has none.
const (
	partialMagic   = "dtppypar"
	partialVersion = 1
	partialHead    = 40 // bytes
)

// mode is what a partial holds.
type mode byte

const (
	modeValues mode = 0
	modeSum    mode = 1
)

// maxRuns bounds the runs of a partial, which are held in memory: a merge has fewer, since it joins neighbours.
const maxRuns = 1 << 22

// ErrPartial is the root of all errors about a file that is no partial.
var ErrPartial = errors.New("not a partial of Python work")

// unitRun is a run of units in a file of values.
type unitRun struct {
	tasks.Range
	index int64 // how many units are in front of it in the file
}

// partialFile is an open partial.
type partialFile struct {
	f      *os.File
	size   int64
	mode   mode
	units  int64
	canary uint64
	n      int64
	runs   []unitRun
}

// openPartial opens a partial and checks all that can be known without reading the values.
func openPartial(path string) (*partialFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("could not open a partial: %w", err)
	}
	p := &partialFile{f: f}
	if err := p.readHead(); err != nil {
		return nil, errors.Join(fmt.Errorf("could not read the partial %q: %w", path, err), f.Close())
	}
	return p, nil
}

func (p *partialFile) close() { _ = p.f.Close() } // it was only read

// readHead reads all in front of the ends of the values.
func (p *partialFile) readHead() error {
	info, err := p.f.Stat()
	if err != nil {
		return err
	}
	p.size = info.Size()
	var h [partialHead]byte
	if _, err := io.ReadFull(p.f, h[:]); err != nil {
		return fmt.Errorf("%w: it has %d bytes", ErrPartial, p.size)
	}
	p.mode = mode(h[9])
	p.units = int64(binary.LittleEndian.Uint64(h[16:]))
	p.canary = binary.LittleEndian.Uint64(h[24:])
	p.n = int64(binary.LittleEndian.Uint64(h[32:]))
	if string(h[:8]) != partialMagic || h[8] != partialVersion || p.units < 0 {
		return ErrPartial
	}
	switch p.mode {
	case modeSum:
		if p.n < 0 || p.n > 1 || (p.n == 0) != (p.size == partialHead) || p.n == 0 && p.units > 0 {
			return fmt.Errorf("%w: %d sums of %d units in %d bytes", ErrPartial, p.n, p.units, p.size)
		}
		return nil
	case modeValues:
		return p.readRuns()
	}
	return fmt.Errorf("%w: it holds what is called %d", ErrPartial, p.mode)
}

// readRuns reads the runs, and holds the file's size against them.
func (p *partialFile) readRuns() error {
	if p.n < 0 || p.n > maxRuns || p.n > (p.size-partialHead)/16 {
		return fmt.Errorf("%w: %d runs in %d bytes", ErrPartial, p.n, p.size)
	}
	r := bufio.NewReader(p.f)
	var b [16]byte
	var units, last int64
	for range p.n {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		run := tasks.R(int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:])))
		if run.First < last || run.Last <= run.First || run.Len() > p.units-units {
			return fmt.Errorf("%w: its runs of units are not in order", ErrPartial)
		}
		p.runs = append(p.runs, unitRun{run, units})
		units, last = units+run.Len(), run.Last
	}
	if units != p.units || p.units > (p.size-p.endsAt())/8 {
		return fmt.Errorf("%w: it says %d units and has %d", ErrPartial, p.units, units)
	}
	end, err := p.end(p.units)
	if err != nil {
		return err
	}
	if end != p.size-p.valuesAt() {
		return fmt.Errorf("%w: its values do not end where the file does", ErrPartial)
	}
	return nil
}

// endsAt is where the ends of the values begin, and valuesAt where the values do.
func (p *partialFile) endsAt() int64   { return partialHead + 16*p.n }
func (p *partialFile) valuesAt() int64 { return p.endsAt() + 8*p.units }

// end is where the value of the i-th unit ends, from 1, counted from the first value; 0 for 0.
func (p *partialFile) end(i int64) (int64, error) {
	if i == 0 {
		return 0, nil
	}
	var b [8]byte
	if _, err := p.f.ReadAt(b[:], p.endsAt()+8*(i-1)); err != nil {
		return 0, fmt.Errorf("could not read where a value ends: %w", err)
	}
	e := binary.LittleEndian.Uint64(b[:])
	if e > uint64(p.size-p.valuesAt()) {
		return 0, fmt.Errorf("%w: a value ends behind the file", ErrPartial)
	}
	return int64(e), nil
}

// values calls each with the values of the units of a run that are in want.
func (p *partialFile) values(ctx context.Context, run unitRun, want tasks.Range, each func(int64, []byte) error) error {
	skip := want.First - run.First
	at, err := p.end(run.index + skip)
	if err != nil {
		return err
	}
	n := want.Len()
	ends := bufio.NewReader(io.NewSectionReader(p.f, p.endsAt()+8*(run.index+skip), 8*n))
	data := bufio.NewReaderSize(io.NewSectionReader(p.f, p.valuesAt()+at, p.size-p.valuesAt()-at), 1<<16)
	var b [8]byte
	var value []byte
	for unit := want.First; unit < want.Last; unit++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(ends, b[:]); err != nil {
			return fmt.Errorf("could not read where a value ends: %w", err)
		}
		end := binary.LittleEndian.Uint64(b[:])
		if end < uint64(at) || end > uint64(p.size-p.valuesAt()) {
			return fmt.Errorf("%w: the value of unit %d ends before it begins, or behind the file", ErrPartial, unit)
		}
		size := int64(end) - at
		if int64(cap(value)) < size {
			value = make([]byte, size) // no more than the file has
		}
		value = value[:size]
		if _, err := io.ReadFull(data, value); err != nil {
			return fmt.Errorf("could not read the value of unit %d: %w", unit, err)
		}
		if err := each(unit, value); err != nil {
			return err
		}
		at = int64(end)
	}
	return nil
}

// Counted reads the units and the canary of a partial.
func (*Finder) Counted(path string) (units int64, canary uint64, err error) {
	p, err := openPartial(path)
	if err != nil {
		return 0, 0, err
	}
	defer p.close()
	return p.units, p.canary, nil
}

// Values reads values of units out of a partial, or out of the output of a job.
func (*Finder) Values(ctx context.Context, path string, units tasks.Cover, each func(int64, []byte) error) error {
	p, err := openPartial(path)
	if err != nil {
		return err
	}
	defer p.close()
	if p.mode != modeValues {
		return fmt.Errorf("%w: it is a sum", exec.ErrNoValues)
	}
	for _, run := range p.runs {
		for _, want := range units.Intersect(tasks.CoverOf(run.Range)) {
			if err := p.values(ctx, run, want, each); err != nil {
				return fmt.Errorf("could not read the values in %q: %w", path, err)
			}
		}
	}
	return nil
}
