// Package progress shows the progress of a job, or of a step of a longer command: on a terminal, as plain lines, or as
// JSON. The printers have no clock of their own; they use the times in the daemon's statuses.
package progress

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dtpnode/dtpnode/node/api"
)

// Count writes n with a comma at each thousand.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Rate writes a number per second with three digits and a decimal prefix: 1.23 M.
func Rate(v float64) string { return si(v) }

// Bytes writes a number of bytes in decimal units: 48.2 MB.
func Bytes(v float64) string { return si(v) + "B" }

func si(v float64) string {
	units := []string{"", "k", "M", "G", "T", "P"}
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	digits := 2
	switch {
	case v >= 99.95 || i == 0 && v == math.Trunc(v):
		digits = 0
	case v >= 9.995:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + units[i]
}

// Duration writes a time as people do: 350ms, 4.2s, 3m05s, 2h10m.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "?"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Seconds is Duration for a number of seconds.
func Seconds(s float64) string {
	if s < 0 || s > 1e9 || math.IsNaN(s) {
		return "?"
	}
	return Duration(time.Duration(s * float64(time.Second)))
}

// Age formats how long ago something was, in its largest unit: 12s, 5m, 3h, 8d.
func Age(d time.Duration) string {
	switch {
	case d > 100*365*24*time.Hour:
		return "?"
	case d < 0: // another host's clock is ahead
		return "0s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// Percent is how much of total is done in whole per cent. It is 100 only if all is done.
func Percent(done, total int64) string {
	if total <= 0 {
		return "0%"
	}
	return strconv.FormatInt(int64(100*(float64(done)/float64(total))), 10) + "%"
}

// Share is how much of a job is done, in per cent; "?" if the length of some file is unknown.
func Share(st api.JobStatus) string {
	if st.Unknown > 0 {
		return "?"
	}
	return Percent(st.Done, st.Units)
}

// Extent is how much of a job is done, in words.
func Extent(st api.JobStatus) string {
	text := Count(st.Done) + " of " + Count(st.Units) + " " + st.Called()
	if st.Unknown > 0 {
		return text + ", and nothing of " + Unknown(st)
	}
	return text
}

// Unknown says how many files have an unknown number of events.
func Unknown(st api.JobStatus) string {
	if st.Unknown == 1 {
		return "1 file of unknown length"
	}
	return Count(int64(st.Unknown)) + " files of unknown length"
}

// Clean removes characters that are not printable, so that text from a peer or a job can neither control the terminal
// nor appear in another order: control characters, and those that change the direction of text or take no room.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return -1
	}, s)
}

// line is Clean for a text that must stay in one line.
func line(s string) string { return strings.Join(strings.Fields(Clean(s)), " ") }

// Plural is a number of things, named in the singular: 1 file, 2,000 files.
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(int64(n)) + " " + one + "s"
}
