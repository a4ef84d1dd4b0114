package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// screen is what a terminal shows: as much of one as a bar needs that is drawn anew in place.
type screen struct {
	width int
	lines [][]rune
	row   int
	col   int
}

var escape = regexp.MustCompile("^\x1b\\[([0-9;?]*)([A-Za-z])")

// render shows what was printed on a terminal of a width, and fails the test for what no bar needs.
func render(t *testing.T, width int, text string) []string {
	t.Helper()
	s := &screen{width: width, lines: [][]rune{nil}}
	for len(text) > 0 {
		if m := escape.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				s.row = max(s.row-max(n, 1), 0)
			case "J":
				s.lines = s.lines[:s.row+1]
				s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
			case "K":
				s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
			default:
				t.Errorf("an escape code that is none of a bar: %q", m[0])
			}
			text = text[len(m[0]):]
			continue
		}
		r := []rune(text)[0]
		s.put(r)
		text = text[len(string(r)):]
	}
	var out []string
	for _, l := range s.lines {
		out = append(out, strings.TrimRight(string(l), " "))
	}
	return out
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.col = 0
	case '\n':
		s.row++
	default:
		if s.col == s.width {
			s.col, s.row = 0, s.row+1
		}
	}
	for s.row >= len(s.lines) {
		s.lines = append(s.lines, nil)
	}
	if r == '\r' || r == '\n' {
		return
	}
	for len(s.lines[s.row]) <= s.col {
		s.lines[s.row] = append(s.lines[s.row], ' ')
	}
	s.lines[s.row][s.col] = r
	s.col++
}

// TestScreen follows jobs on terminals of many kinds, interrupts them, and reads what stays there: each line whole, and
// the last one of the job true.
func TestScreen(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	n := c.nodes[0]
	for _, tc := range []struct {
		name  string
		width int
		env   []string
		keys  string // answer to Ctrl-C; empty: it is not pressed
		code  int
		state string
		plain bool
	}{
		{name: "narrow", width: 40, env: []string{"TERM=xterm"}, keys: "x", state: "done"},
		{name: "wide", width: 160, env: []string{"TERM=xterm"}, keys: "x", state: "done"},
		{
			name:  "tmux",
			width: 80,
			env:   []string{"TERM=tmux-256color", "TMUX=/tmp/tmux-0/default,1,0"},
			keys:  "s",
			code:  3,
			state: "partial",
		},
		{name: "cancelled", width: 80, env: []string{"TERM=xterm"}, keys: "c", code: 130, state: "cancelled"},
		{name: "no colour", width: 40, env: []string{"TERM=xterm", "NO_COLOR=1"}, keys: "c", code: 130, state: "cancelled"},
		{name: "log of CI", width: 80, env: []string{"TERM=dumb", "CI=true"}, state: "done", plain: true},
		{
			name:  "log of CI, cancelled",
			width: 80,
			env:   []string{"TERM=dumb", "CI=true"},
			keys:  "c",
			code:  130,
			state: "cancelled",
			plain: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tty := openTerminal(t)
			check(t, unix.IoctlSetWinsize(int(tty.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: uint16(tc.width)}))
			out := filepath.Join(t.TempDir(), "out.root")
			cmd := n.onTerminal(t, tty, tc.env, paced(t, 60).arguments(out)...)
			if tc.keys != "" {
				tty.wait(t, "events/s")
				tty.press(t, "\x03")
				tty.wait(t, "[c]ancel")
				tty.press(t, tc.keys)
			}
			_ = cmd.Wait()
			<-tty.done
			if code := cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			shown := render(t, tc.width, tty.text())
			if tc.plain && strings.ContainsRune(tty.text(), '\x1b') {
				t.Error("an escape code on a terminal that has none")
			}
			if strings.Contains(tty.text(), "\x1b[J") {
				t.Error("the rest of the screen is erased: in the first row that leaves each frame in the history of tmux")
			}
			wantScreen(t, shown, tc.state, tc.plain)
		})
	}
}

// progressLine is one that tells how a job stands.
var progressLine = regexp.MustCompile(`^(preparing|running|waiting|merging|done|partial|cancelled|failed) .*\d/`)

// wantScreen fails the test unless lines are whole: the bar is there once, as it stood last, and nothing of what was
// drawn before is left.
func wantScreen(t *testing.T, shown []string, state string, plain bool) {
	t.Helper()
	bars, torn, last := 0, "", ""
	for _, l := range shown {
		switch {
		case progressLine.MatchString(l):
			bars++
			last = l
		case plain && regexp.MustCompile(`^(preparing|running|merging|done|partial|cancelled)  `).MatchString(l):
			last = l
		}
		for _, w := range []string{"running", "merging", "preparing", "events/s"} {
			if strings.Count(l, w) > 1 && !plain ||
				regexp.MustCompile(`[a-z]`+w).MatchString(strings.ReplaceAll(l, "kevents", "events")) && w != "events/s" {
				torn = l
			}
		}
		if strings.Contains(l, "[c]ancel") && !plain || strings.Contains(l, "^C") && !plain {
			torn = l
		}
	}
	if torn != "" || !plain && bars != 1 || !strings.HasPrefix(last, state) {
		t.Errorf("want one bar, and the job shown as %s: %d bars, torn %q, last %q\n%s", state, bars, torn, last,
			strings.Join(shown, "\n"))
	}
	end := fmt.Sprint(shown)
	if !strings.Contains(end, state) {
		t.Errorf("the end does not say %s: %s", state, end)
	}
}
