package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestWatch watches a job from the node that leads it, from another, and as run does it. Each snapshot counts exactly
// the units that it says, and its file has the same; the result is that of a job which nobody watches.
func TestWatch(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	home, other := c.nodes[0], c.nodes[1]
	u := jsonUser{schemas: loadSchemas(t, home.bin), t: t, dir: t.TempDir()}
	var (
		j       job
		r       *running
		working api.JobStatus
		id, one string
		s       *api.Snapshot
	)
	// A child tells of progress sooner than it can show any of it. Where a busy host is so late with a first snapshot that
	// the job has ended, another job takes longer.
	for us := 200; s == nil; us *= 4 {
		j = paced(t, us)
		r = home.begin(t, j)
		working = r.until(t, "it works", func(st api.JobStatus) bool { return st.Done > 0 })
		id = working.ID
		check(t, poll(commandLimit, func() (bool, error) {
			one = u.run(home, 0, "watch", "watch", id, "n,blocks,none", "--once", "--file", "now.root")
			var ev api.WatchEvent
			err := json.Unmarshal([]byte(one), &ev)
			if s = ev.Snapshot; s != nil && s.Units == 0 {
				s = nil
			}
			return s != nil || ev.Over != "", err
		}))
		if s == nil {
			r.end(t).wantWhole(t)
		}
	}
	if s.Units <= 0 || s.Of != working.Units || len(s.Objects) != 2 || strings.Join(s.Absent, "") != "none" {
		t.Fatalf("the first snapshot: %s", one)
	}
	for _, p := range s.Objects {
		if p.Name == "n" && p.Text != strconv.FormatInt(s.Units, 10) ||
			p.Name == "blocks" && p.Entries != float64(s.Units) {
			t.Errorf("%s counts %s, %g, and not %d", p.Name, p.Text, p.Entries, s.Units)
		}
	}
	if info, err := os.Stat(filepath.Join(u.dir, "now.root")); err != nil || info.Size() != s.Bytes {
		t.Errorf("the file has not %d bytes: %v, %v", s.Bytes, info, err)
	}
	u.run(home, 2, "error", "watch", id, "")
	u.run(home, 2, "error", "watch", id, "n", "--every", "10ms")
	u.run(home, 1, "error", "watch", "ffff", "n")

	got := other.dtpnode(t, t.TempDir(), "watch", id, "n", "--every", "1s") // to the job's end, as lines
	if got.code != 0 || !strings.Contains(got.stderr, "the job is done") {
		t.Fatalf("from another node: %+v", got)
	}
	lines := regexp.MustCompile(`(?m)^([0-9,]+) of .*\n  n  ([0-9]+)$`).FindAllStringSubmatch(got.stdout, -1)
	if len(lines) == 0 {
		t.Errorf("no snapshot from another node: %s", got.stdout)
	}
	for _, l := range lines {
		if strings.ReplaceAll(l[1], ",", "") != l[2] {
			t.Errorf("a snapshot of %s units counts %s", l[1], l[2])
		}
	}
	r.end(t).wantWhole(t)

	j.Params["us"] = "800" // so that it does not end before the first snapshot, which a busy host is late with
	tty := openTerminal(t)
	args := append(j.arguments(filepath.Join(t.TempDir(), "o.root")), "--watch", "blocks,nosuch", "--watch-file",
		"live.root", "--watch-every", "1s")
	cmd := home.onTerminal(t, tty, []string{"TERM=xterm"}, args...)
	tty.wait(t, "blocks  ")
	tty.wait(t, "└──")
	tty.wait(t, "nothing in the output is called nosuch")
	check(t, cmd.Wait())

	j.Params["us"] = "0" // ends before the first snapshot, or soon after
	short := home.dtpnode(t, t.TempDir(), append(j.arguments("s.root"), "--watch", "n,b*,nosuch", "--watch-file",
		"live.root")...)
	told := regexp.MustCompile(`(?m)^note: (the job ended before the first snapshot, so that .*live.root was not ` +
		`written|.*live.root has the objects as they were at .* of 80,000 entries and before Terminate); the result has ` +
		`the whole: .*s.root$`)
	if short.code != 0 || !told.MatchString(short.stdout) ||
		!strings.Contains(short.stdout, "note: nothing in the output is called nosuch; it has ") {
		t.Errorf("of a short job: %+v", short)
	}
}
