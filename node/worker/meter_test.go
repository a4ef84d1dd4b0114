package worker

import "testing"

func TestMeter(t *testing.T) {
	m := NewMeter()
	if s := m.Summary(); s.Count != 0 || s.P99 != 0 {
		t.Errorf("empty: %+v", s)
	}
	for i := 1; i <= 100; i++ {
		m.Add(1000 * 1000 * 1) // 1 ms
	}
	if s := m.Summary(); s.Count != 100 || s.P50 < 0.98 || s.P50 > 1.02 {
		t.Errorf("got %+v", s)
	}
}
