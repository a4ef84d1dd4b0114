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
	moved   float64 // when something was done last, as the job's time in seconds
	pause   float64 // longest time of late in which nothing was done, in seconds
}

const memory = 3 // seconds

// stillAfter is the time in seconds without progress after which a rate and a time left would say what is not so.
const stillAfter = 3

func (m *meter) add(st api.JobStatus) {
	dt := st.Seconds - m.last.Seconds
	if !m.started || dt < 0 {
		*m = meter{last: st, started: true, moved: st.Seconds}
		return
	}
	if dt == 0 { // the last status may have the time of the one before
		m.last = st
		return
	}
	if st.Done != m.last.Done || st.Bytes != m.last.Bytes || st.State != m.last.State {
		if m.last.State == api.Running {
			m.pause = max(st.Seconds-m.moved, 0.8*m.pause)
		}
		m.moved = st.Seconds
	}
	weight := 1 - math.Exp(-dt/memory)
	if m.units == 0 {
		weight = 1
	}
	// Less than before is told where work was lost or given up, or by a home that has just begun to count.
	m.bytes += weight * (float64(max(st.Bytes-m.last.Bytes, 0))/dt - m.bytes)
	m.units += weight * (float64(max(ranNow(st)-ranNow(m.last), 0))/dt - m.units)
	m.last = st
}

// still is for how long nothing has been done, in seconds; 0 as long as that is usual for the job.
func (m *meter) still() float64 {
	quiet := m.last.Seconds - m.moved
	if m.last.State != api.Running || quiet < max(stillAfter, 2*m.pause) {
		return 0
	}
	return quiet
}

// left is the time to the end in seconds, -1 if unknown.
func (m *meter) left() float64 {
	todo := float64(m.last.Units - m.last.Done)
	switch {
	case m.last.State != api.Running, m.units <= 0, m.still() > 0:
		return -1
	}
	return todo / m.units
}
