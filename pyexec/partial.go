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
//	1 byte   version, 2
//	1 byte   what it holds: 0 values, 1 a sum
//	6 bytes  0
//	8 bytes  units
//	8 bytes  their canary
//	8 bytes  n: how many runs of consecutive units there are, or how many sums, at most one
//
// If it holds values, they follow, the runs in any order: a process writes them as they come, and the file becomes the
// partial as it is when what says where they are is written behind them, so that values which are large are written
// once. That is
//
//	32 bytes a run   the units [first, last), where its values begin in the file, and how many bytes they have; the runs
//	                 are in the order of their units, without a unit in common
//	8 bytes a unit   in that order, where its value ends, counted from where those of its run begin
//	8 bytes          where the first of these 32 bytes are
//
// The first byte of a value is 0, and what follows is a pickle of what the user's function returned for the item; or it
// is 1, and what follows is a pickle of the tuple (a pickle of the exception that it raised, or None; the exception in
// words; the traceback; the item in words). A value that is the byte 2 alone was taken: its user had it, and it is not
// kept any more.
//
// If it holds a sum, its pickle follows. A partial without units has none.
const (
	partialMagic   = "dtppypar"
	partialVersion = 2
	partialHead    = 40 // bytes
	partialRun     = 32 // bytes
	partialTail    = 8  // bytes
	takenValue     = 2
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
	index int64 // how many units are in the runs before it
	at    int64 // where its values begin in the file
	size  int64 // of its values, in bytes
}

// partialFile is an open partial.
type partialFile struct {
	f      *os.File
	size   int64
	mode   mode
	units  int64
	canary uint64
	n      int64
	list   int64 // where the list of runs begins
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

// readRuns reads the runs, and holds the file's size against them. Runs never have more bytes together than the file
// has, so that what is read of a file, or a merge of it, is no larger than the file.
func (p *partialFile) readRuns() error {
	if p.size < partialHead+partialTail {
		return fmt.Errorf("%w: it has %d bytes", ErrPartial, p.size)
	}
	var b [partialRun]byte
	if _, err := p.f.ReadAt(b[:partialTail], p.size-partialTail); err != nil {
		return err
	}
	p.list = int64(binary.LittleEndian.Uint64(b[:]))
	if p.list < partialHead || p.list > p.size-partialTail {
		return fmt.Errorf("%w: the list of its runs is said to be at %d, of %d bytes", ErrPartial, p.list, p.size)
	}
	if p.n < 0 || p.n > maxRuns || p.n > (p.size-partialTail-p.list)/partialRun {
		return fmt.Errorf("%w: %d runs in %d bytes", ErrPartial, p.n, p.size)
	}
	r := bufio.NewReader(io.NewSectionReader(p.f, p.list, partialRun*p.n))
	var units, last int64
	room := p.list - partialHead
	for range p.n {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		number := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
		run := unitRun{tasks.R(number(0), number(1)), units, number(2), number(3)}
		if run.First < last || run.Last <= run.First || run.Len() > p.units-units {
			return fmt.Errorf("%w: its runs of units are not in order", ErrPartial)
		}
		if run.size < 0 || run.size > room || run.at < partialHead || run.at > p.list-run.size {
			return fmt.Errorf("%w: values lie where there are none", ErrPartial)
		}
		p.runs = append(p.runs, run)
		units, last, room = units+run.Len(), run.Last, room-run.size
	}
	if units != p.units || p.units != (p.size-partialTail-p.endsAt())/8 || (p.size-partialTail-p.endsAt())%8 != 0 {
		return fmt.Errorf("%w: it says %d units and has %d", ErrPartial, p.units, units)
	}
	return nil
}

// endsAt is where the ends of the values begin.
func (p *partialFile) endsAt() int64 { return p.list + partialRun*p.n }

// end is where the value of the i-th unit of a run ends, from 1, counted from the first value of the run; 0 for 0.
func (p *partialFile) end(run unitRun, i int64) (int64, error) {
	if i == 0 {
		return 0, nil
	}
	var b [8]byte
	if _, err := p.f.ReadAt(b[:], p.endsAt()+8*(run.index+i-1)); err != nil {
		return 0, fmt.Errorf("could not read where a value ends: %w", err)
	}
	e := binary.LittleEndian.Uint64(b[:])
	if e > uint64(run.size) {
		return 0, fmt.Errorf("%w: a value ends behind those of its run", ErrPartial)
	}
	return int64(e), nil
}

// values calls each with the values of the units of a run that are in want.
func (p *partialFile) values(ctx context.Context, run unitRun, want tasks.Range, each func(int64, []byte) error) error {
	skip := want.First - run.First
	at, err := p.end(run, skip)
	if err != nil {
		return err
	}
	n := want.Len()
	ends := bufio.NewReader(io.NewSectionReader(p.f, p.endsAt()+8*(run.index+skip), 8*n))
	data := bufio.NewReaderSize(io.NewSectionReader(p.f, run.at+at, run.size-at), 1<<16)
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
		if end < uint64(at) || end > uint64(run.size) {
			return fmt.Errorf("%w: the value of unit %d ends before it begins, or behind its run", ErrPartial, unit)
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

// maxLocated bounds how many values are told of at a time.
const maxLocated = 10_000

// Locate tells where values of units lie in a partial.
func (*Finder) Locate(
	ctx context.Context, path string, units tasks.Cover, each func(first, at int64, ends []uint64) error,
) error {
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
			for want.Len() > 0 && err == nil {
				some := tasks.R(want.First, min(want.Last, want.First+maxLocated))
				err = p.locate(run, some, each)
				want.First = some.Last
				err = errors.Join(err, ctx.Err())
			}
			if err != nil {
				return fmt.Errorf("could not find the values in %q: %w", path, err)
			}
		}
	}
	return nil
}

// locate calls each with where the values of the units of a run lie that are in want.
func (p *partialFile) locate(run unitRun, want tasks.Range, each func(first, at int64, ends []uint64) error) error {
	skip := want.First - run.First
	at, err := p.end(run, skip)
	if err != nil {
		return err
	}
	b := make([]byte, 8*want.Len())
	if _, err := p.f.ReadAt(b, p.endsAt()+8*(run.index+skip)); err != nil {
		return fmt.Errorf("could not read where values end: %w", err)
	}
	ends, last := make([]uint64, want.Len()), uint64(at)
	for i := range ends {
		end := binary.LittleEndian.Uint64(b[8*i:])
		if end < last || end > uint64(run.size) {
			return fmt.Errorf("%w: the value of unit %d ends before it begins, or behind its run", ErrPartial,
				want.First+int64(i))
		}
		ends[i], last = end-uint64(at), end
	}
	return each(want.First, run.at+at, ends)
}
