package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
)

func find[E Effect](effects []Effect) (found []E) {
	for _, e := range effects {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	return found
}

// forge changes a mandate of x in term 5 into one that does not hold.
var forgeries = map[string]func(m *quorum.Mandate){
	"no votes":        func(m *quorum.Mandate) { m.Votes = nil },
	"one vote":        func(m *quorum.Mandate) { m.Votes = m.Votes[1:] },
	"votes of before": func(m *quorum.Mandate) { m.Votes = mandate("x", 4).Votes },
	"its own votes": func(m *quorum.Mandate) {
		for i := range m.Votes {
			m.Votes[i].Sig = modelkeys.Keys("x").
				Sign(quorum.VoteText(GroupName(jobID), m.Term, m.Leader, m.Chain.Conf().Voters[i].ID))
		}
	},
	"voters whom nobody signed": func(m *quorum.Mandate) { m.Chain.Links[0].Sigs = nil },
	"voters that it signed":     func(m *quorum.Mandate) { m.Chain.Links[0].Sigs[0].By = "x" },
	"other founders": func(m *quorum.Mandate) {
		*m = quorum.SoleMandate(modelkeys.Keys("x"), GroupName(jobID), quorum.NewVoter("x", 1))
		m.Term = 5
		m.Votes[0].Sig = modelkeys.Keys("x").Sign(quorum.VoteText(GroupName(jobID), 5, m.Leader, m.Leader))
	},
	"another job's": func(m *quorum.Mandate) {
		m.Votes[0].Sig = modelkeys.Keys("h").Sign(quorum.VoteText("job other", m.Term, m.Leader, m.Chain.Conf().Voters[0].ID))
	},
}

// TestOnlyProvenHomesAreFollowed: a node that has no copy of the ledger follows who shows a mandate that holds, and
// names who shows one that does not, in each message that carries one.
func TestOnlyProvenHomesAreFollowed(t *testing.T) {
	say := map[string]func(p *quorum.Mandate) Message{
		"open":   func(p *quorum.Mandate) Message { return Message{Open: &Open{Home: "x", Proof: p}} },
		"enlist": func(p *quorum.Mandate) Message { return Message{Enlist: &Enlist{Voters: founders, Proof: p}} },
		"moved":  func(p *quorum.Mandate) Message { return Message{Moved: &Moved{Home: "x", Term: 5, Proof: p}} },
	}
	for kind, say := range say {
		for what, spoil := range forgeries {
			r := member(t)
			r.peer.cfg.Replicas = 3
			m := mandate("x", 5)
			spoil(m)
			msg := say(m)
			msg.Job, msg.Term = jobID, 5
			v := find[Violation](r.step(Recv{From: "x", Msg: msg}))
			if j := r.peer.jobs[0]; j.home != "h" || j.term != 1 || j.copy.founding != nil {
				t.Errorf("%s with %s: %q is followed in term %d", kind, what, j.home, j.term)
			}
			if len(v) != 1 || v[0].From != "x" {
				t.Errorf("%s with %s: told are %v", kind, what, v)
			}
		}
		r := member(t)
		msg := say(mandate("x", 5))
		msg.Job, msg.Term = jobID, 5
		r.peer.cfg.Replicas = 3
		if v := find[Violation](r.step(Recv{From: "x", Msg: msg})); len(v) > 0 || r.peer.jobs[0].home != "x" ||
			r.peer.jobs[0].term != 5 {
			t.Errorf("%s: one that holds is not followed: %v", kind, v)
		}
	}
}

// TestReplacedVotersAreNotFollowed: those who once were a majority, here the submitter alone, elect nobody once others
// have taken their place; they are not named for it, for who is late says the same.
func TestReplacedVotersAreNotFollowed(t *testing.T) {
	r := member(t)
	r.step(Recv{From: "x", Msg: open("x", 5)})
	m := mandate("h", 1)
	m.Term = 6
	m.Votes[0].Sig = modelkeys.Keys("h").Sign(quorum.VoteText(GroupName(jobID), 6, m.Leader, m.Leader))
	if v := find[Violation](r.step(Recv{
		From: "h",
		Msg:  Message{Job: jobID, Term: 6, Open: &Open{Home: "h", Proof: m}},
	})); len(v) > 0 ||
		r.peer.jobs[0].home != "x" {
		t.Errorf("%q is followed; %v", r.peer.jobs[0].home, v)
	}
	r.step(Recv{From: "h", Msg: open("h", 7)})
	if r.peer.jobs[0].home != "h" {
		t.Error("one that the new ones have elected is not followed")
	}
}

// own is how a member announces that it has founded the ledger of a job, whoever's that is.
func own(from tasks.PeerID, id tasks.JobID) Message {
	m := quorum.SoleMandate(modelkeys.Keys(from), GroupName(id), quorum.NewVoter(from, 1))
	return Message{Job: id, Term: 1, Open: &Open{Home: from, Proof: &m}}
}

// TestClaimsWaitForTheDescription: before the description is here nobody is followed; all who claim to lead the job are
// asked for it at once, so that one that never answers keeps nobody waiting, and who is true shows with it.
func TestClaimsWaitForTheDescription(t *testing.T) {
	r := newRig(t, "m")
	for _, id := range []tasks.PeerID{"h", "x"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	if d := find[Describe](r.step(Recv{From: "x", Msg: own("x", jobID)})); len(d) != 1 || d[0].From != "x" ||
		d[0].Submitter != "x" {
		t.Fatal("the description is not asked for:", d)
	}
	if d := find[Describe](r.step(Recv{From: "x", Msg: own("x", jobID)})); len(d) > 0 {
		t.Error("it is asked for twice:", d)
	}
	out := r.step(Recv{From: "h", Msg: open("h", 1)})
	if d := find[Describe](out); len(d) != 1 || d[0].From != "h" {
		t.Error("the other is not asked:", d)
	}
	if h := r.peer.jobs[0].home; h != "" || len(find[Prepare](out)) > 0 {
		t.Errorf("%q is followed, and who submitted the job is not known", h)
	}
	out = r.step(Described{ID: jobID, From: "h", Job: testJob(t)})
	v, p := find[Violation](out), find[Prepare](out)
	if j := r.peer.jobs[0]; j.home != "h" || j.term != 1 || len(v) != 1 || v[0].From != "x" || len(p) != 1 ||
		p[0].Home != "h" ||
		p[0].Job == nil {
		t.Errorf("%q is followed in term %d; %v; prepared is %v", j.home, j.term, v, p)
	}
	if out = r.step(NotDescribed{ID: jobID, From: "x", Silent: true}); len(out) > 0 || r.peer.jobs[0].home != "h" {
		t.Error("that another has not answered changes something:", out)
	}
	r.step(Prepared{ID: jobID, Job: testJob(t)})
	r.step(Recv{From: "x", Msg: own("x", jobID)})
	if r.peer.jobs[0].home != "h" {
		t.Error("a claim that nothing proves is followed")
	}
}

// TestDescriptionOfAnother: a description that came from whoever does not lead the job is taken, and its home, once
// that has proven itself, is asked for the rest.
func TestDescriptionOfAnother(t *testing.T) {
	r := newRig(t, "m")
	r.step(Recv{From: "x", Msg: own("x", jobID)})
	if p := find[Prepare](r.step(Described{ID: jobID, From: "x", Job: testJob(t)})); len(p) > 0 {
		t.Error("a liar is asked for the code:", p)
	}
	r.now += 3 * time.Second
	if p := find[Prepare](r.step(Tick{})); len(p) > 0 {
		t.Error("or nobody is:", p)
	}
	if p := find[Prepare](r.step(Recv{From: "h", Msg: open("h", 1)})); len(p) != 1 || p[0].Home != "h" {
		t.Error("the home is not asked:", p)
	}
	r = newRig(t, "m")
	r.step(Recv{From: "x", Msg: own("x", jobID)})
	r.step(Described{ID: jobID, From: "x", Job: testJob(t)})
	for range 8 {
		r.now += unledFor / 7
		r.step(Tick{})
	}
	if len(r.peer.jobs) > 0 {
		t.Error("a job is kept that nobody leads")
	}
}

// TestMadeUpClaims: a claim that would not hold whosever job it is, as one of endless links, is no reason to ask for
// anything, and its sender is named.
func TestMadeUpClaims(t *testing.T) {
	r := newRig(t, "m")
	forged := map[string]func(*quorum.Mandate){
		"no votes":   func(m *quorum.Mandate) { m.Votes = nil },
		"no founder": func(m *quorum.Mandate) { m.Chain.Founders = nil },
		"links": func(m *quorum.Mandate) {
			m.Chain.Links = append(make([]quorum.Link, 10_000), quorum.Link{Conf: quorum.Conf{Seq: 1, Voters: m.Chain.Founders}})
		},
	}
	for what, forge := range forged {
		m := own("x", jobID)
		forge(m.Open.Proof)
		out := r.step(Recv{From: "x", Msg: m})
		if v := find[Violation](out); len(find[Describe](out)) > 0 || len(r.peer.jobs) > 0 || len(v) != 1 ||
			v[0].From != "x" ||
			v[0].What != Unproven {
			t.Errorf("%s: %v", what, out)
		}
	}
}

// TestWhoDoesNotAnswerGivesWay: members that have let questions for descriptions go unanswered leave their places to
// others, and are asked few at once until they answer one.
func TestWhoDoesNotAnswerGivesWay(t *testing.T) {
	r := newRig(t, "m")
	silent := []tasks.PeerID{"a", "b", "c", "d", "e", "f", "g", "i"}
	other := tasks.NameOf([]byte("other"))
	for _, id := range silent {
		r.step(Recv{From: id, Msg: own(id, other)})
		r.step(NotDescribed{ID: other, From: id, Silent: true})
		r.step(Recv{From: id, Msg: own(id, jobID)})
	}
	if r.peer.job(other) != nil || len(r.peer.job(jobID).prep.claims) != maxClaims {
		t.Fatal("not as this test needs it")
	}
	if d := find[Describe](r.step(Recv{From: "h", Msg: open("h", 1)})); len(d) != 1 || d[0].From != "h" {
		t.Error("the home is not asked, for eight that do not answer have its place:", d)
	}
	for range 10 {
		r.step(NotDescribed{ID: other, From: "x", Silent: true})
	}
	asked := func() (n int) {
		for i := range 10 {
			id := tasks.NameOf([]byte{byte(i)})
			n += len(find[Describe](r.step(Recv{From: "x", Msg: own("x", id)})))
		}
		return n
	}
	if n := asked(); n != 1 {
		t.Errorf("who never answers is asked %d times at once", n)
	}
	r.step(Described{ID: tasks.NameOf([]byte{0}), From: "x", Job: testJob(t)})
	if n := asked(); n < 8 {
		t.Errorf("who has answered is asked %d times", n)
	}
}

// TestClaimsAreLight: the proofs in a member's claims take no more memory than is allowed for them, however long they
// are; those that had no room are asked for when the description is here.
func TestClaimsAreLight(t *testing.T) {
	r := newRig(t, "m")
	long := func(id tasks.JobID) Message {
		m := own("x", id)
		for i := range 300 {
			c := quorum.Conf{Seq: uint64(i + 1), Voters: m.Open.Proof.Chain.Founders}
			sig := modelkeys.Keys("x").Sign(quorum.ConfText(GroupName(id), c))
			m.Open.Proof.Chain.Links = append(
				m.Open.Proof.Chain.Links,
				quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: "x", Sig: sig},
					{By: tasks.PeerID(make([]byte, 500)), Sig: sig}}},
			)
		}
		return m
	}
	last := jobID
	for i := range 20 {
		last = tasks.NameOf([]byte{byte(i)})
		r.now += time.Second
		r.step(Recv{From: "x", Msg: long(last)})
	}
	sum := 0
	for _, j := range r.peer.jobs {
		for _, c := range j.prep.claims {
			if c.proof != nil {
				sum += c.proof.Weight()
			}
		}
	}
	if n := len(r.peer.jobs); n != 20 || sum > maxClaimBytes || sum == 0 {
		t.Errorf("%d jobs are known, with proofs of %d bytes", n, sum)
	}
	job := *testJob(t)
	job.Submitter = "x"
	asked := find[Send](r.step(Described{ID: last, From: "x", Job: &job}))
	if len(asked) != 1 || asked[0].To != "x" || asked[0].Msg.Moved == nil {
		t.Fatal("the proof is not asked for:", asked)
	}
	m := long(last)
	r.step(Recv{From: "x", Msg: Message{Job: last, Moved: &Moved{Home: "x", Term: 1, Proof: m.Open.Proof}}})
	r.now += time.Second
	if p := find[Prepare](r.step(Tick{})); len(p) != 1 || p[0].Home != "x" {
		t.Error("and its word is not taken then:", p)
	}
}

