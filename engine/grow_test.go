package engine

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// openJob is testJob, and may grow.
func openJob(t *testing.T) *tasks.Job {
	job := testJob(t)
	job.Open = true
	return job
}

// added are so many files of 100 units for an append.
func added(files int) (out []tasks.File) {
	for i := range files {
		out = append(out, tasks.File{URL: fmt.Sprint("more", i), Entries: 100})
	}
	return out
}

// signedAppends are appends of one file each that by has signed.
func signedAppends(by tasks.PeerID, n int) (all []tasks.Append) {
	var sum tasks.AppendSum
	for i := range n {
		a := tasks.Append{Seq: uint64(i + 1), Files: added(1)}
		sum = a.Sum(sum)
		a.Sig = modelkeys.Keys(by).Sign(tasks.AppendText(jobID, a.Seq, sum))
		all = append(all, a)
	}
	return all
}

// openMember is a peer that takes part in an open job of home "h".
func openMember(t *testing.T) *rig {
	r := newRig(t, "m")
	for _, id := range []tasks.PeerID{"h", "x"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	r.step(Prepared{ID: jobID, Job: openJob(t)})
	return r
}

func of[E Effect](effects []Effect) (out []E) {
	for _, e := range effects {
		if e, ok := e.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// TestSubmitterAppends: an append of the submitter is run and acknowledged once it is in the log, and again when it is
// repeated; the job ends with all of it when it is closed, and not before.
func TestSubmitterAppends(t *testing.T) {
	r := newRig(t, "h")
	job := openJob(t)
	r.step(Submit{ID: jobID, Job: job})
	got := r.step(Append{ID: jobID, Seq: 1, Files: added(2)})
	if a, g := of[Appended](got), of[Grown](got); len(a) != 1 || a[0].Reason != "" || len(g) != 1 ||
		g[0].Units != tasks.R(units, units+200) {
		t.Fatalf("appended %+v, grown %+v", a, g)
	}
	for name, tc := range map[string]struct {
		ev          Append
		again, fine bool
	}{
		"repeated":  {Append{ID: jobID, Seq: 1, Files: added(2)}, false, true},
		"another":   {Append{ID: jobID, Seq: 1, Files: added(1)}, false, false},
		"too early": {Append{ID: jobID, Seq: 3, Files: added(1)}, true, false},
		"nothing":   {Append{ID: jobID, Seq: 2}, false, false},
		"unknown":   {Append{ID: "other", Seq: 2, Files: added(1)}, true, false},
	} {
		got := of[Appended](r.step(tc.ev))
		if len(got) != 1 || got[0].Again != tc.again || (got[0].Reason == "") != tc.fine {
			t.Errorf("%s: %+v", name, got)
		}
	}
	r.pass(10 * time.Second)
	if r.done != nil {
		t.Fatal("the job has ended, and is open")
	}
	if v, ok := r.peer.Growth(jobID); !ok || v.Appends != 1 || !v.Open || v.Units != tasks.R(0, units+200) ||
		v.Committed.Len() != units+200 {
		t.Errorf("it has grown by %+v", v)
	}
	r.step(Append{ID: jobID, Seq: 2, Close: true})
	r.pass(10 * time.Second)
	if r.done == nil || r.done.Units != units+200 {
		t.Fatalf("the job is closed: %+v", r.done)
	}
	if len(job.Data.Files) != 2 || job.Want != tasks.R(0, units) {
		t.Error("the description has changed")
	}
	if got := of[Appended](r.step(Append{ID: jobID, Seq: 3, Files: added(1)})); len(got) != 1 || got[0].Again ||
		got[0].Reason == "" {
		t.Errorf("after it was closed: %+v", got)
	}
}

// TestMemberLearnsOfAppends by the home's word and the submitter's signature, all that follow what it knows; it takes
// work of what it knows alone, and asks for no other.
func TestMemberLearnsOfAppends(t *testing.T) {
	r := openMember(t)
	grant := func(id uint64, first, last int64) bool {
		r.sent = nil
		g := &steal.Grant{ID: id, Job: jobID, Ranges: tasks.CoverOf(tasks.R(first, last))}
		r.step(Recv{From: "h", Msg: Message{Steal: &steal.Message{Grant: g}}})
		for _, s := range r.sent {
			if s.Msg.Steal != nil && s.Msg.Steal.Ack != nil && s.Msg.Steal.Ack.ID == id {
				return s.Msg.Steal.Ack.OK
			}
		}
		t.Fatal("not answered")
		return false
	}
	grow := func(all ...tasks.Append) []Effect {
		return r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Grow: &Grow{Appends: all}}})
	}
	if grant(1, units, units+50) {
		t.Error("it took units that it had not heard of")
	}
	good, bad := signedAppends("h", 3), signedAppends("x", 3)
	if got := grow(bad...); len(of[Grown](got)) > 0 || len(of[Violation](got)) != 1 {
		t.Errorf("somebody else's: %+v", got)
	}
	if got := grow(good[1:]...); len(of[Grown](got)) > 0 {
		t.Errorf("the first is missing: %+v", got)
	}
	mixed := []tasks.Append{bad[0], good[1]}
	mixed[0].Files = added(2)
	if got := grow(mixed...); len(of[Grown](got)) > 0 {
		t.Errorf("the last one's signature is not under the first: %+v", got)
	}
	if got := of[Grown](grow(good[:2]...)); len(got) != 1 || got[0].Units != tasks.R(units, units+200) ||
		len(got[0].Appends) != 2 {
		t.Fatalf("grown %+v", got)
	}
	if got := of[Grown](grow(good...)); len(got) != 1 || got[0].Units != tasks.R(units+200, units+300) {
		t.Fatalf("grown %+v", got)
	}
	if !grant(2, units, units+50) || grant(3, units+250, units+350) {
		t.Error("it takes work of what it knows, and no other")
	}
	r.sent = nil
	r.pass(time.Second)
	told := false
	for _, s := range r.sent {
		told = told || s.Msg.Report != nil && s.Msg.Report.Appends == 3 && len(s.Msg.Report.Sum) > 0
		if q := s.Msg.Steal; q != nil && q.Request != nil {
			if n := len(q.Request.Blind); n != 1 || !q.Request.Blind[0].Covers(tasks.CoverOf(tasks.R(units+300, units+400))) {
				t.Errorf("it asks for units that it does not know: %+v", q.Request)
			}
		}
	}
	if !told {
		t.Error("it does not report what it knows")
	}
}

