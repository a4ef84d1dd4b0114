package sim

import "time"

// event is something that happens at a time.
type event struct {
	at     time.Duration
	serial int // number in the order of queuing, which decides between events for the same time
	do     func()
}

func (e event) before(o event) bool {
	return e.at < o.at || (e.at == o.at && e.serial < o.serial)
}

// events is a binary heap. It does not use container/heap, whose interface costs a tenth of the time of a run.
type events []event

func (q *events) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *events) pop() event {
	h := *q
	first, n := h[0], len(h)-1
	h[0], h[n] = h[n], event{}
	h = h[:n]
	*q = h
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= n {
			return first
		}
		if kid+1 < n && h[kid+1].before(h[kid]) {
			kid++
		}
		if !h[kid].before(h[i]) {
			return first
		}
		h[i], h[kid] = h[kid], h[i]
		i = kid
	}
}
