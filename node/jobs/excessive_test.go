package jobs

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestWhoClaimsTooMany blames the member because of whose names there are too many, and nobody where code gives each
// output another name.
func TestWhoClaimsTooMany(t *testing.T) {
	made := func(by tasks.PeerID, seq uint64, units int64, first, n int) claimed {
		c := claimed{id: merge.ID{Node: by, Seq: seq}, units: units}
		for i := range n {
			c.names = append(c.names, uint64(first+i))
		}
		return c
	}
	for what, c := range map[string]struct {
		all  []claimed
		want tasks.PeerID
	}{
		"few":      {[]claimed{made("a", 1, 10, 0, 50), made("liar", 2, 10, 50, 50)}, ""},
		"one":      {[]claimed{made("a", 1, 10, 0, 5), made("b", 2, 10, 0, 5), made("liar", 3, 10, 100, 99)}, "liar"},
		"in parts": {[]claimed{made("a", 1, 10, 0, 1), made("liar", 2, 5, 100, 60), made("liar", 3, 5, 200, 60)}, "liar"},
		"the same names by all others": {
			[]claimed{made("a", 1, 10, 0, 60), made("b", 2, 10, 0, 60), made("liar", 3, 10, 100, 60)}, "liar",
		},
		"each its own": {[]claimed{made("a", 1, 10, 0, 60), made("b", 2, 10, 100, 60)}, ""},
		"this node":    {[]claimed{made("a", 1, 10, 0, 5), made("h", 2, 10, 100, 120)}, ""},
		"all of it":    {[]claimed{made("liar", 1, 10, 0, 120)}, "liar"},
		"others too":   {[]claimed{made("a", 1, 100, 0, 101), made("liar", 2, 1, 200, 60)}, ""},
	} {
		var want []merge.ID
		for _, p := range c.all {
			if p.id.Node == c.want {
				want = append(want, p.id)
			}
		}
		if got := tooMany(c.all, 100, "h"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
}
