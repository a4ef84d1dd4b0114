package api

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// TestToldApart: nobody takes another's name without that being seen of both.
func TestToldApart(t *testing.T) {
	got := ToldApart(map[string]string{
		SameInAll + "aaaaaabb": "a",
		SameInAll + "aaaaaacc": "a",
		SameInAll + "bbbbbbbb": " a ",
		SameInAll + "cccccccc": "b",
		SameInAll + "dddddddd": "",
		"x":                    "",
	})
	want := map[string]string{
		SameInAll + "aaaaaabb": "a (aaaaaab)",
		SameInAll + "aaaaaacc": "a (aaaaaac)",
		SameInAll + "bbbbbbbb": "a (bbbbbbb)",
		SameInAll + "cccccccc": "b",
		SameInAll + "dddddddd": "",
		"x":                    "",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLookalikes: names that a reader takes for one another are one name.
func TestLookalikes(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		alike bool
	}{
		{"alice", "\u0430lice", true}, // Cyrillic a
		{"alice", "Alice", true},
		{"alice", "alice ", true},
		{"alice", "al\u200bice", true}, // no width
		{"alice", "\u202ealice", true},
		{"alice", "\uff41lice", true}, // full width
		{"alice", "aIice", true},      // capital i
		{"INFN", "infn", true},
		{"ÉCOLE", "e\u0301cole", true},
		{"node 1", "node\u00a01", true},
		{"rn01", "m01", true},
		{"ΑΒ", "AB", true}, // Greek
		{"alice", "bob", false},
		{"node1", "node2", false},
		{"école", "ecole", false},
		{"計算1", "計算2", false},
		{"", "", false},
		{"", " ", false},
	} {
		got := ToldApart(map[string]string{SameInAll + "aaaaaaaa": c.a, SameInAll + "bbbbbbbb": c.b})
		if apart := strings.HasSuffix(got[SameInAll+"aaaaaaaa"], "(aaaaaa)") &&
			strings.HasSuffix(got[SameInAll+"bbbbbbbb"], "(bbbbbb)"); apart != c.alike {
			t.Errorf("%q and %q are told as %q", c.a, c.b, got)
		}
	}
}

func BenchmarkToldApart(b *testing.B) {
	names := map[string]string{}
	for i := range 1000 {
		names[fmt.Sprintf("%s%08d", SameInAll, i)] = fmt.Sprintf("node%d.example.org", i)
	}
	for b.Loop() {
		ToldApart(names)
	}
}

func TestShortIDs(t *testing.T) {
	got := ShortIDs([]string{SameInAll + "aaaaaabb", SameInAll + "bbbbbbbb", "ab"})
	if want := map[string]string{
		SameInAll + "aaaaaabb": "aaaaaa",
		SameInAll + "bbbbbbbb": "bbbbbb",
		"ab":                   "ab",
	}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