// TestRoomIsOfEachSubmitter: the descriptions of one submitter's jobs take so much memory and no more, until its jobs
// are forgotten; those of another have room.
func TestRoomIsOfEachSubmitter(t *testing.T) {
	r := newRig(t, "m")
	ids := []tasks.JobID{"", "", "", ""}
	for i := range ids {
		ids[i] = tasks.NameOf([]byte{byte(i)})
		r.step(Recv{From: "x", Msg: own("x", ids[i])})
	}
	room := func(i int, by tasks.PeerID, bytes int64) error { return r.peer.Room(ids[i], by, bytes) }
	for i, want := range []bool{true, true, false} {
		if err := room(i, "x", MaxDescribed/2); (err == nil) != want || err != nil && !errors.Is(err, ErrHeavy) {
			t.Errorf("the description of job %d: %v", i, err)
		}
	}
	if err := room(0, "x", MaxDescribed/4); err != nil || room(3, "x", 1) == nil {
		t.Error("one that is handed out twice has given room back, or has none:", err)
	}
	if err := room(2, "y", MaxDescribed); err != nil {
		t.Error("another's has no room:", err)
	}
	r.step(NotDescribed{ID: ids[0], From: "x"})
	if err := room(3, "x", MaxDescribed/2); err != nil {
		t.Error("and none comes back:", err)
	}
	if room(0, "x", 1) == nil {
		t.Error("a job that nobody announces has room")
	}
}

