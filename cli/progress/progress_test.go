package progress

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/node/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// course is a job of 4 million events, with five statuses a second.
func course() []api.JobStatus {
	var all []api.JobStatus
	st := api.JobStatus{ID: "3fa9c2d417e8aa", Title: "/ana/DiMuon.C", State: api.Preparing, Phase: "planning 8 files"}
	for i := range 100 {
		st.Seconds = float64(i) / 5
		switch {
		case i == 3:
			st.Phase = "compiling DiMuon.C"
		case i >= 10 && i < 90:
			st.State, st.Phase, st.Units = api.Running, "", 4_000_000
			st.Done += 50_000
			st.Bytes += 3_000_000
			st.Rate = 250_000
			st.Packets = int64(i)
			st.Steals = int64(i / 20)
		case i == 90:
			st.State, st.Phase, st.Merges = api.Merging, "Terminate", 3
		case i == 99:
			st.State, st.Phase, st.Rate, st.Committed = api.Done, "", 0, st.Done
		}
		all = append(all, st)
	}
	return all
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	p := NewPlain(&b)
	for _, st := range course() {
		p.Status(st)
	}
	p.Close()
	golden(t, "plain.txt", b.String())
	if strings.ContainsRune(b.String(), '\x1b') {
		t.Error("an escape code among plain lines")
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	p := NewJSON(&b)
	for i, st := range course() {
		if i%10 == 0 || i == 99 { // keep the golden file short
			p.Status(st)
		}
	}
	fmt.Fprintln(p, "<Terminate> says hello")
	golden(t, "events.jsonl", b.String())
}

func TestSummary(t *testing.T) {
	st := api.JobStatus{
		ID: "3fa9c2d417e8aa", State: api.Partial, Units: 4_000_000, Done: 3_999_000, Seconds: 8.25, Bytes: 123_456_789,
		Output: "/ana/dimuon.root", Apart: []string{"evil\x1b[31mname", "plots"},
		Nodes: []api.NodeWork{
			{Name: "first", Units: 2_000_000, Rate: 241_000, Packets: 20, Merges: 2, Failures: 3, Up: true},
			{Name: "a-much-longer-name", Units: 1_999_000, Rate: 17.5, Packets: 19, Steals: 7},
		},
		Missing: []api.Missing{
			{
				File:   "/data/a.root",
				First:  123,
				Last:   124,
				Kind:   "signal",
				Reason: "segmentation violation",
				Nodes:  []string{"first", "b"},
				Tries:  3,
				Stack:  "#0 DiMuon::Process\n#1 main\n",
				Tail:   "before the crash\x1b[2J\n",
			},
			{File: "/data/b.root", First: 0, Last: -1, Kind: "open", Reason: "not a ROOT file"},
			{
				File:   "/data/c.root",
				First:  10,
				Last:   509,
				Kind:   "data",
				Reason: "basket checksum",
				Nodes:  []string{"first"},
				Tries:  1,
			},
			{File: "/data/d.root", First: 0, Last: 10, Kind: "future", Reason: "of a kind not known yet"},
		},
	}
	var b bytes.Buffer
	Summary(&b, st)
	b.WriteString("--- kept\n")
	Summary(&b, api.JobStatus{ID: "3fa9c2d417e8aa", State: api.Done, Units: 10, Done: 10, Seconds: 0.1})
	b.WriteString("--- after a loss\n")
	lossy := api.JobStatus{
		ID:      "3fa9c2d417e8aa",
		State:   api.Done,
		Units:   5000,
		Done:    5000,
		Before:  1000,
		RetryOf: "4fa9c2d417e8aa",
		Seconds: 1,
		Output:  "/ana/o.root",
		Nodes:   []api.NodeWork{{Name: "a", Units: 3500, Up: true}, {Name: "b", Units: 1734}},
	}
	Summary(&b, lossy)
	if lossy.State = api.Running; surplus(lossy) != 0 {
		t.Error("what is not committed yet may count")
	}
	golden(t, "summary.txt", b.String())
}

// TestTerminal draws once at the end: the last state and the question must be visible, and no line may be wider than
// the terminal.
func TestTerminal(t *testing.T) {
	var b bytes.Buffer
	p := NewTerminal(&b)
	p.size = func() (int, int) { return 60, 24 }
	all := course()
	for _, st := range all[:50] {
		p.Status(st)
	}
	p.Ask("Interrupted: really?")
	fmt.Fprintln(p, "a line of Begin")
	p.Close()
	for _, want := range []string{"running 2,000,000/4,000,000 [", " 50%", "250 kevents/s", "packets 49",
		"Interrupted: really?", "a line of Begin"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %q", want, b.String())
		}
	}
}

