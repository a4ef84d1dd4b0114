package exec

import (
	"context"
	"errors"

	"github.com/dtpnode/dtpnode/tasks"
)

// Values is what a Finder implements besides if programs of its kind can keep the value of each unit, such as what a
// function returned for one item. Merges of such partials keep the values too, each once, so that the value of a unit
// can be asked for from whichever partial holds it, before the job ends and after.
type Values interface {
	// Values calls each with the value of every unit that is in units and in the partial at path, ordered by unit, and
	// ends with the error of each or that of ctx. A value is valid during the call alone. It needs no runtime on the host,
	// as Counted needs none. A partial of a program that keeps no values is refused with ErrNoValues, also where units is
	// empty.
	Values(ctx context.Context, path string, units tasks.Cover, each func(unit int64, value []byte) error) error
}

// ErrNoValues says, under errors.Is, that a partial has no values of single units: its output is of all together.
var ErrNoValues = errors.New("the output is of all units together, and has no value of a single one")

// Located is what a Values implements besides if the values of consecutive units lie in a partial one after the other,
// as they are: then they need not be read to be handed on.
type Located interface {
	// Locate calls each with where the values of consecutive units lie in the partial at path, for all units that are in
	// units and in it, ordered by unit: that of first begins at the byte at, and each ends so many bytes behind that.
	// There is at least one, and ends is the callee's to keep. The error is as of Values.
	Locate(
		ctx context.Context, path string, units tasks.Cover, each func(first, at int64, ends []uint64) error,
	) error
}