// TestMemberStartsAgain when the ledger has lost appends that it knows of: what it had of the job's units is void.
func TestMemberStartsAgain(t *testing.T) {
	r := openMember(t)
	r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Grow: &Grow{Appends: signedAppends("h", 2)}}})
	got := r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Grow: &Grow{Restart: true}}})
	if len(of[Regrown](got)) != 1 || r.peer.job(jobID).growth.known() != 0 {
		t.Fatalf("%+v", got)
	}
	prepares := 0
	for range 20 {
		r.now += 100 * time.Millisecond
		prepares += len(of[Prepare](r.step(Tick{})))
	}
	if prepares != 1 {
		t.Fatalf("it prepares the job %d times", prepares)
	}
	r.step(Prepared{ID: jobID, Job: openJob(t)})
	got = r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Grow: &Grow{Appends: signedAppends("h", 1)}}})
	if g := of[Grown](got); len(g) != 1 || g[0].Units != tasks.R(units, units+100) {
		t.Errorf("then it grows by %+v", g)
	}
}

// TestNobodyElseAppends: an append of another than the submitter has no effect, and is told.
func TestNobodyElseAppends(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "x", Slots: 1})
	r.step(Submit{ID: jobID, Job: openJob(t)})
	a := signedAppends("x", 1)[0]
	got := r.step(Recv{From: "x", Msg: Message{Job: jobID, Append: &a}})
	if v, _ := r.peer.Growth(jobID); v.Appends != 0 || len(of[Violation](got)) != 1 {
		t.Errorf("appends %d, %+v", v.Appends, got)
	}
}

