package tasks

import (
	"math"
	"testing"
	"time"
)

// TestLimits: limits come by wire from whoever may submit, so that each has a least value, and none a sign.
func TestLimits(t *testing.T) {
	for _, l := range []Limits{
		{},
		{
			Memory:    LeastMemory,
			Stall:     LeastTime,
			Open:      LeastTime,
			EntryCPU:  LeastTime,
			Processes: 1,
			FileSize:  LeastSize,
			Scratch:   LeastSize,
		},
		{
			Memory:    math.MaxInt64,
			Stall:     math.MaxInt64,
			Open:      math.MaxInt64,
			EntryCPU:  math.MaxInt64,
			Processes: math.MaxInt,
			FileSize:  math.MaxInt64,
			Scratch:   math.MaxInt64,
		},
	} {
		if err := l.Check(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
	for _, d := range []time.Duration{-1, 1, 3, time.Millisecond, LeastTime - 1, math.MinInt64} {
		for _, l := range []Limits{{Stall: d}, {Open: d}, {EntryCPU: d}} {
			if l.Check() == nil {
				t.Errorf("accepted %+v", l)
			}
			if j := (Job{Protocol: Protocol, Limits: l}); j.Check() == nil {
				t.Errorf("accepted a job with %+v", l)
			}
		}
	}
	for _, n := range []int64{-1, 1, 1023, LeastSize - 1, math.MinInt64} {
		for _, l := range []Limits{{Memory: n}, {FileSize: n}, {Scratch: n}} {
			if l.Check() == nil {
				t.Errorf("accepted %+v", l)
			}
		}
	}
	if (Limits{Processes: -1}).Check() == nil {
		t.Error("accepted a negative number of processes")
	}
}
