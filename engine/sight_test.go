package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// blindRig is a node "m" that works on a job of n files of 10 units for the home "h".
func blindRig(t *testing.T, n int, name func(i int) string) (*rig, *jobState) {
	t.Helper()
	files := make([]tasks.File, n)
	for i := range files {
		files[i] = tasks.File{URL: name(i), Entries: 10}
	}
	data, err := tasks.NewDataset(files)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "m")
	r.step(PeerUp{ID: "h", Slots: 1})
	r.step(Recv{From: "h", Msg: open("h", 1)})
	ahead := r.step(
		Prepared{ID: jobID, Job: &tasks.Job{Protocol: tasks.Protocol, Submitter: "h", Data: *data, Want: data.Space()}},
	)
	r.answer(ahead, "") // one of each folder
	return r, r.peer.job(jobID)
}

// answer has all files of Looks be missing or, without a cause, be seen.
func (r *rig) answer(effects []Effect, cause string) (more []Effect) {
	for _, e := range effects {
		if l, ok := e.(Look); ok {
			var found []Glance
			for _, f := range l.Files {
				found = append(found, Glance{File: f, Cause: cause})
			}
			more = append(more, r.peer.Step(r.now, Looked{ID: jobID, Files: found})...)
		}
	}
	return more
}

// unread has a generation fail at a file.
func (r *rig) unread(j *jobState, file int, cause string) {
	r.peer.out = nil
	r.peer.cannotRead(j, ledger.Failure{Blame: j.desc.Data.Units(file), Host: cause, Reason: "why"})
}

func looks(effects []Effect) (files int) {
	for _, e := range effects {
		if l, ok := e.(Look); ok {
			files += len(l.Files)
		}
	}
	return files
}

func (j *jobState) dark() int64 { return j.sight.cover(&j.desc.Data, j.desc.Want, false).Len() }

// TestOneTryForTenThousandFiles has one failure at a local file bring the others to light, without a generation for
// each: by looks of a bounded size, told in few ranges.
func TestOneTryForTenThousandFiles(t *testing.T) {
	const n = 10_000
	r, j := blindRig(t, n, func(i int) string { return fmt.Sprintf("/data/run%d/f%d.root", i%2, i) })
	r.unread(j, 1, "missing")
	for asked := 0; asked < n-1; {
		var found []Glance
		for _, e := range r.peer.out {
			if l, ok := e.(Look); ok {
				if asked += len(l.Files); len(l.Files) > lookAtOnce {
					t.Fatalf("%d files are looked at at once", len(l.Files))
				}
				for _, f := range l.Files {
					g := Glance{File: f}
					if f >= n/2 || f == 1 {
						g.Cause, g.Reason = "missing", "No such file or directory"
					}
					found = append(found, g)
				}
			}
		}
		if found == nil {
			t.Fatalf("%d files were looked at", asked)
		}
		r.peer.Step(r.now, Looked{ID: jobID, Files: found})
	}
	if got := j.dark(); got != (n/2+1)*10 {
		t.Errorf("%d units are not seen, want half", got)
	}
	us, presumed := j.sight.unseen(&j.desc.Data, j.desc.Want)
	if len(us) != 2 || !presumed.Empty() || us[0].Files+us[1].Files != n/2+1 {
		t.Errorf("told as %d groups, %v untried", len(us), presumed)
	}
}

// TestReasonsAreTrueOfAll has files of a folder differ from what was planned: what is told of several, its numbers
// included, is so of each. Few are told one by one.
func TestReasonsAreTrueOfAll(t *testing.T) {
	const n = 8
	r, j := blindRig(t, n, func(i int) string { return fmt.Sprintf("/data/f%d.root", i) })
	why := []string{
		"0 entries here, but 10",
		"another UUID",
		"0 entries here, but 10",
		"1 entries here, but 10",
		"2 entries here, but 10",
		"3 entries here, but 10",
	}
	for i, reason := range why {
		r.peer.cannotRead(j, ledger.Failure{Blame: j.desc.Data.Units(i), Host: causeDiffers, Reason: reason})
	}
	for i, reason := range []string{"No such file", "ROOT finds no such file"} {
		r.peer.cannotRead(j, ledger.Failure{Blame: j.desc.Data.Units(len(why) + i), Host: "missing", Reason: reason})
	}
	us, _ := j.sight.unseen(&j.desc.Data, j.desc.Want)
	var got []string
	for _, u := range us {
		got = append(got, fmt.Sprintf("%s %v: %s", u.Where, u.Cover, u.Reason))
	}
	together := "the tree has another number of entries here, or the file another UUID, than where it was planned"
	want := []string{
		"/data/ [0,10) [20,30): " + why[0],
		"/data/f1.root [10,20): " + why[1],
		"/data/f3.root [30,40): " + why[3],
		"/data/ [40,60): " + together,
		"/data/ [60,80): No such file or directory",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told is\n%q, want\n%q", got, want)
	}
}

