package p2p

import (
	"testing"
	"time"
)

// TestOwnLateness compares how long a peer is taken to be silent, in seconds, with what is so.
func TestOwnLateness(t *testing.T) {
	type tick struct{ now, heard, want int }
	for name, ticks := range map[string][]tick{
		"a peer that is gone":          {{1, 0, 1}, {2, 0, 2}, {3, 0, 3}, {4, 0, 4}, {5, 0, 5}, {6, 0, 6}},
		"a peer that speaks":           {{1, 0, 1}, {2, 1, 1}, {3, 3, 0}, {4, 3, 1}},
		"this node was stopped":        {{1, 0, 1}, {2, 1, 1}, {62, 1, 2}, {63, 1, 3}, {64, 63, 1}, {65, 63, 2}},
		"this node is late each time":  {{3, 0, 1}, {6, 0, 2}, {9, 0, 3}, {12, 0, 4}},
		"late before it was heard":     {{1, 0, 1}, {30, 29, 1}, {31, 29, 2}, {32, 29, 3}},
		"heard, and then late":         {{1, 0, 1}, {2, 2, 0}, {40, 3, 1}, {41, 3, 2}},
		"ticks that come too early":    {{1, 0, 1}, {3, 0, 2}, {3, 0, 2}, {4, 0, 3}},
		"late, and the peer gone then": {{9, 0, 1}, {10, 0, 2}, {11, 0, 3}, {12, 0, 4}, {13, 0, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			s := silence{period: time.Second}
			for _, k := range ticks {
				got := s.tick(time.Duration(k.now)*time.Second, time.Duration(k.heard)*time.Second)
				if want := time.Duration(k.want) * time.Second; got != want {
					t.Errorf("at %d s, heard at %d s: silent for %v, want %v", k.now, k.heard, got, want)
				}
			}
		})
	}
}
