package tasks

import (
	"testing"
	"time"
)

// TestMoment: never is within nothing and past nothing, and the time 0 is a time like any other.
func TestMoment(t *testing.T) {
	var never Moment
	if !never.Never() || never.Within(time.Hour, 0) || never.Past(0, time.Hour) || never.Since(time.Hour) != 0 {
		t.Errorf("never: %+v", never)
	}
	m := At(0)
	if m.Never() || !m.Within(2, 1) || m.Past(2, 1) || !m.Past(2, 2) || m.Within(2, 2) || m.Since(3) != 3 ||
		m.Time() != 0 {
		t.Errorf("at 0: %+v", m)
	}
}

// TestDefault: what is set stays, and what is not, or cannot be, takes the default.
func TestDefault(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 5, -1: 5, 3: 3} {
		if Default(&set, 5); set != want {
			t.Errorf("got %v, want %v", set, want)
		}
	}
}
