package api

import (
	"maps"
	"testing"
)

// TestToldApart: nobody takes another's name without that being seen of both.
func TestToldApart(t *testing.T) {
	got := ToldApart(map[string]string{SameInAll + "aaaaaabb": "a", SameInAll + "aaaaaacc": "a", SameInAll + "bbbbbbbb": " a ", SameInAll + "cccccccc": "b",
		SameInAll + "dddddddd": "", "x": "", "y": "A"})
	want := map[string]string{SameInAll + "aaaaaabb": "a (aaaaaab)", SameInAll + "aaaaaacc": "a (aaaaaac)", SameInAll + "bbbbbbbb": " a  (bbbbbbb)", SameInAll + "cccccccc": "b",
		SameInAll + "dddddddd": "", "x": "", "y": "A"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestShortIDs(t *testing.T) {
	got := ShortIDs([]string{SameInAll + "aaaaaabb", SameInAll + "bbbbbbbb", "ab"})
	if want := map[string]string{SameInAll + "aaaaaabb": "aaaaaa", SameInAll + "bbbbbbbb": "bbbbbb", "ab": "ab"}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
