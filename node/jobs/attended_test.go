package jobs

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/backlog"
)

// TestAttended: a job is alone from the first look without a program on, until one comes.
func TestAttended(t *testing.T) {
	var a attended
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	want := func(now int, alone time.Duration) {
		t.Helper()
		if got := a.alone("job", at(now)); got != alone {
			t.Errorf("at %d s it is alone for %v, want %v", now, got, alone)
		}
	}
	want(10, 0)
	want(15, 5*time.Second)
	first, second := a.come("job", backlog.Process{}), a.come("job", backlog.Process{})
	want(20, 0)
	first()
	want(30, 0)
	second()
	want(40, 0)
	want(47, 7*time.Second)
	a.keep(map[string]bool{"job": true})
	want(48, 8*time.Second)
	a.keep(nil)
	want(50, 0)
}
