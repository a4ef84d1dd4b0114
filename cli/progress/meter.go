package progress

import (
	"math"

	"github.com/dtpnode/dtpnode/node/api"
)

// meter computes smoothed rates and the time left from statuses.
type meter struct {
	last    api.JobStatus
	started bool
	bytes   float64 // bytes/s, smoothed over memory seconds
	units   float64 // units/s, likewise
	moved   float64 // time in the job, in seconds, at which its count last grew
	pause   float64 // longest recent time without progress, in seconds
}

const memory = 3 // seconds

// stillAfter is the time in seconds without progress after which a rate and a time left would be misleading.
const stillAfter = 3

func (m *meter) add(st api.JobStatus) {
	dt := st.Seconds - m.last.Seconds
	if !m.started || dt < 0 {
		*m = meter{last: st, started: true, moved: st.Seconds}
		return
	}
	if dt == 0 { // two statuses may have the same time
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
	// The counts may fall: after work was lost or given up, or when a new home has just begun to count.
	m.bytes += weight * (float64(max(st.Bytes-m.last.Bytes, 0))/dt - m.bytes)
	m.units += weight * (float64(max(ranNow(st)-ranNow(m.last), 0))/dt - m.units)
	m.last = st
}

// still is how long nothing has been done, in seconds; 0 while that is usual for the job.
func (m *meter) still() float64 {
	quiet := m.last.Seconds - m.moved
	if m.last.State != api.Running || quiet < max(stillAfter, 2*m.pause) {
		return 0
	}
	return quiet
}

// left is the time left in seconds, -1 if unknown.
func (m *meter) left() float64 {
	todo := float64(m.last.Units - m.last.Done)
	switch {
	case m.last.State != api.Running, m.units <= 0, m.still() > 0:
		return -1
	}
	return todo / m.units
}
