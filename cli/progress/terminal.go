package progress

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/node/api"
)

// quiet is the time in seconds before anything is drawn: a short job leaves no bar behind, and does not
// wait for one to be drawn.
const quiet = 0.3

// Terminal draws a bar with two lines of details, kept up to date in place.
type Terminal struct {
	w    io.Writer
	size func() (width, height int)
	bars *mpb.Progress // nil until quiet is over
	bar  *mpb.Bar
	fill mpb.BarFiller // the bar alone, without what stands beside it

	mu       sync.Mutex // the bar is drawn by a goroutine of mpb, which Close ends
	meter    meter
	question []string // in words of falling length
}

// NewTerminal returns a printer for the terminal w.
func NewTerminal(w io.Writer) *Terminal {
	return &Terminal{w: w, size: func() (width, height int) {
		if f, ok := w.(*os.File); ok {
			if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width, height
			}
		}
		return 80, 24
	}}
}

// inPlace has a frame drawn over the one before line by line. mpb goes up and erases all from there to the end of the
// screen: done in the first row, tmux and others keep that as a screen that was cleared, so that each frame stays in
// their history.
type inPlace struct{ w io.Writer }

// upAndErase is what a frame of mpb begins with, but for the first.
var upAndErase = regexp.MustCompile("^\x1b\\[([0-9]+)A\x1b\\[J")

func (p inPlace) Write(frame []byte) (int, error) {
	m := upAndErase.FindSubmatch(frame)
	if m == nil {
		return p.w.Write(frame)
	}
	lines, _ := strconv.Atoi(string(m[1]))
	anew := "\r\x1b[K" + strings.Repeat("\x1b[A\x1b[K", lines)
	if _, err := p.w.Write(append([]byte(anew), frame[len(m[0]):]...)); err != nil {
		return 0, err
	}
	return len(frame), nil
}

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
	t.bars = mpb.New(mpb.WithOutput(inPlace{t.w}), mpb.WithAutoRefresh())
	t.fill = mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build()
	t.bar = t.bars.MustAdd(0, mpb.BarFillerFunc(t.line), mpb.BarFillerTrim(),
		mpb.BarExtender(mpb.BarFillerFunc(t.below), false))
}

// leastBar is what a bar takes at least, with its ends and a blank on each side; less of one tells nothing.
const leastBar = 6

// line draws the bar with what stands beside it, as wide as the terminal is now.
func (t *Terminal) line(w io.Writer, s decor.Statistics) error {
	room, _ := t.size()
	t.mu.Lock()
	left, right := before(t.meter.last), fmt.Sprintf("%4s", Share(t.meter.last))
	state := string(t.meter.last.State)
	t.mu.Unlock()
	text := left + " " + right
	if free := room - runewidth.StringWidth(left+right); free >= leastBar {
		s.AvailableWidth = free - 2
		var bar strings.Builder
		if err := t.fill.Fill(&bar, s); err != nil {
			return err
		}
		text = left + " " + bar.String() + " " + right
	}
	share := strings.TrimSpace(right)
	_, err := io.WriteString(w, lineStart+fitting(room, "…", text, left+" "+share, state+" "+share, state))
	return err
}

// fitting is the first of some texts, each shorter than the one before, that takes no more places than there are. Where
// none does, the last is cut, with an end that says so.
func fitting(room int, end string, texts ...string) string {
	for _, text := range texts {
		if runewidth.StringWidth(text) <= room {
			return text
		}
	}
	if room < runewidth.StringWidth(end) { // for which Truncate has no room either, but writes it
		return ""
	}
	return runewidth.Truncate(texts[len(texts)-1], room, end)
}

// lineStart brings the cursor to the beginning of its line: a key that the terminal echoes, such as ^C, has moved it,
// and what is drawn anew begins in its column.
const lineStart = "\r"

// before is what stands left of the bar.
func before(st api.JobStatus) string {
	if st.Units == 0 {
		return string(st.State)
	}
	text := fmt.Sprintf("%s %s/%s", st.State, Count(st.Done), Count(st.Units))
	if st.Unknown > 0 {
		text += " + " + Unknown(st)
	}
	return text
}

// below writes the lines under the bar. A line that wraps would spoil the redrawing: it is cut.
func (t *Terminal) below(w io.Writer, _ decor.Statistics) error {
	width, height := t.size()
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := [][]string{{"  " + t.meter.details()}}
	if len(t.question) > 0 {
		lines = append(lines, t.question)
	}
	for _, l := range lines[:max(min(len(lines), height-1), 0)] { // above the first row nothing can be drawn anew
		if _, err := fmt.Fprintln(w, fitting(width-1, "~", l...)); err != nil {
			return err
		}
	}
	return nil
}

// Ask shows a question below the bar, in the first of its wordings that has room, until it is asked nothing.
func (t *Terminal) Ask(wordings ...string) {
	if t.bars == nil {
		t.open()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.question = wordings
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
