package progress

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestClocks: small differences are not mentioned, and the clock that differs from most others is named.
func TestClocks(t *testing.T) {
	me := api.Member{ID: "0", Name: "me", Self: true, Up: true}
	other := func(name string, ahead float64) api.Member {
		return api.Member{ID: "id of " + name, Name: name, Up: true, ClockAhead: ahead}
	}
	lost := other("lost", 1000)
	lost.Up = false
	for _, tc := range []struct {
		members []api.Member
		want    []string
	}{
		{[]api.Member{me, other("a", 4.9), other("b", -4.9), lost}, nil},
		{[]api.Member{me, other("a", 3600)}, []string{"the clock of a is 1h00m ahead of this host's: set both by NTP"}},
		{
			[]api.Member{me, other("b", -7.5), other("a", 1e7), other("c", 0)},
			[]string{"the clock of a is 115d ahead of this host's: set both by NTP",
				"the clock of b is 7.5s behind this host's: set both by NTP"},
		},
		{
			[]api.Member{me, other("a", 3600), other("b", 3601), other("c", 0)},
			[]string{"the clock of this host is 1h00m behind those of 2 of the 3 other members that are up: set all by NTP"},
		},
		{
			[]api.Member{me, other("a", 60), other("b", -60)},
			[]string{"the clock of a is 1m00s ahead of this host's: set both by NTP",
				"the clock of b is 1m00s behind this host's: set both by NTP"},
		},
		{
			[]api.Member{me, other("a", 60), other("a ", 0), other("c", 0)},
			[]string{"the clock of a (id of a) is 1m00s ahead of this host's: set both by NTP"},
		},
	} {
		if got := Clocks(tc.members); !slices.Equal(got, tc.want) {
			t.Errorf("%+v: got %q, want %q", tc.members, got, tc.want)
		}
	}
}
