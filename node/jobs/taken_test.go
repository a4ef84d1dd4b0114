package jobs

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestWhatWasTakenGoesPastABound: the first values that are taken stay, and a generation that is to seal waits for its
// values for a moment.
func TestWhatWasTakenGoesPastABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = keepTaken / 2
		var v takenValues
		v.told(0, &exec.Held{Ends: []uint64{size, 2 * size, 2*size + 1, 3*size + 1, 4*size + 1}})
		began := time.Now()
		wait := func(units tasks.Range) (tasks.Cover, time.Duration) {
			got := v.of(t.Context(), tasks.CoverOf(units))
			return got, time.Since(began)
		}
		if got, took := wait(tasks.R(2, 3)); !got.Empty() || took > 0 {
			t.Errorf("a small value goes, %v, after %v", got, took)
		}
		go func() {
			for _, unit := range []int64{0, 1, 3} {
				time.Sleep(takenSoon / 4)
				v.took(unit, size)
			}
		}()
		got, took := wait(tasks.R(0, 4))
		if want := tasks.CoverOf(tasks.R(3, 4)); !got.Equal(want) || took != takenSoon*3/4 || !v.without().Equal(want) {
			t.Errorf("%v go after %v, want %v", got, took, want)
		}
		began = time.Now()
		if got, took := wait(tasks.R(4, 5)); !got.Empty() || took > takenSoon {
			t.Errorf("what nobody takes goes, %v, or is waited for, %v", got, took)
		}
		if _, took := wait(tasks.R(4, 5)); took > takenSoon {
			t.Errorf("it is waited for again: %v", took)
		}
	})
}
