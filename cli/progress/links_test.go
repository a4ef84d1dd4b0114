package progress

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/node/api"
)

// end is one side of a pair: the member's number, and what it says.
func end(i int, says string) api.NoLinkEnd {
	return api.NoLinkEnd{ID: fmt.Sprintf("id%04d", i), Name: fmt.Sprintf("id%04d", i), Self: i == 0, Says: says}
}

// TestLinksFitAScreen: whatever pairs there are, the text is short, and each line is a line of its own.
func TestLinksFitAScreen(t *testing.T) {
	const maxWhy = 512 // bytes of a reason that a daemon tells
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{3, 10, 200}).Draw(t, "members")
		seen := map[[2]int]bool{}
		var links api.Links
		for range rapid.IntRange(0, 5*n).Draw(t, "pairs") {
			a, b := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
			if a >= b || seen[[2]int{a, b}] {
				continue
			}
			seen[[2]int{a, b}] = true
			says := rapid.SampledFrom([]string{"", "refused", strings.Repeat("x", maxWhy)})
			links.Pairs = append(links.Pairs, api.NoLink{A: end(a, says.Draw(t, "a says")), B: end(b, says.Draw(t, "b says"))})
		}
		for i := range rapid.IntRange(0, n).Draw(t, "silent") {
			links.Silent = append(links.Silent, end(i, "too old"))
		}
		links.More = rapid.IntRange(0, 1<<20).Draw(t, "more")
		groups, rest := Links(&links)
		lines := strings.Count(rest, "\n") + 1
		for _, g := range groups {
			lines += 1 + len(g.Reasons)
			long := func(s string) bool { return strings.ContainsAny(s, "\n\x1b") || len(s) > 2*maxWhy }
			if slices.ContainsFunc(append(g.Reasons, g.Text), long) {
				t.Fatalf("%q", g)
			}
		}
		if lines > 60 || len(links.Pairs) > 0 && len(groups) == 0 {
			t.Fatalf("%d pairs in %d lines", len(links.Pairs), lines)
		}
	})
}

// TestOneUnreachableHostIsOneGroup: in a cluster of 1,024 a host that cannot be reached is told in three lines.
func TestOneUnreachableHostIsOneGroup(t *testing.T) {
	var links api.Links
	for i := range 1024 {
		if i != 0 && i != 7 {
			says := "could not connect to 127.0.0.1:4001: connect: connection refused"
			links.Pairs = append(links.Pairs, api.NoLink{A: end(7, ""), B: end(i, says)})
		}
	}
	groups, _ := Links(&links)
	want := []LinkGroup{{
		Text: "no link between id0007 and 1022 others: id0001, id0002, id0003, id0004, id0005, id0006 and 1016 more",
		Reasons: []string{"id0001, id0002, id0003, id0004, id0005, id0006 and 1016 more say: " +
			"could not connect to 127.0.0.1:4001: connect: connection refused"},
	}}
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Error(diff)
	}
}