// TestLooksAheadOfItsWork has a node look at the local files of what it is given, once, before a generation comes to
// them; and not at others.
func TestLooksAheadOfItsWork(t *testing.T) {
	r, j := blindRig(t, 100, func(i int) string { return fmt.Sprintf("/data/run%d/f%d.root", i/50, i) })
	grant := steal.Grant{ID: 1, Job: jobID, Ranges: tasks.CoverOf(tasks.R(5, 75))}
	all := r.peer.Step(r.now, Recv{From: "h", Msg: Message{Steal: &steal.Message{Grant: &grant}}})
	for range 5 {
		r.now += time.Second
		all = append(all, r.peer.Step(r.now, Tick{})...)
	}
	if n := looks(all); n != 7 {
		t.Fatalf("%d files are looked at, want the 8 that it holds work of but the one that stood for its folder", n)
	}
	r.peer.Step(r.now, Looked{ID: jobID, Files: []Glance{{File: 3, Cause: "missing"}}})
	if got := j.dark(); got != 10 {
		t.Errorf("%d units are not seen, want those of one file", got)
	}
}

// TestServersFailAsOne has two failures say all of a server, and one all of a protocol; two files missing in a folder
// have the rest of it looked at, and not counted as tried.
func TestServersFailAsOne(t *testing.T) {
	for _, c := range []struct {
		cause        string
		url          string
		fails        int
		dark, untold int64 // of 100 files
	}{
		{"unreachable", "root://a.b:1//d%d/f.root", 1, 1, 0},
		{"unreachable", "root://a.b:1//d%d/f.root", 2, 100, 0},
		{"unauthorised", "root://a.b:1//d%d/f.root", 2, 100, 0},
		{"protocol", "https://a%d.b/f.root", 1, 100, 0},
		{"missing", "root://a.b:1//d/f%d.root", 1, 1, 0},
		{"missing", "root://a.b:1//d/f%d.root", 2, 100, 98},
		{"missing", "root://a.b:1//d%d/f.root", 2, 2, 0},
	} {
		r, j := blindRig(t, 100, func(i int) string { return fmt.Sprintf(c.url, i) })
		for f := range c.fails {
			r.unread(j, 7*f, c.cause)
		}
		if got, untold := j.dark()/10, j.sight.cover(&j.desc.Data, j.desc.Want, true).Len()/10; got != c.dark ||
			untold != c.untold {
			t.Errorf(
				"%s of %s, %d times: %d files are not seen, %d not tried; want %d and %d",
				c.cause,
				c.url,
				c.fails,
				got,
				untold,
				c.dark,
				c.untold,
			)
		}
	}
}

// TestMountComesBack has a few files looked at again after a while, and all of them as soon as one is seen; what
// failed just now is not believed to be seen.
func TestMountComesBack(t *testing.T) {
	r, j := blindRig(t, 100, func(i int) string { return fmt.Sprintf("/data/f%d.root", i) })
	r.unread(j, 0, "missing")
	r.answer(r.peer.out, "missing")
	if got := j.dark(); got != 1000 {
		t.Fatalf("%d units are not seen", got)
	}
	r.now += lookFirst
	again := r.peer.Step(r.now, Tick{})
	if n := looks(again); n == 0 || n > lookSamples {
		t.Fatalf("%d files are looked at again", n)
	}
	more := r.answer(again, "")
	for looks(more) > 0 {
		more = r.answer(more, "")
	}
	if got := j.dark(); got != 10 {
		t.Errorf("%d units are not seen, want those of the file that a generation could not read just now", got)
	}
	for range 10 {
		r.now += 10 * time.Second
		for more = r.peer.Step(r.now, Tick{}); looks(more) > 0; {
			more = r.answer(more, "")
		}
	}
	if got := j.dark(); got != 0 {
		t.Errorf("%d units are not seen though the mount is back", got)
	}
}

// TestUnseenIsNoFailure: what this host cannot see is told as unseen, and blames no entry.
func TestUnseenIsNoFailure(t *testing.T) {
	r, j := blindRig(t, 3, func(i int) string { return fmt.Sprintf("/data/f%d.root", i) })
	work := tasks.CoverOf(j.desc.Data.Units(0))
	var lease *LeasePacket
	grant := steal.Message{Grant: &steal.Grant{ID: 1, Job: jobID, Ranges: work}}
	for _, e := range r.step(Recv{From: "h", Msg: Message{Job: jobID, Steal: &grant}}) {
		if l, ok := e.(LeasePacket); ok {
			lease = &l
		}
	}
	if lease == nil {
		t.Fatal("nothing runs")
	}
	failure := ledger.Failure{
		Kind:   "open",
		Blame:  j.desc.Data.Units(0),
		Host:   "missing",
		Reason: "No such file",
		Data:   true,
	}
	r.step(PacketRefused{Gen: lease.Gen, Packet: lease.Packet, Failure: failure})
	if len(j.work.failures) > 0 || j.dark() != j.desc.Data.Units(0).Len() {
		t.Errorf("failures %+v, %d units unseen", j.work.failures, j.dark())
	}
}