// TestTerminalDrawsInPlace: a frame is drawn over the one before line by line, and the screen is never erased.
func TestTerminalDrawsInPlace(t *testing.T) {
	var b bytes.Buffer
	for _, frame := range []string{"one\ntwo\n", "\x1b[2A\x1b[Jthree\nfour\n"} {
		if n, err := (inPlace{&b}).Write([]byte(frame)); n != len(frame) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if want := "one\ntwo\n\r\x1b[K\x1b[A\x1b[K\x1b[A\x1b[Kthree\nfour\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// TestTerminalShort: nothing is drawn for a job that ends at once.
func TestTerminalShort(t *testing.T) {
	var b bytes.Buffer
	p := NewTerminal(&b)
	p.Status(api.JobStatus{State: api.Running, Units: 1000, Seconds: 0.01})
	p.Status(api.JobStatus{State: api.Done, Units: 1000, Done: 1000, Seconds: 0.5})
	p.Close()
	if b.Len() > 0 {
		t.Errorf("drew %q", b.String())
	}
}

func TestSteps(t *testing.T) {
	var b bytes.Buffer
	now := time.Unix(0, 0)
	for _, terminal := range []bool{false, true} {
		s := Steps{W: &b, Terminal: terminal, Now: func() time.Time { return now }}
		err := s.Run("data set", func(report func(string)) (string, error) {
			for i := range 60 {
				now = now.Add(200 * time.Millisecond)
				if terminal && i > 2 {
					continue
				}
				report(fmt.Sprintf("%d of 60", i+1))
			}
			return "60 files", nil
		})
		if err != nil {
			t.Error(err)
		}
		broken := errors.New("broken")
		if err := s.RunSilent("job", func() (string, error) { return "", broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	golden(t, "steps.txt", b.String())
}

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		Count(0):                    "0",
		Count(-1234567):             "-1,234,567",
		Count(999):                  "999",
		Count(1000):                 "1,000",
		Rate(0):                     "0 ",
		Rate(1.5):                   "1.50 ",
		Rate(999.4):                 "999 ",
		Rate(999.6):                 "1.00 k",
		Rate(1234567):               "1.23 M",
		Rate(99.96e3):               "100 k",
		Bytes(48.24e6):              "48.2 MB",
		Bytes(12):                   "12 B",
		Seconds(0.35):               "350ms",
		Seconds(4.21):               "4.2s",
		Seconds(42):                 "42s",
		Seconds(185):                "3m05s",
		Seconds(7800):               "2h10m",
		Seconds(-1):                 "?",
		Percent(1, 0):               "0%",
		Percent(999_999, 1_000_000): "99%",
		Percent(5, 5):               "100%",
		Clean("a\u202egnp.exe\u202c\u2066b\u00adc\u200d\u2028d\u00a0\U000e0041e é 漢 😀\n"): "agnp.exebcd e é 漢 😀\n",
		Clean("a\x1b[2Jb\r\x07\tc\u009b"): "a[2Jb\tc",
		line("a\nb\x00"):                  "a b",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestCountProperty: without its commas, a count is the number.
func TestCountProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		if got := strings.ReplaceAll(Count(n), ",", ""); got != fmt.Sprint(n) {
			t.Fatalf("got %s for %d", got, n)
		}
	})
}

func TestMeter(t *testing.T) {
	var m meter
	for _, st := range course()[:50] {
		m.add(st)
	}
	// 2 million events are left at 250,000 a second.
	if left := m.left(); left < 7 || left > 9 {
		t.Errorf("time left %v s, want about 8", left)
	}
	m.add(api.JobStatus{Seconds: 1}) // another daemon's clock: begin again
	if m.left() != -1 {
		t.Errorf("time left %v of a job that has not begun", m.left())
	}
}

// TestSummaryLong: a long list is cut, with a hint where the rest is, and what is missing for the same reason is
// grouped.
func TestSummaryLong(t *testing.T) {
	var many, stopped []api.Missing
	for i := range int64(25) {
		many = append(many, api.Missing{
			File:   "f",
			First:  i,
			Last:   i + 1,
			Kind:   "exception",
			Reason: fmt.Sprint("number ", i),
		})
	}
	for i := range int64(40) {
		stopped = append(stopped, api.Missing{
			File:   fmt.Sprintf("f%02d", i),
			Last:   1000 + i,
			Kind:   "stopped",
			Reason: "stopped by the user",
		})
	}
	for name, tc := range map[string]struct {
		missing []api.Missing
		says    []string
		files   int // named
	}{
		"reasons": {many,
			[]string{"Missing from the result (25):", "and more, for 5 other reasons", "status j --output json", "retry j"}, 20},
		"one": {stopped,
			[]string{"  40 files, 40,780 entries: stopped by the user\n    f00 entries [0, 1000)\n", "    and 37 more\n"}, 3},
		"both": {append(stopped[:40:40], many[:1]...),
			[]string{"40 files, 40,780 entries: stopped by the user", "f entry 0\n    exception: number 0"}, 4},
		"unknown": {[]api.Missing{
			{File: "a", Last: -1},
			{File: "b", Last: -1},
			{File: "c", Last: 5},
		}, []string{"3 files, 5 entries and more: "}, 3},
	} {
		var b bytes.Buffer
		Summary(&b, api.JobStatus{ID: "j", State: api.Partial, Missing: tc.missing})
		files := 0
		for l := range strings.Lines(b.String()) {
			if strings.HasPrefix(strings.TrimSpace(l), "f") || strings.Contains(l, "(whole file)") ||
				strings.Contains(l, "c entries") {
				files++
			}
		}
		for _, s := range tc.says {
			if !strings.Contains(b.String(), s) || files != tc.files {
				t.Errorf("%s: want %q, and %d ranges named, not %d:\n%s", name, s, tc.files, files, b.String())
			}
		}
	}
}

// TestWaiting: while nothing moves there is no rate and no time left, but the reason, if the job waits, in all formats;
// the usual line returns when it goes on.
func TestWaiting(t *testing.T) {
	const why = "most of the 3 nodes that keep its ledger are needed, and b and c cannot be reached"
	var plain, events bytes.Buffer
	p, j, m := NewPlain(&plain), NewJSON(&events), meter{}
	all := course()[:50]
	st := all[len(all)-1]
	for range 30 {
		st.Seconds += 0.2
		st.State, st.Phase, st.Rate = api.Waiting, why, 0
		all = append(all, st)
	}
	for range 30 {
		st.Seconds += 0.2
		st.State, st.Phase, st.Rate, st.Done = api.Running, "", 250_000, st.Done+50_000
		all = append(all, st)
	}
	for _, st := range all {
		p.Status(st)
		j.Status(st)
		m.add(st)
		if st.State == api.Waiting && m.details() != why {
			t.Fatalf("beside the bar: %q", m.details())
		}
	}
	if !strings.Contains(m.details(), "ETA") {
		t.Errorf("no ETA when it goes on: %s", m.details())
	}
	if !strings.Contains(plain.String(), "waiting  2,000,000 of 4,000,000 events (50%)  "+why+"\n") {
		t.Errorf("no reason among plain lines:\n%s", plain.String())
	}
	if !strings.Contains(events.String(), `"state":"waiting","phase":"`+why) {
		t.Errorf("no reason among events:\n%s", events.String())
	}
}

// TestStill: there is no rate and no time left for a job that is in the state running but makes no progress.
func TestStill(t *testing.T) {
	var m meter
	all := course()[:50]
	for _, st := range all {
		m.add(st)
	}
	st := all[len(all)-1]
	for range 100 {
		st.Seconds += 0.2
		m.add(st)
		if quiet := st.Seconds - all[len(all)-1].Seconds; quiet > 3.1 &&
			(strings.Contains(m.details(), "ETA") || strings.Contains(m.details(), "events/s")) {
			t.Fatalf("after %.1f s without any progress: %s", quiet, m.details())
		}
	}
	if !strings.Contains(m.details(), "nothing done for 20s") {
		t.Error(m.details())
	}
	for range 10 { // a job whose packets take 2 s each is no such job
		st.Seconds, st.Done = st.Seconds+2, st.Done+1000
		m.add(st)
	}
	if !strings.Contains(m.details(), "ETA") {
		t.Error(m.details())
	}
}

// TestUnknownLength: no percentage is shown if the total is unknown.
func TestUnknownLength(t *testing.T) {
	st := api.JobStatus{ID: "j", State: api.Partial, Units: 1000, Done: 1000, Committed: 1000, Unknown: 1, Seconds: 2}
	var b bytes.Buffer
	NewPlain(&b).Status(st)
	Summary(&b, st)
	if got := b.String(); strings.Contains(got, "100%") ||
		strings.Count(got, "1,000 of 1,000 events, and nothing of 1 file of unknown length") != 2 {
		t.Error(got)
	}
	if got := Share(st); got != "?" {
		t.Errorf("share %q", got)
	}
}

// TestNoRateThatIsNone: what is given up, or was done before the job's home restarted, does not count as rate.
func TestNoRateThatIsNone(t *testing.T) {
	var b bytes.Buffer
	p := NewPlain(&b)
	st := api.JobStatus{ID: "3fa9c2d417e8aa", State: api.Running, Units: 1000, Seconds: 1, Done: 900, Bytes: 9000}
	p.Status(st)
	for _, state := range []api.JobState{api.Running, api.Merging, api.Merging} { // 400 were given up
		st.Seconds, st.State, st.Done, st.Bytes = st.Seconds+6, state, 500, 5000
		p.Status(st)
	}
	st.Seconds, st.State, st.Nodes = st.Seconds+6, api.Partial, []api.NodeWork{{Name: "a", Units: 100}}
	p.Status(st)
	Summary(&b, st)
	if text := b.String(); regexp.MustCompile(`-\d`).MatchString(text) {
		t.Errorf("a rate below zero: %s", text)
	}
	for _, l := range strings.Split(b.String(), "\n") {
		if (strings.HasPrefix(l, "merging") || strings.HasPrefix(l, "partial")) && strings.Contains(l, "events/s") {
			t.Errorf("a rate that is none: %s", l)
		}
	}
}

// TestNobodyElse: the text for a node that is alone does not refer to others.
func TestNobodyElse(t *testing.T) {
	st := api.JobStatus{
		State: api.Partial,
		Nodes: []api.NodeWork{{
			Name:   "a",
			Up:     true,
			Unseen: []api.Unseen{{Where: "/x.root", Reason: "No such file or directory", Files: 1}},
		}},
	}
	for _, want := range []string{"node a does not see /x.root (No such file or directory)\n",
		"node a does not see /x.root (No such file or directory): 1 file left to others\n"} {
		var b bytes.Buffer
		Nodes(&b, st)
		if !strings.Contains(b.String(), want) {
			t.Errorf("got %s, want %s", b.String(), want)
		}
		st.Nodes = append(st.Nodes, api.NodeWork{Name: "b", Up: true})
	}
}

// TestTwoVersionsOfAFile: for a file that differs between hosts the text says which host has which version, and what to
// do, whether or not others have the planned version.
func TestTwoVersionsOfAFile(t *testing.T) {
	const reason = "the tree has 150 entries here, but 100 where it was planned: the file has changed since, or this is " +
		"another file"
	st := api.JobStatus{State: api.Done, SubmitterName: "alice", Nodes: []api.NodeWork{{Name: "alice", Up: true},
		{Name: "bob", Up: true, Unseen: []api.Unseen{{Where: "/x.root", Cause: "differs", Reason: reason, Files: 1}}}}}
	var b bytes.Buffer
	Summary(&b, st)
	for _, want := range []string{"node bob has another version of /x.root than was planned when alice submitted",
		"150 entries", "100 where it was planned", "run the job again"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "does not see") {
		t.Errorf("it sees the file: %s", b.String())
	}
	b.Reset()
	st.State, st.Missing = api.Partial, []api.Missing{{
		File:   "/x.root",
		Last:   100,
		Kind:   "open",
		Reason: reason,
		Nodes:  []string{"bob"},
		Tries:  1,
	}}
	Summary(&b, st)
	if !strings.Contains(b.String(), "different versions of the file") {
		t.Errorf("it is not said what to do: %s", b.String())
	}
}

// TestPlainEndsNoLineInBlanks: a line without details ends with the name of the state.
func TestPlainEndsNoLineInBlanks(t *testing.T) {
	var b bytes.Buffer
	p := NewPlain(&b)
	for _, st := range []api.JobStatus{{State: api.Preparing, Phase: "compiling"}, {State: api.Failed}} {
		p.Status(st)
	}
	if b.String() != "preparing  compiling\nfailed\n" {
		t.Errorf("%q", b.String())
	}
}

// TestWordsOfAllAlone: reports of nodes are shown for grouped files only if they are the same for each file.
func TestWordsOfAllAlone(t *testing.T) {
	at := func(file string, words ...string) api.Missing {
		return api.Missing{
			File:   file,
			Last:   10,
			Kind:   "open",
			Reason: "no node can read it: gone; stale",
			Nodes:  []string{"a", "b"},
			Tries:  2,
			Words:  words,
		}
	}
	for _, same := range []bool{true, false} {
		st := api.JobStatus{
			State:   api.Partial,
			Missing: []api.Missing{at("/1", "gone", "stale"), at("/2", "gone", "stale"), at("/3", "gone", "stale")},
		}
		if !same {
			st.Missing[2] = at("/3", "stale", "gone")
		}
		var b bytes.Buffer
		if Summary(&b, st); strings.Contains(b.String(), "a: gone") != same {
			t.Errorf("same words: %v, told %s", same, b.String())
		}
	}
}
