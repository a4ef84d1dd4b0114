package worker

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dtpnode/dtpnode/node/api"
)

// Meter is a histogram of durations from 1 µs to 10 min.
type Meter struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// NewMeter is an empty one.
func NewMeter() *Meter {
	return &Meter{h: hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 2)}
}

// Add counts one duration.
func (m *Meter) Add(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.h.RecordValue(min(max(d.Microseconds(), 1), (10 * time.Minute).Microseconds()))
}

// Summary is what the control interface tells of it.
func (m *Meter) Summary() api.Histogram {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.h.TotalCount() == 0 {
		return api.Histogram{}
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return api.Histogram{
		Count: m.h.TotalCount(), P50: ms(m.h.ValueAtQuantile(50)), P90: ms(m.h.ValueAtQuantile(90)),
		P99: ms(m.h.ValueAtQuantile(99)), Max: ms(m.h.Max()),
	}
}