// TestHomeTellsWhatIsLacking: after its report a node is told what follows, in messages that are not too large, and
// one that knows what the ledger has not starts again.
func TestHomeTellsWhatIsLacking(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "m", Slots: 1})
	r.step(Submit{ID: jobID, Job: openJob(t)})
	for i := range uint64(4) {
		files := added(1)
		files[0].URL = string(make([]byte, 100<<10)) + fmt.Sprint(i)
		r.step(Append{ID: jobID, Seq: i + 1, Files: files})
	}
	m := openMember(t)
	for seq := uint64(1); m.peer.job(jobID).growth.known() < 4; seq++ {
		known := m.peer.job(jobID).growth.known()
		sum := m.peer.job(jobID).growth.sum()
		if seq > 3 {
			t.Fatalf("it knows of %d after %d reports", known, seq)
		}
		rep := reportOf(seq, known, sum)
		for _, s := range of[Send](r.step(Recv{From: "m", Msg: rep})) {
			if g := s.Msg.Grow; s.To == "m" && g != nil {
				if len(g.Appends) > 2 || g.Restart {
					t.Errorf("%d appends in one message, restart %v", len(g.Appends), g.Restart)
				}
				m.step(Recv{From: "h", Msg: s.Msg})
			}
		}
	}
	restarts := 0
	for _, s := range of[Send](r.step(Recv{From: "m", Msg: reportOf(9, 5, tasks.AppendSum{1})})) {
		if s.Msg.Grow != nil && s.Msg.Grow.Restart {
			restarts++
		}
	}
	if restarts != 1 {
		t.Errorf("one that knows more than the ledger is told to start again %d times", restarts)
	}
}

// reportOf is a report of a node that knows of so many appends.
func reportOf(seq, known uint64, sum tasks.AppendSum) Message {
	r := &ledger.Report{Seq: seq, Ready: true, Appends: known}
	if known > 0 {
		r.Sum = sum[:]
	}
	return Message{Job: jobID, Term: 1, Report: r}
}

// TestBeginningAnewTakesNoRoom: a home may have a node begin a job anew as often as it likes. That neither takes more
// of the submitter's room for descriptions each time, so that its other jobs would find none, nor leaves the outputs on
// the disk that are void from then on.
func TestBeginningAnewTakesNoRoom(t *testing.T) {
	r := openMember(t)
	grow := func(g *Grow) []Effect { return r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Grow: g}}) }
	weighs := func() int64 { return r.peer.job(jobID).prep.weighed.bytes }
	before := weighs()
	var grown int64
	for i := range uint64(5) {
		grow(&Grow{Appends: signedAppends("h", 3)})
		if grown = cmp.Or(grown, weighs()); weighs() != grown {
			t.Fatalf("the job weighs %d bytes when it has grown %d times, and %d at first", weighs(), i+1, grown)
		}
		r.step(Recv{From: "h", Msg: Message{Steal: &steal.Message{Grant: &steal.Grant{ID: i + 9, Job: jobID,
			Ranges: tasks.CoverOf(tasks.R(units, units+50))}}}})
		r.pass(time.Second)
		if r.peer.Kept() == 0 {
			t.Fatal("it keeps no output")
		}
		got := grow(&Grow{Restart: true})
		if n := len(of[ForgetBlob](got)); n == 0 || r.peer.Kept() > 0 {
			t.Errorf("%d outputs are deleted, and %d bytes kept", n, r.peer.Kept())
		}
		if weighs() != before {
			t.Errorf("the job weighs %d bytes when it begins anew, and %d before", weighs(), before)
		}
		r.now += 2 * time.Second
		r.step(Tick{})
		r.step(Prepared{ID: jobID, Job: openJob(t)})
	}
}

