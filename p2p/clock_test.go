package p2p

import (
	"testing"
	"time"
)

// TestSkew: a delayed frame does not make a clock seem wrong, and a clock that was corrected is seen as right after
// some more frames.
func TestSkew(t *testing.T) {
	var s skew
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	hear := func(ahead, late time.Duration) {
		s.add(clockFrame(now.Add(ahead)), now.Add(late), 0)
		now = now.Add(time.Second)
	}
	want := func(d time.Duration) {
		t.Helper()
		if got := s.ahead(); got != d {
			t.Errorf("got %v, want %v", got, d)
		}
	}
	want(0)
	s.add([]byte("short"), now, 0)
	want(0)
	hear(time.Hour, 0)
	hear(time.Hour, 20*time.Second)
	want(time.Hour)
	for range clockSamples {
		hear(-time.Minute, 0)
	}
	want(-time.Minute)
	s = skew{}
	s.add(clockFrame(now), now.Add(2*time.Second), 4*time.Second)
	want(0)
	s.add(clockFrame(now.AddDate(500, 0, 0)), now, 0) // more than a time.Duration holds
	if s.ahead() < 290*365*24*time.Hour {
		t.Errorf("%v", s.ahead())
	}
}

// TestClocks: each of two members knows how wrong the other's clock is.
func TestClocks(t *testing.T) {
	a, b := couple(t, func(c *Config) {
		c.PingPeriod = 20 * time.Millisecond
		if c.Name == "b" {
			c.now = func() time.Time { return time.Now().Add(-time.Hour) }
		}
	})
	ahead := func(n, of *tnode) time.Duration {
		for _, m := range n.Members() {
			if m.ID == of.ID() {
				return m.Ahead
			}
		}
		return 0
	}
	for deadline := time.Now().Add(patience); ahead(a, b) == 0 || ahead(b, a) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the clocks are not told")
		}
	}
	if off := ahead(a, b); off.Round(time.Hour) != -time.Hour {
		t.Errorf("b's clock: %v", off)
	}
	if off := ahead(b, a); off.Round(time.Hour) != time.Hour {
		t.Errorf("a's clock: %v", off)
	}
}
