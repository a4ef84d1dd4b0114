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

// quiet is the time in seconds before anything is drawn, so that a short job draws no bar.
const quiet = 0.3

// Terminal draws a bar with two lines of details, kept up to date in place.
type Terminal struct {
	w    io.Writer
	size func() (width, height int)
	bars *mpb.Progress // nil until quiet is over
	bar  *mpb.Bar
	fill mpb.BarFiller // the bar alone, without the text beside it

	mu       sync.Mutex // needed since a goroutine of mpb draws the bar; Close ends it
	meter    meter
	question []string // wordings, the longest first

	pictures func(width, height int) []string // what is shown below the bar; nil if nothing is
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

// inPlace draws each frame over the one before, line by line. mpb moves up and erases everything from there to the end
// of the screen; if that happens in the first row, tmux and others take it for a cleared screen and keep every frame in
// their history.
type inPlace struct{ w io.Writer }

// upAndErase matches the beginning of every frame of mpb except the first.
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

// Status shows the status of the job.
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
		t.bar.SetTotal(st.Units+1, false) // one more than the job has, so that only Close completes the bar
		t.bar.SetCurrent(st.Done)
	}
}

func (t *Terminal) open() {
	t.bars = mpb.New(mpb.WithOutput(inPlace{t.w}), mpb.WithAutoRefresh())
	t.fill = mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build()
	t.bar = t.bars.MustAdd(0, mpb.BarFillerFunc(t.line), mpb.BarFillerTrim(),
		mpb.BarExtender(mpb.BarFillerFunc(t.below), false))
}

// leastBar is the least width of a bar, with its ends and a blank on each side; a shorter one would say nothing.
const leastBar = 6

// line draws the bar and the text beside it, as wide as the terminal is now.
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

// fitting is the first of some texts, from longest to shortest, that fits into room. If none does, the last one is cut,
// and ends in end.
func fitting(room int, end string, texts ...string) string {
	for _, text := range texts {
		if runewidth.StringWidth(text) <= room {
			return text
		}
	}
	if room < runewidth.StringWidth(end) { // Truncate would write end though it does not fit
		return ""
	}
	return runewidth.Truncate(texts[len(texts)-1], room, end)
}

// lineStart moves the cursor to the beginning of its line. A key that the terminal echoes, such as ^C, has moved it,
// and the next frame begins in its column.
const lineStart = "\r"

// before is the text to the left of the bar.
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

// below writes the lines under the bar. They are cut, since a line that wraps would break the redrawing.
func (t *Terminal) below(w io.Writer, _ decor.Statistics) error {
	width, height := t.size()
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := [][]string{{"  " + t.meter.details()}}
	if len(t.question) > 0 {
		lines = append(lines, t.question)
	}
	for _, l := range lines[:max(min(len(lines), height-1), 0)] { // nothing above the first row can be redrawn
		if _, err := fmt.Fprintln(w, fitting(width-1, "~", l...)); err != nil {
			return err
		}
	}
	if t.pictures == nil {
		return nil
	}
	room := height - 2 - len(lines)
	for _, line := range t.pictures(width-1, max(room, 0)) {
		if room--; room < 0 {
			break
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// Below shows lines below the bar, as many as fit, until it is called again.
func (t *Terminal) Below(lines func(width, height int) []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pictures = lines
}

// Ask shows a question below the bar, in the longest wording that fits, until it is called with none.
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
