package progress

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8/decor"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/node/api"
)

// drawn returns the lines that are drawn on a terminal.
func drawn(t interface{ Fatal(...any) }, width int, st api.JobStatus, question ...string) []string {
	var b bytes.Buffer
	p := NewTerminal(&b)
	p.size = func() (int, int) { return width, 24 }
	p.open()
	defer p.Close()
	p.meter.add(st)
	p.question = question
	var bar, below bytes.Buffer
	if err := p.line(&bar, decor.Statistics{Total: st.Units, Current: st.Done}); err != nil {
		t.Fatal(err)
	}
	if err := p.below(&below, decor.Statistics{}); err != nil {
		t.Fatal(err)
	}
	return append([]string{strings.TrimPrefix(bar.String(), lineStart)},
		strings.Split(strings.TrimSuffix(below.String(), "\n"), "\n")...)
}

// TestNoLineWraps: however narrow a terminal is, no line is wider, and none is cut twice.
func TestNoLineWraps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 120).Draw(t, "width")
		units := rapid.Int64Range(0, 1e12).Draw(t, "units")
		st := api.JobStatus{
			State:   rapid.SampledFrom(api.States()).Draw(t, "state"),
			Units:   units,
			Done:    rapid.Int64Range(0, units).Draw(t, "done"),
			Unknown: rapid.IntRange(0, 3).Draw(t, "unknown"),
			Phase:   rapid.SampledFrom([]string{"", "reading file 1 of 9", "計算ノード計算ノード計算ノード"}).Draw(t, "phase"),
		}
		for _, l := range drawn(t, width, st, "a long question with a choice?", "a choice?", "?") {
			if n := runewidth.StringWidth(l); n > width {
				t.Fatalf("%d places of %d: %q", n, width, l)
			}
			if strings.Count(l, "…")+strings.Count(l, "~") > 1 {
				t.Fatalf("cut twice at %d: %q", width, l)
			}
		}
	})
}

// TestNarrow: on ever narrower terminals the state and the percentage are dropped last, and the counts before them.
func TestNarrow(t *testing.T) {
	st := api.JobStatus{State: api.Done, Units: 30_000, Done: 30_000}
	for width, want := range map[int]string{
		3:  "do…",
		4:  "done",
		8:  "done",
		9:  "done 100%",
		10: "done 100%",
		20: "done 100%",
		22: "done 100%",
		23: "done 30,000/30,000 100%",
		28: "done 30,000/30,000 [=>] 100%",
		45: "done 30,000/30,000 [==================>] 100%",
	} {
		if got := drawn(t, width, st)[0]; got != want {
			t.Errorf("%d: got %q, want %q", width, got, want)
		}
	}
	for width := 10; width <= 45; width++ {
		if n := runewidth.StringWidth(drawn(t, width, st)[0]); n > width {
			t.Errorf("%d places of %d", n, width)
		}
	}
}

// TestPlainWaits: a job that keeps waiting for the same thing gets lines at doubling intervals, and a new thing gets a
// line at once.
func TestPlainWaits(t *testing.T) {
	var b bytes.Buffer
	p := NewPlain(&b)
	for i := range 100 {
		st := api.JobStatus{
			State:   api.Preparing,
			Seconds: float64(i),
			Phase:   fmt.Sprintf("reading file %d of 9; waiting %d s of 300 s for /a.root", i/20+1, i),
		}
		if i > 90 {
			st.Phase = "compiling"
		}
		p.Status(st)
	}
	var at []string
	for _, l := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		_, what, _ := strings.Cut(l, "waiting ")
		what, _, _ = strings.Cut(what, " of")
		at = append(at, what)
	}
	if want := "0 s,5 s,10 s,20 s,40 s,80 s,,"; strings.Join(at, ",") != want {
		t.Errorf("lines at %q, want %q:\n%s", strings.Join(at, ","), want, b.String())
	}
}
