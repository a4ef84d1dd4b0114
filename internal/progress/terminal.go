package progress

import (
	"fmt"
	"io"
	"sync"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/dtpnode/dtpnode/node/api"
)

// quiet is the time in seconds before anything is drawn: a short job leaves no bar behind, and does not
// wait for one to be drawn.
const quiet = 0.3

// Terminal draws a bar with two lines of details, kept up to date in place.
type Terminal struct {
	w     io.Writer
	extra []mpb.ContainerOption
	bars  *mpb.Progress // nil until quiet is over
	bar   *mpb.Bar

	mu       sync.Mutex // the bar is drawn by a goroutine of mpb, which Close ends
	meter    meter
	question string
}

// NewTerminal returns a printer for the terminal w.
func NewTerminal(w io.Writer) *Terminal { return &Terminal{w: w} }

// Status shows where the job stands.
func (t *Terminal) Status(st api.JobStatus) {
	t.mu.Lock()
	t.meter.add(st)
	t.mu.Unlock()
	if t.bars == nil {
		if st.State.Final() || st.Seconds < quiet {
			return
		}
		t.open()
	}
	if st.Units > 0 {
		t.bar.SetTotal(st.Units+1, false) // never complete by count: Close ends it
		t.bar.SetCurrent(st.Done)
	}
}

func (t *Terminal) open() {
	t.bars = mpb.New(append([]mpb.ContainerOption{mpb.WithOutput(t.w)}, t.extra...)...)
	style := mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]")
	t.bar = t.bars.New(0, style,
		mpb.PrependDecorators(decor.Any(t.before)),
		mpb.AppendDecorators(decor.Any(t.after)),
		mpb.BarExtender(mpb.BarFillerFunc(t.below), false))
}

// lineStart brings the cursor to the beginning of its line: a key that the terminal echoes, such as ^C, has moved it, and
// what is drawn anew begins in its column.
const lineStart = "\r"

// before is what stands left of the bar.
func (t *Terminal) before(decor.Statistics) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.meter.last
	if st.Units == 0 {
		return lineStart + string(st.State)
	}
	text := fmt.Sprintf(lineStart+"%s %s/%s", st.State, Count(st.Done), Count(st.Units))
	if st.Unknown > 0 {
		text += " + " + Unknown(st)
	}
	return text
}

// after is what stands right of the bar.
func (t *Terminal) after(decor.Statistics) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%4s", Share(t.meter.last))
}

// below writes the lines under the bar. A line that wraps would spoil the redrawing: it is cut.
func (t *Terminal) below(w io.Writer, s decor.Statistics) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := []string{"  " + t.meter.details()}
	if t.question != "" {
		lines = append(lines, t.question)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, runewidth.Truncate(l, max(s.AvailableWidth-1, 10), "~")); err != nil {
			return err
		}
	}
	return nil
}

// Ask shows a question below the bar until it is asked "".
func (t *Terminal) Ask(question string) {
	if t.bars == nil {
		t.open()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.question = question
}

// Write prints text above the bar, as whole lines.
func (t *Terminal) Write(text []byte) (int, error) {
	if t.bars == nil {
		return t.w.Write(text)
	}
	if _, err := t.bars.Write(append([]byte(lineStart), text...)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Close leaves the bar as it stands and waits for the goroutine that draws it.
func (t *Terminal) Close() {
	if t.bars == nil {
		return
	}
	t.bar.Abort(false)
	t.bars.Wait()
	t.bars = nil
}
