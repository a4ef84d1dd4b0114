package pyexec

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/tasks"
)

// piece is a run of units in one of the partials that are merged.
type piece struct {
	unitRun
	from *partialFile
	skip int64 // where its values begin, counted from those of the run in the file
	gone bool  // its values were taken, and are not written
}

// mergeValues makes one partial of several that hold values. Values are copied as they are, so that no process is
// needed and no file is ever in memory whole; those of units in taken are left out. Inputs that have a unit in common
// are refused.
func mergeValues(ctx context.Context, inputs []string, out string, taken tasks.Cover) (exec.Partial, error) {
	var pieces []piece
	result := exec.Partial{Path: out}
	for _, path := range inputs {
		p, err := openPartial(path)
		if err != nil {
			return exec.Partial{}, err
		}
		defer p.close()
		if p.mode != modeValues {
			return exec.Partial{}, fmt.Errorf("could not merge %q: it holds a sum, and others hold values", path)
		}
		result.Units, result.Canary = result.Units+p.units, result.Canary+p.canary
		for _, run := range p.runs {
			if pieces, err = p.divide(pieces, run, taken); err != nil {
				return exec.Partial{}, err
			}
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.First, b.First) })
	for i := 1; i < len(pieces); i++ {
		if pieces[i].First < pieces[i-1].Last {
			return exec.Partial{}, fmt.Errorf("could not merge partials: two have the unit %d", pieces[i].First)
		}
	}
	h := sha256.New()
	err := durable.Place(out, func(f *os.File) error {
		w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
		if err := writeValues(ctx, w, result, pieces); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		size, err := f.Seek(0, io.SeekCurrent)
		result.Size = size
		return err
	})
	if err != nil {
		return exec.Partial{}, diskFailure(ctx, err)
	}
	h.Sum(result.SHA256[:0])
	return result, nil
}

// divide appends the pieces of a run: those whose values were taken, and those between.
func (p *partialFile) divide(to []piece, run unitRun, taken tasks.Cover) ([]piece, error) {
	whole := tasks.CoverOf(run.Range)
	gone := whole.Intersect(taken)
	if gone.Empty() {
		return append(to, piece{unitRun: run, from: p}), nil
	}
	for i, cover := range []tasks.Cover{gone, whole.Minus(gone)} {
		for _, r := range cover {
			first, last := r.First-run.First, r.Last-run.First
			begin, err := p.end(run, first)
			if err != nil {
				return nil, err
			}
			end, err := p.end(run, last)
			if err == nil && end < begin {
				err = fmt.Errorf("%w: a value ends before it begins", ErrPartial)
			}
			if err != nil {
				return nil, err
			}
			part := piece{unitRun{r, run.index + first, run.at + begin, end - begin}, p, begin, i == 0}
			if part.gone {
				part.size = r.Len()
			}
			to = append(to, part)
		}
	}
	return to, nil
}

// diskFailure says of an error of writing a file that this node is to blame, unless nobody waits for it any more.
func diskFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &exec.Failure{Kind: exec.KindDisk, Op: "merge", Entry: -1, Msg: err.Error()}
}

// writeValues writes pieces, which are in order, as one file.
func writeValues(ctx context.Context, w io.Writer, of exec.Partial, pieces []piece) error {
	runs := joined(pieces)
	if err := writeHead(w, modeValues, of.Units, of.Canary, int64(len(runs))); err != nil {
		return err
	}
	list := int64(partialHead)
	for _, p := range pieces {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.Copy(w, p.values()); err != nil {
			return err
		}
		list += p.size
	}
	b := make([]byte, 0, partialRun)
	for _, r := range runs {
		b = b[:0]
		for _, n := range []int64{r.First, r.Last, r.at, r.size} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if err := writeAllEnds(ctx, w, runs, pieces); err != nil {
		return err
	}
	_, err := w.Write(binary.LittleEndian.AppendUint64(b[:0], uint64(list)))
	return err
}

// joined are the runs of the file that pieces make one after the other. Pieces that are neighbours are one run.
func joined(pieces []piece) (runs []unitRun) {
	at, units := int64(partialHead), int64(0)
	for _, p := range pieces {
		if n := len(runs); n > 0 && runs[n-1].Last == p.First {
			runs[n-1].Last, runs[n-1].size = p.Last, runs[n-1].size+p.size
		} else {
			runs = append(runs, unitRun{p.Range, units, at, p.size})
		}
		at, units = at+p.size, units+p.Len()
	}
	return runs
}

// writeAllEnds writes where the values of pieces end, counted from where their runs begin.
func writeAllEnds(ctx context.Context, w io.Writer, runs []unitRun, pieces []piece) error {
	at := int64(partialHead)
	for _, p := range pieces {
		if err := ctx.Err(); err != nil {
			return err
		}
		for p.First >= runs[0].Last {
			runs = runs[1:]
		}
		if err := p.writeEnds(w, at-runs[0].at); err != nil {
			return err
		}
		at += p.size
	}
	return nil
}

// values are the bytes of a piece as they are written.
func (p *piece) values() io.Reader {
	if p.gone {
		return bytes.NewReader(bytes.Repeat([]byte{takenValue}, int(p.size)))
	}
	return io.NewSectionReader(p.from.f, p.at, p.size)
}

// writeEnds writes where the values of a piece end, moved by so many bytes. Ends that do not ascend are an error.
func (p *piece) writeEnds(w io.Writer, by int64) error {
	r := bufio.NewReader(io.NewSectionReader(p.from.f, p.from.endsAt()+8*p.index, 8*p.Len()))
	last := uint64(0)
	var b [8]byte
	for range p.Len() {
		end := last + 1
		if !p.gone {
			if _, err := io.ReadFull(r, b[:]); err != nil {
				return err
			}
			end = binary.LittleEndian.Uint64(b[:]) - uint64(p.skip) // one that ends before the piece is too large then
		}
		if end < last || end > uint64(p.size) {
			return fmt.Errorf("%w: a value ends before it begins, or behind its run", ErrPartial)
		}
		last = end
		binary.LittleEndian.PutUint64(b[:], end+uint64(by))
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	return nil
}

func writeHead(w io.Writer, m mode, units int64, canary uint64, n int64) error {
	b := append(make([]byte, 0, partialHead), partialMagic...)
	b = append(b, partialVersion, byte(m), 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(units))
	b = binary.LittleEndian.AppendUint64(b, canary)
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	_, err := w.Write(b)
	return err
}
