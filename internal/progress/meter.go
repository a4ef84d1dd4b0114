package progress

import (
	"math"

	"github.com/dtpnode/dtpnode/node/api"
)

// meter smooths what statuses report: bytes/s and the time left.
type meter struct {
	last    api.JobStatus
	started bool
	bytes   float64 // bytes/s, smoothed over memory seconds
	units   float64 // units/s, likewise
}

const memory = 3 // seconds

func (m *meter) add(st api.JobStatus) {
	dt := st.Seconds - m.last.Seconds
	if !m.started || dt < 0 {
		*m = meter{last: st, started: true}
		return
	}
	if dt == 0 {
		return
	}
	weight := 1 - math.Exp(-dt/memory)
	if m.units == 0 {
		weight = 1
	}
	m.bytes += weight * (float64(st.Bytes-m.last.Bytes)/dt - m.bytes)
	m.units += weight * (float64(st.Done-m.last.Done)/dt - m.units)
	m.last = st
}

// left is the time to the end in seconds, -1 if unknown.
func (m *meter) left() float64 {
	todo := float64(m.last.Units - m.last.Done)
	switch {
	case m.last.State != api.Running, m.units <= 0:
		return -1
	}
	return todo / m.units
}
