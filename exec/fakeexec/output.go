package fakeexec

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
)

// Output is a partial or, with nothing behind it, a result: one line of JSON. A partial is padded with zeros
// to the size that its code wants.
type Output struct {
	Units  int64   `json:"units"`
	Canary uint64  `json:"canary"`
	Bins   []int64 `json:"bins"`
	// Values are the values of the units, nil if the Spec keeps none.
	Values map[int64][]byte `json:"values"`
}

// maxLine bounds the line: bins of 20 digits, and some hundred thousand values.
const maxLine = 64 * maxBins

// newOutput is the output of a program that has done nothing.
func newOutput(s Spec) Output {
	o := Output{Bins: make([]int64, s.Bins)}
	if s.Values {
		o.Values = map[int64][]byte{}
	}
	return o
}

// ReadOutput reads a partial or a result.
func ReadOutput(path string) (out Output, err error) {
	f, err := os.Open(path)
	if err != nil {
		return out, fmt.Errorf("could not read an output: %w", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxLine)).Decode(&out); err != nil {
		return out, fmt.Errorf("could not read the output %q: %w", path, err)
	}
	if len(out.Bins) == 0 || len(out.Bins) > maxBins {
		return out, fmt.Errorf("could not read the output %q: it has %d bins", path, len(out.Bins))
	}
	return out, nil
}

// add merges another output into o.
func (o *Output) add(other Output) error {
	if len(other.Bins) != len(o.Bins) {
		return fmt.Errorf("could not merge histograms of %d and %d bins", len(o.Bins), len(other.Bins))
	}
	if (o.Values == nil) != (other.Values == nil) {
		return errors.New("could not merge outputs of which one has values and the other has none")
	}
	for unit, value := range other.Values {
		if _, twice := o.Values[unit]; twice {
			return fmt.Errorf("could not merge outputs that both have a value of the unit %d", unit)
		}
		o.Values[unit] = value
	}
	o.Units += other.Units
	o.Canary += other.Canary
	for i, n := range other.Bins {
		o.Bins[i] += n
	}
	return nil
}

// sumOf adds outputs up.
func sumOf(paths []string, s Spec) (Output, error) {
	sum := newOutput(s)
	for _, p := range paths {
		o, err := ReadOutput(p)
		if err == nil {
			err = sum.add(o)
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// store writes a partial of at least so many bytes, whole or not at all.
func (o Output) store(path string, size int64) (exec.Partial, error) {
	s := exec.Partial{Path: path, Units: o.Units, Canary: o.Canary}
	line, err := json.Marshal(o)
	if err != nil {
		return s, err
	}
	line = append(line, '\n')
	s.Size = max(size, int64(len(line)))
	h := sha256.New()
	err = durable.Place(path, func(f *os.File) error {
		w := bufio.NewWriter(io.MultiWriter(f, h))
		_, err := w.Write(line)
		if err == nil {
			_, err = io.CopyN(w, zeros{}, s.Size-int64(len(line)))
		}
		return errors.Join(err, w.Flush())
	})
	if err != nil {
		return s, &exec.Failure{Kind: exec.KindDisk, Op: "write", Entry: -1, Msg: err.Error()}
	}
	h.Sum(s.SHA256[:0])
	return s, nil
}

// damage flips a bit in the count of the last bin: units and canary stay as they are.
func damage(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[bytes.IndexByte(b, ']')-1] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// zeros is an endless input of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
