package jobs

import (
	"errors"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

func TestLogsAreToldOnce(t *testing.T) {
	var b strings.Builder
	last := ""
	l := &logWriter{told: map[tasks.PeerID]string{}, part: func(p api.LogPart) error {
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
		if err := l.tell(step.id, "node"+step.id, step.text); err != nil {
			t.Fatal(err)
		}
	}
	want := "== node1\nx\ny\n== node2\nz\n== node1\nend of 1\n== node2\n" + long + "last\nmore\n"
	if b.String() != want {
		t.Errorf("told %q\nwant %q", b.String(), want)
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