// TestFloodOfDescribedJobs: a member that submits as many jobs as it likes leaves room for those of others.
func TestFloodOfDescribedJobs(t *testing.T) {
	r := newRig(t, "m")
	for i := range 2 * maxJobs {
		id, job := tasks.NameOf([]byte(fmt.Sprint("tiny", i))), *testJob(t)
		job.Submitter = "x"
		r.step(Recv{From: "x", Msg: own("x", id)})
		if r.peer.job(id) != nil {
			r.step(Described{ID: id, From: "x", Job: &job})
			r.step(NotPrepared{ID: id, Failure: ledger.Failure{Reason: "it does not compile"}})
		}
	}
	if n := len(r.peer.jobs); n < fewJobs || n > maxJobs-reservedJobs {
		t.Errorf("%d jobs of one member are here", n)
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	if r.peer.job(jobID) == nil {
		t.Error("another's finds no place")
	}
}

// TestFloodOfJobs: a member that announces jobs that there are not keeps nobody else's away.
func TestFloodOfJobs(t *testing.T) {
	r := newRig(t, "m")
	for i := range 2 * maxJobs {
		r.step(Recv{From: "x", Msg: own("x", tasks.NameOf([]byte(fmt.Sprint("none", i))))})
	}
	if n := len(r.peer.jobs); n != maxUnknown {
		t.Errorf("%d jobs wait for a description", n)
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	if r.peer.job(jobID) == nil {
		t.Error("and another's finds no place")
	}
}

// TestProofIsAskedFor: who hears a word of a later term than it knows asks for the proof, and another that knows the
// home can give it.
func TestProofIsAskedFor(t *testing.T) {
	r := member(t)
	r.now += time.Second
	asked := find[Send](r.step(Recv{From: "x", Msg: Message{Job: jobID, Term: 5, Order: OrderStop}}))
	asked = slices.DeleteFunc(asked, func(s Send) bool { return s.Msg.Moved == nil })
	if len(asked) != 1 || asked[0].To != "x" || r.peer.jobs[0].stopped {
		t.Fatalf("asked is %v; obeyed: %v", asked, r.peer.jobs[0].stopped)
	}
	r.step(Recv{From: "y", Msg: Message{Job: jobID, Moved: &Moved{Home: "x", Term: 5, Proof: mandate("x", 5)}}})
	if r.peer.jobs[0].home != "x" {
		t.Error("what another proves of it is not believed")
	}
	told := find[Send](r.step(Recv{From: "z", Msg: Message{Job: jobID, Moved: &Moved{Home: "h", Term: 1}}}))
	told = slices.DeleteFunc(told, func(s Send) bool { return s.Msg.Moved == nil || s.Msg.Moved.Proof == nil })
	if len(told) != 1 || told[0].To != "z" {
		t.Error("and not told on with its proof:", told)
	}
}

// TestEndIsBelievedWithItsSeal: a member forgets a job when a majority of the voters have signed its end, whoever tells
// it.
func TestEndIsBelievedWithItsSeal(t *testing.T) {
	result := &ledger.Result{SHA256: "result", Size: 3, Status: []byte("done")}
	other := &ledger.Result{SHA256: "other", Size: 3}
	forged := map[string]func() *Ended{
		"nobody signed":  func() *Ended { return ended(result) },
		"a liar signed":  func() *Ended { return ended(result, "x") },
		"another result": func() *Ended { e := ended(result, "h"); e.Result = other; return e },
		"another sum":    func() *Ended { e := ended(result, "h"); e.Sum, e.Result = other.Sum(), nil; return e },
		"another count":  func() *Ended { e := ended(result, "h"); e.Units--; return e },
		"other voters": func() *Ended {
			e := ended(result, "x")
			e.Seal.Chain.Founders = []quorum.Voter{quorum.NewVoter("x", 1)}
			return e
		},
	}
	for what, make := range forged {
		r := member(t)
		v := find[Violation](r.step(Recv{From: "x", Msg: Message{Job: jobID, Ended: make()}}))
		if len(v) != 1 || len(r.peer.jobs) != 1 || r.peer.jobs[0].shut {
			t.Errorf("%s, and the job is over: %v", what, v)
		}
	}
	for _, whole := range []bool{true, false} {
		r := member(t)
		e := ended(result, "h")
		if !whole {
			e.Result = nil
		}
		out := r.step(Recv{From: "x", Msg: Message{Job: jobID, Ended: e}})
		if len(find[JobOver](out)) != 1 || len(find[Violation](out)) > 0 || len(r.peer.jobs) > 0 {
			t.Error("an end that is sealed is not believed:", out)
		}
		told := find[Send](r.step(Recv{From: "z", Msg: Message{Job: jobID, Report: &ledger.Report{Seq: 1}}}))
		if len(told) != 1 || told[0].Msg.Ended == nil || told[0].Msg.Ended.Seal == nil {
			t.Error("and not told on with its seal:", told)
		}
	}
}

// TestResultIsAskedOfItsSigners: a replica that was away for long hears that the job is over from a member which has no
// more than the proof of that. It asks those who have signed the end for the result, though it has just asked others.
func TestResultIsAskedOfItsSigners(t *testing.T) {
	g := newGroup(t, 5)
	g.submit()
	var chain quorum.Chain // which proves who the three replicas are
	if !g.run(time.Second, func() bool {
		if h := g.home(); h != nil && h.peer.job(jobID).copy.log != nil {
			chain = h.peer.job(jobID).copy.log.Chain()
		}
		return len(chain.Conf().Voters) == 3
	}) {
		t.Fatal("no three replicas after a second")
	}
	voters, home := chain.Conf().Voters, g.home().id
	left := g.at(voters[slices.IndexFunc(voters, func(m quorum.Voter) bool { return m.Peer != home })].Peer)
	for _, m := range voters {
		if m.Peer != left.id {
			g.at(m.Peer).kill()
		}
	}
	asks := func() bool { return left.peer.job(jobID).seeking.asked != "" }
	if !g.run(time.Minute, asks) {
		t.Fatal("it does not ask what has become of the job")
	}
	result := &ledger.Result{SHA256: "result", Size: 3}
	e := &Ended{Sum: result.Sum(), Units: units, Seal: &quorum.Seal{Chain: chain}}
	for _, m := range voters {
		sig := modelkeys.Keys(m.Peer).Sign(quorum.SealText(GroupName(jobID), e.Text()))
		e.Seal.Sigs = append(e.Seal.Sigs, quorum.Signature{By: m.Peer, Sig: sig})
	}
	var asked []tasks.PeerID
	for _, s := range find[Send](left.peer.Step(g.now, Recv{From: "x", Msg: Message{Job: jobID, Ended: e}})) {
		if s.Msg.Moved != nil {
			asked = append(asked, s.To)
		}
	}
	for _, m := range voters {
		if m.Peer != left.id && !slices.Contains(asked, m.Peer) {
			t.Errorf("%s has signed the end, and is not asked for it", m.Peer)
		}
	}
	e.Result = result
	if left.peer.Step(g.now, Recv{From: "x", Msg: Message{Job: jobID, Ended: e}}); !left.peer.job(jobID).shut {
		t.Error("the whole end is not believed")
	}
}

// TestWhoIsToldTheWholeEnd: a member that asks for the end of a job which it has no part in hears that it is over, and
// nothing of its result; whoever had a seat in its ledger, or may see the job, hears all.
func TestWhoIsToldTheWholeEnd(t *testing.T) {
	result := &ledger.Result{SHA256: "result", Size: 3, Status: []byte("done")}
	r := member(t)
	r.step(Admins{IDs: []tasks.PeerID{"y"}})
	r.step(Recv{From: "x", Msg: Message{Job: jobID, Ended: ended(result, "h")}})
	for _, ask := range []Message{
		{Moved: &Moved{}}, {Resign: &Resign{Voter: 7}}, {Frame: []byte{0}}, {Report: &ledger.Report{Seq: 1}},
	} {
		ask.Job = jobID
		for from, whole := range map[tasks.PeerID]bool{"z": false, "h": true, "y": true} {
			told := find[Send](r.step(Recv{From: from, Msg: ask}))
			told = slices.DeleteFunc(told, func(s Send) bool { return s.Msg.Ended == nil })
			if len(told) != 1 || told[0].To != from || (told[0].Msg.Ended.Result != nil) != whole {
				t.Errorf("%s asks with %+v, and is told %+v", from, ask, told)
			}
		}
	}
}

// TestWhoMayDeal: without the right to work a member has units to give away of what it submitted, leads or may have
// led.
func TestWhoMayDeal(t *testing.T) {
	r := member(t)
	for who, may := range map[tasks.PeerID]bool{"h": true, "x": false, "stranger": false} {
		if got := r.peer.MayDeal(jobID, who); got != may {
			t.Errorf("%s may deal: %v", who, got)
		}
	}
	if !r.peer.MayDeal(tasks.NameOf([]byte("unknown")), "x") {
		t.Error("who is not known to have no part in a job is taken for a liar")
	}
	r.step(Recv{From: "x", Msg: Message{Job: jobID, Term: 5, Open: &Open{Home: "x", Proof: mandate("x", 5)}}})
	for who, may := range map[tasks.PeerID]bool{"h": true, "x": true, replicas[1].Peer: false, "stranger": false} {
		if got := r.peer.MayDeal(jobID, who); got != may {
			t.Errorf("%s may deal once x leads: %v", who, got)
		}
	}
}

// TestSubmitterWorksWithItsOwnSlots: a member that may work for nobody else counts, for the job that it has submitted,
// with the slots that it has.
func TestSubmitterWorksWithItsOwnSlots(t *testing.T) {
	r := newRig(t, "w")
	r.step(PeerUp{ID: "s", Own: 3, Submits: true})
	for submitter, want := range map[tasks.PeerID]int{"s": 3, "x": 0} {
		if got := r.peer.slotsFor(&jobState{desc: &tasks.Job{Submitter: submitter}}, "s"); got != want {
			t.Errorf("for a job of %s it counts with %d slots, want %d", submitter, got, want)
		}
	}
}
