package tasks

import "time"

// Moment is a point in time that may not have come yet; the zero value is never. Time is as the cores know it: a
// duration since an origin that the caller chooses, so that 0 is a time like any other and cannot stand for never by
// itself.
type Moment struct {
	at  time.Duration
	set bool
}

// At is the moment of a time.
func At(now time.Duration) Moment { return Moment{at: now, set: true} }

// Never reports whether the moment has not come.
func (m Moment) Never() bool { return !m.set }

// Time is the moment's time, 0 for never.
func (m Moment) Time() time.Duration { return m.at }

// Since is how long ago the moment was, 0 for never.
func (m Moment) Since(now time.Duration) time.Duration {
	if !m.set {
		return 0
	}
	return now - m.at
}

// Within reports whether the moment has come, less than d ago.
func (m Moment) Within(d, now time.Duration) bool { return m.set && now-m.at < d }

// Past reports whether the moment has come, d ago or longer.
func (m Moment) Past(d, now time.Duration) bool { return m.set && now-m.at >= d }
