package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// interval is the time in seconds between two lines of a job whose state does not change.
const interval = 5

// Plain prints lines without escape codes: one at each new state, and one every few seconds. While a job has not begun,
// or waits for the same thing, the interval doubles each time, since a log may show that for hours.
type Plain struct {
	w       io.Writer
	meter   meter
	state   api.JobState
	words   string // what the job waits for, without its counts
	since   float64
	printed float64
}

// howFar matches the counts in a phase whose other words stay the same: 3 s of 30 s, file 2 of 50.
var howFar = regexp.MustCompile(`[0-9]+( s)? of`)

// waitsFor is a phase without its counts.
func waitsFor(phase string) string { return howFar.ReplaceAllString(line(phase), "of") }

// NewPlain returns a printer of plain lines.
func NewPlain(w io.Writer) *Plain { return &Plain{w: w} }

// Status shows where the job stands, if there is news.
func (p *Plain) Status(st api.JobStatus) {
	p.meter.add(st)
	idle := st.State == api.Preparing || st.State == api.Waiting
	wait := float64(interval)
	if idle {
		wait = max(wait, p.printed-p.since)
	}
	news := st.State != p.state || idle && waitsFor(st.Phase) != p.words
	if !news && st.Seconds < p.printed+wait && st.Seconds >= p.printed {
		return
	}
	if news || st.Seconds < p.printed {
		p.since = st.Seconds
	}
	p.state, p.words, p.printed = st.State, waitsFor(st.Phase), st.Seconds
	if st.Units == 0 || st.State == api.Preparing {
		text := string(st.State)
		if phase := line(st.Phase); phase != "" {
			text += "  " + phase
		}
		fmt.Fprintln(p.w, text)
		return
	}
	share := " (" + Share(st) + ")"
	if st.Unknown > 0 {
		share = ""
	}
	fmt.Fprintf(p.w, "%s  %s%s  %s\n", st.State, Extent(st), share, p.meter.details())
}

// Ask prints a question in its longest wording, since a line may have any length.
func (p *Plain) Ask(wordings ...string) {
	if len(wordings) > 0 {
		fmt.Fprintln(p.w, wordings[0])
	}
}

// Write passes text through, as whole lines.
func (p *Plain) Write(text []byte) (int, error) { return p.w.Write(text) }

// Close does nothing.
func (p *Plain) Close() {}

// details is what is shown beside the count of events.
func (m *meter) details() string {
	st := m.last
	if st.State == api.Preparing || st.State == api.Waiting {
		return line(st.Phase)
	}
	rate, bytes := st.Rate, m.bytes
	switch {
	case st.State.Halted(): // averages over the whole job
		rate, bytes = average(float64(ranNow(st)), st), average(float64(st.Bytes), st)
	case rate <= 0:
		rate = m.units
	}
	var parts []string
	switch still := m.still(); {
	// An open job of which all is done waits for its user.
	case st.Open && st.Done >= st.Units:
	// While merging no events are processed, and the counts of the nodes may not cover the whole job.
	case st.State == api.Merging, st.State.Halted() && !counted(st):
	case still > 0:
		parts = append(parts, "nothing done for "+Seconds(still))
	default:
		parts = append(parts, fmt.Sprintf("%s%s/s  %s/s", Rate(rate), st.Called(), Bytes(bytes)))
	}
	if left := m.left(); left >= 0 && !(st.Open && st.Done >= st.Units) {
		parts = append(parts, "ETA "+Seconds(left))
	}
	parts = append(parts, "packets "+Count(st.Packets), "steals "+Count(st.Steals), "merges "+Count(st.Merges))
	if len(st.Failing) > 0 {
		parts = append(parts, fmt.Sprintf("failing ranges %d", len(st.Failing)))
	}
	if st.Phase != "" {
		parts = append(parts, line(st.Phase))
	}
	return strings.Join(parts, "  ")
}

// JSON prints one api.Event a line, at most two statuses a second and always the first of a state.
type JSON struct {
	enc     *json.Encoder
	state   api.JobState
	phase   string
	printed float64
}

// NewJSON returns a printer of JSON lines.
func NewJSON(w io.Writer) *JSON { return &JSON{enc: json.NewEncoder(w)} }

// Status prints a status event.
func (p *JSON) Status(st api.JobStatus) {
	news := st.State != p.state || st.State == api.Waiting && st.Phase != p.phase
	if !news && st.Seconds < p.printed+0.5 && st.Seconds >= p.printed {
		return
	}
	p.state, p.phase, p.printed = st.State, st.Phase, st.Seconds
	_ = p.enc.Encode(api.Listed(api.Event{Type: "status", Status: &st}))
}

// Ask has nobody to ask.
func (p *JSON) Ask(...string) {}

// Write prints a log event.
func (p *JSON) Write(text []byte) (int, error) {
	err := p.enc.Encode(api.Event{Type: "log", Line: string(trimNewline(text))})
	return len(text), err
}

// Close does nothing.
func (p *JSON) Close() {}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}
