package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// ClocksDiffer is how much the clocks of two hosts may differ before it is mentioned.
const ClocksDiffer = 5 * time.Second

// Clocks says whose clocks are wrong and by how much, as the asked node sees it. That node cannot know which clock is
// right: if its own differs from most others by about the same time, it is the one named.
func Clocks(members []api.Member) []string {
	called, off, told := api.Called(members), []api.Member(nil), 0
	for _, m := range members {
		if !m.Up || m.Self {
			continue
		}
		told++
		if clockOff(m).Abs() > ClocksDiffer {
			off = append(off, m)
		}
	}
	slices.SortFunc(off, func(a, b api.Member) int { return strings.Compare(called[a.ID], called[b.ID]) })
	if first, ok := inStep(off); ok && 2*len(off) > told && told > 1 {
		return []string{fmt.Sprintf("the clock of this host is %s those of %d of the %d other members that are up: set all "+
			"by NTP", aside(-clockOff(first)), len(off), told)}
	}
	var lines []string
	for i, m := range off {
		if i == linkGroups {
			return append(lines, fmt.Sprintf("and %d more clocks are off: dtpnode members --output json", len(off)-i))
		}
		lines = append(lines,
			fmt.Sprintf("the clock of %s is %s this host's: set both by NTP", line(called[m.ID]), aside(clockOff(m))))
	}
	return lines
}

func clockOff(m api.Member) time.Duration { return time.Duration(m.ClockAhead * float64(time.Second)) }

// inStep reports whether members' clocks differ little from each other, and returns one of the members.
func inStep(off []api.Member) (first api.Member, ok bool) {
	if len(off) == 0 {
		return first, false
	}
	for _, m := range off {
		if (clockOff(m) - clockOff(off[0])).Abs() > 2*ClocksDiffer {
			return first, false
		}
	}
	return off[0], true
}

// aside formats how far a clock is ahead or behind.
func aside(d time.Duration) string {
	text := Duration(d.Abs())
	if d.Abs() >= 48*time.Hour {
		text = Age(d.Abs())
	}
	if d < 0 {
		return text + " behind"
	}
	return text + " ahead of"
}
