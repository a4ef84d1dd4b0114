package api

import (
	"strings"
	"testing"
)

// TestStands: there are words of its own for each state, which end a sentence about a job.
func TestStands(t *testing.T) {
	said := map[string]JobState{}
	for _, s := range States() {
		words := s.Stands()
		if other, known := said[words]; known || strings.HasPrefix(words, "is in the state") ||
			strings.Contains(words, "is cannot") {
			t.Errorf("%s: %q, as %s", s, words, other)
		}
		said[words] = s
	}
}