// TestRefusalIsOfOneAppend: a refusal that comes once more, as the home answers each repetition, is not taken for one
// of the append that has been given the number since. That may be in the log, and its user would append its files
// again.
func TestRefusalIsOfOneAppend(t *testing.T) {
	r := openMember(t)
	r.peer.job(jobID).desc.Submitter = "m" // which another node leads by now
	give := func(files int) tasks.Append {
		for _, s := range of[Send](r.step(Append{ID: jobID, Seq: 1, Files: added(files)})) {
			if s.To == "h" && s.Msg.Append != nil {
				return *s.Msg.Append
			}
		}
		t.Fatal("the append is not sent")
		return tasks.Append{}
	}
	refuse := func(a tasks.Append) []Appended {
		n := &NotAppended{Seq: a.Seq, Sig: a.Sig, Reason: "too large"}
		return of[Appended](r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, NotAppended: n}}))
	}
	first := give(2)
	if got := refuse(first); len(got) != 1 || got[0].Reason != "too large" {
		t.Fatalf("%+v", got)
	}
	second := give(1)
	if got := refuse(first); len(got) != 0 {
		t.Errorf("another append with its number was refused: %+v", got)
	}
	if got := refuse(second); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestWhoAppendsIsToldThatItBeginsAnew: whoever waits for an append is not left waiting when the job begins anew, but
// told that the append may be in the log all the same.
func TestWhoAppendsIsToldThatItBeginsAnew(t *testing.T) {
	r := openMember(t)
	r.peer.job(jobID).desc.Submitter = "m"
	r.step(Append{ID: jobID, Seq: 1, Files: added(1)})
	got := of[Appended](r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Grow: &Grow{Restart: true}}}))
	if len(got) != 1 || got[0].Seq != 1 || got[0].Reason == "" || got[0].Again || !got[0].Unsure {
		t.Errorf("%+v", got)
	}
}

// TestAppendIsGivenToTheNodeNearIt: units of an append are given first to the node that its submitter says is near
// them, as the job numbers them; a hint is used once, and is dropped with an append that can never be in the log.
func TestAppendIsGivenToTheNodeNearIt(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "m", Slots: 1})
	job := openJob(t)
	r.step(Submit{ID: jobID, Job: job})
	near := func(first, last int64) []steal.Near {
		return []steal.Near{{To: "m", Ranges: tasks.CoverOf(tasks.R(first, last)), Cost: time.Second}}
	}
	r.step(Append{ID: jobID, Seq: 1, Files: added(1), Near: near(20, 30)})
	r.step(Append{ID: jobID, Seq: 2, Files: added(1), Near: near(0, 5)})
	request := &steal.Request{ID: 1, Slots: 1, Jobs: []tasks.JobID{jobID}, Rates: []float64{0}}
	var got tasks.Cover
	for _, s := range of[Send](r.step(Recv{From: "m", Msg: Message{Steal: &steal.Message{Request: request}}})) {
		if m := s.Msg.Steal; m != nil && m.Grant != nil && m.Grant.Near == time.Second {
			got = got.Union(m.Grant.Ranges)
		}
	}
	want := tasks.CoverOf(tasks.R(units+20, units+30), tasks.R(units+100, units+105))
	if !got.Equal(want) {
		t.Errorf("the node near them is given %v, want %v", got, want)
	}
	g := &r.peer.job(jobID).growth
	if len(g.near) != 0 {
		t.Errorf("hints are kept: %v", g.near)
	}
	r.step(Append{ID: jobID, Seq: 3, Close: true, Near: near(0, 1)})
	r.step(Append{ID: jobID, Seq: 4, Files: added(1), Near: near(0, 1)})
	if len(g.near) > 1 {
		t.Errorf("hints of an append that was refused are kept: %v", g.near)
	}
}
