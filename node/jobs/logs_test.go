package jobs

import (
	"errors"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

func TestLogsAreToldOnce(t *testing.T) {
	var b strings.Builder
	last := ""
	l := &logWriter{told: map[tasks.PeerID]logText{}, part: func(p api.LogPart) error {
		if last != p.Name {
			last = p.Name
			b.WriteString("== " + p.Name + "\n")
		}
		b.WriteString(p.Text)
		return nil
	}}
	long := strings.Repeat("a line that is rather long\n", 100)
	for _, step := range []struct{ id, text string }{
		{"1", "x\n"},
		{"2", ""},
		{"1", "x\ny\n"},
		{"1", "x\ny\n"},
		{"2", "z\n"},
		{"1", "x\ny\nend of 1\n"},
		{"2", long + "last\n"},             // nothing is left of what was told
		{"2", long[270:] + "last\nmore\n"}, // the oldest lines have gone
	} {
		if err := l.tell(step.id, "node"+step.id, logText{text: step.text}); err != nil {
			t.Fatal(err)
		}
	}
	want := "== node1\nx\ny\n== node2\nz\n== node1\nend of 1\n== node2\n" + long + "last\nmore\n"
	if b.String() != want {
		t.Errorf("told %q\nwant %q", b.String(), want)
	}
}

// TestLogsSayWhatTheyLack prints more than is kept between two looks: each look has one line for what it has missed,
// and all lines are told or counted there.
func TestLogsSayWhatTheyLack(t *testing.T) {
	var got []string
	l := &logWriter{told: map[tasks.PeerID]logText{}, part: func(p api.LogPart) error {
		got = append(got, strings.Split(strings.TrimSuffix(p.Text, "\n"), "\n")...)
		return nil
	}}
	j := newJob(t.Context(), "self", "job")
	look := func() {
		t.Helper()
		if err := l.tell("1", "a node", readLog(j.log().encode())); err != nil {
			t.Fatal(err)
		}
	}
	line := strings.Repeat("x", 1023)
	for range 300 { // 256 of these are kept
		j.Printed("a node", line)
	}
	look()
	look()
	j.Printed("a node", exec.Dropped{Lines: 7, Bytes: 70}.Line())
	j.Printed("a node", "next")
	look()
	j.Printed("a node", exec.Dropped{Lines: 5, Bytes: 50}.Line())
	for range 1000 {
		j.Printed("a node", line)
	}
	look()
	var marks []string
	lines := 0
	for _, s := range got {
		if strings.HasPrefix(s, "... ") {
			marks = append(marks, s)
		} else {
			lines++
		}
	}
	want := []string{
		"... 44 lines (45,056 bytes) of a node were dropped here (more than the 256 KiB that a node keeps)",
		"... 7 lines (70 bytes) of a node were dropped here (printed faster than it could be read)",
		"... 749 lines (761,906 bytes) of a node were dropped here (more than the 256 KiB that a node keeps)",
	}
	if strings.Join(marks, "\n") != strings.Join(want, "\n") || lines != 256+1+256 {
		t.Errorf("%d lines, and %q", lines, marks)
	}
	if got := readLog([]byte(logHead + "1 -5 0 0 0 0\nx")); got.at != 0 {
		t.Errorf("what a member sends is read as %+v", got)
	}
}

// TestSilentNodes: whoever has worked for a job and does not tell is named, and whoever may have, if it is not known
// who did all.
func TestSilentNodes(t *testing.T) {
	members := map[tasks.PeerID]api.Member{
		"self": {Name: "self", Up: true}, "up": {Name: "up", Up: true}, "mute": {Name: "mute", Up: true},
		"lost": {Name: "lost", State: api.MemberLost}, "idle": {Name: "idle", State: api.MemberLeft},
	}
	work := func(ids ...string) (st api.JobStatus) {
		st.Done = 100
		for _, id := range ids {
			st.Nodes = append(st.Nodes, api.NodeWork{ID: id, Name: id, Units: 25, Packets: 1})
		}
		return st
	}
	failed := map[tasks.PeerID]error{"mute": errors.New("late")}
	for _, tc := range []struct {
		st   api.JobStatus
		want string
	}{
		{work("self", "up", "up", "self"), ""},
		{work("self", "up", "mute", "lost"), "lost is not up: lost, mute does not answer: late"},
		{work("self", "up", "gone", "up"), "gone is no member any more"},
		// the rest was done by somebody
		{work("self"), "idle is not up: left, lost is not up: lost, mute does not answer: late"},
		{api.JobStatus{}, ""},
	} {
		var got []string
		for _, s := range silent(tc.st, "self", members, failed) {
			got = append(got, s.Name+" "+s.Why)
		}
		if text := strings.Join(got, ", "); text != tc.want {
			t.Errorf("got %q, want %q", text, tc.want)
		}
	}
}
